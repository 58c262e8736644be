"""Pools: the devices of a market that are alike, and which of them are free.

Decides which pool a device belongs to, what a selector matches and what a lease may use of a node.
Refuses to know prices. A partly used MIG device stays off sale until it is empty.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from bidplane_streams.market.rows import Rows
from bidplane_topics import bids, selectors
from bidplane_topics.leases import LeasedDevice, LeasedNode
from bidplane_topics.supply import Device, NodeOffered

MIG_SHAPES = frozenset({"1g", "2g", "3g", "4g"})
_UNSAFE = re.compile(r"[^a-z0-9]+")
_DIGITS = re.compile(r"(\d+)")


class DeviceUse(msgspec.Struct, frozen=True):
    """What the market remembers of a device it sold: its highest epoch and who holds it now."""

    epoch: int = 0
    holders: tuple[str, ...] = ()


class Sellable(msgspec.Struct, frozen=True):
    """The devices of one node that were for sale when the window opened, by name."""

    devices: tuple[str, ...]


class Pool(msgspec.Struct, frozen=True):
    """Alike devices. ``nodes``, ``totals`` and ``free`` (those for sale) run side by side."""

    name: str
    device_class: str
    attributes: dict[str, str | int]
    partitioned: bool
    totals: tuple[int, ...]
    nodes: tuple[str, ...]
    free: tuple[tuple[Device, ...], ...]


def device_key(device: Device) -> str:
    """A device's address in the market's tables: what DRA tells devices apart by.

    The node is no part of it: two nodes that offer one device can never sell it twice.
    """
    return f"{device.driver}/{device.pool}/{device.name}"


def leased_key(device: LeasedDevice) -> str:
    """The address of the whole device behind a leased one."""
    return f"{device.driver}/{device.pool}/{device.parent or device.name}"


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which gpu-2 comes before gpu-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name)]


def fingerprint(device: Device, listed: tuple[str, ...]) -> dict[str, str | int]:
    """The attributes that tell pools apart: those the operator listed, never an identity."""
    return {name: device.attributes[name] for name in listed if name in device.attributes}


def pool_name(device: Device, listed: tuple[str, ...]) -> str:
    """A readable name that two different fingerprints never share."""
    alike = fingerprint(device, listed)
    words = [device.device_class, *(str(alike[name]) for name in listed if name in alike)]
    exact = "\0".join([*words, *sorted(alike), str(device.sliceable)])
    slug = _UNSAFE.sub("-", " ".join(words[1:] or words).lower()).strip("-")
    return f"{slug[:48].rstrip('-')}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"


def build(
    nodes: Rows[NodeOffered], uses: Rows[DeviceUse], sellable: Rows[Sellable],
    listed: tuple[str, ...], leaving: frozenset[str] = frozenset(),
) -> dict[str, Pool]:  # fmt: skip
    """All pools by name. Free: offered, held by nobody, and so already when the window opened.

    A device that two nodes offer counts at the first of them, by name. ``leaving``: the leases that
    do not count as holders, since their devices may be sold while they end; what is free at once
    comes first, so that winners wait only where they must.
    """
    found: dict[str, dict[str, tuple[int, list[Device]]]] = {}
    sample: dict[str, Device] = {}
    seen: set[str] = set()
    for name, node in nodes.items():
        open_row = sellable.get(name)
        opened = frozenset() if open_row is None else frozenset(open_row.devices)
        for device in sorted(node.devices, key=lambda device: natural(device.name)):
            key = device_key(device)
            if key in seen:
                continue
            seen.add(key)
            pool = pool_name(device, listed)
            sample.setdefault(pool, device)
            total, free = found.setdefault(pool, {}).setdefault(name, (0, []))
            if key in opened and not _held(uses, key, leaving):
                free.append(device)
            found[pool][name] = (total + 1, free)
    if leaving:
        for by_node in found.values():
            for _, free in by_node.values():
                free.sort(key=lambda device: _held(uses, device_key(device)))
    return {pool: _pool(pool, sample[pool], found[pool], listed) for pool in sorted(found)}


def _pool(
    name: str, sample: Device, by_node: dict[str, tuple[int, list[Device]]],
    listed: tuple[str, ...],
) -> Pool:  # fmt: skip
    nodes = tuple(sorted(by_node))
    return Pool(
        name=name,
        device_class=sample.device_class,
        attributes=fingerprint(sample, listed),
        partitioned=sample.sliceable,
        totals=tuple(by_node[node][0] for node in nodes),
        nodes=nodes,
        free=tuple(tuple(by_node[node][1]) for node in nodes),
    )


def free_now(
    node: NodeOffered, uses: Rows[DeviceUse], leaving: frozenset[str] = frozenset()
) -> Sellable:
    """What of this node may be sold in the next window; ``leaving`` as in ``build``."""
    keys = (device_key(device) for device in node.devices)
    return Sellable(tuple(sorted(key for key in keys if not _held(uses, key, leaving))))


def _held(uses: Rows[DeviceUse], key: str, leaving: frozenset[str] = frozenset()) -> bool:
    use = uses.get(key)
    return use is not None and not leaving.issuperset(use.holders)


def matches(pool: Pool, selector: bids.Selector, device_class: str) -> bool:
    """Whether a selector asks for the pool; ``device_class`` is what it usually means."""
    facts, name = pool.attributes, pool.name
    return selectors.meets(facts, name, pool.device_class, selector, device_class)


def sells(pool: Pool, shape: str) -> bool:
    """Whether the pool could hold the shape when it is empty."""
    if shape in MIG_SHAPES:
        return pool.partitioned
    wanted = int(shape)
    if wanted <= 8:
        return any(total >= wanted for total in pool.totals)
    return sum(total // 8 for total in pool.totals) >= wanted // 8


def share(node: NodeOffered, device_class: str, units: int) -> LeasedNode:
    """CPU, memory and disk in proportion to the units (sevenths of a device) leased of a node.

    Only devices of the market's class carry a share.
    """
    gpus = sum(1 for device in node.devices if device.device_class == device_class)
    whole = max(1, gpus * 7)
    part = min(units, whole)
    return LeasedNode(
        node=node.node,
        cpu_millis=node.cpu_millis * part // whole,
        memory_mib=node.memory_mib * part // whole,
        ephemeral_mib=node.ephemeral_mib * part // whole,
    )
