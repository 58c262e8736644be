"""Pools: the devices of a market that are alike, and which of them are free.

Decides which pool a device belongs to, what a selector matches and what a lease may use of a node.
Refuses to know prices.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Final, NamedTuple

import msgspec

from bidplane_streams.market import addresses
from bidplane_streams.market.rows import Rows
from bidplane_topics import bids, selectors
from bidplane_topics.leases import LeasedDevice, LeasedNode
from bidplane_topics.supply import WHOLE, Device, NodeOffered, Partition

MIG_SHAPES = frozenset({"1g", "2g", "3g", "4g"})
_UNSAFE = re.compile(r"[^a-z0-9]+")
_DIGITS = re.compile(r"(\d+)")
# Nodes whose devices' order is remembered.
_KNOWN_MAX: Final = 20_000


# A sliceable device's compute slots, which two leases never share.
SLOTS = frozenset(range(7))
# The slots of devices, by their address in the market's tables.
Holdings = dict[str, frozenset[int]]


class DeviceUse(msgspec.Struct, frozen=True):
    """What the market remembers of a device it sold: its highest epoch and who holds it now.

    ``slots``: the compute slots that each holder of slices has; one without holds all of them.
    """

    epoch: int = 0
    holders: tuple[str, ...] = ()
    slots: dict[str, tuple[int, ...]] = {}

    def slots_of(self, holder: str) -> frozenset[int]:
        """The slots that this holder has."""
        return frozenset(self.slots.get(holder, SLOTS))

    def taken_by(self, holder: str, slots: frozenset[int], epoch: int) -> DeviceUse:
        """The same device with one holder more."""
        parts = {**self.slots, holder: tuple(sorted(slots))} if slots != SLOTS else self.slots
        return DeviceUse(epoch, tuple(sorted({*self.holders, holder})), parts)

    def left_by(self, holder: str, epoch: int) -> DeviceUse:
        """The same device without this holder."""
        parts = {name: slots for name, slots in self.slots.items() if name != holder}
        return DeviceUse(epoch, tuple(name for name in self.holders if name != holder), parts)

    def free(self, leaving: frozenset[str] = frozenset()) -> frozenset[int]:
        """The slots that nobody holds; ``leaving`` do not count as holders."""
        taken: set[int] = set()
        for holder in self.holders:
            if holder not in leaving:
                taken |= self.slots_of(holder)
        return SLOTS - taken


class Sellable(msgspec.Struct, frozen=True):
    """What of one node was for sale when the window opened.

    ``devices``: the addresses of free ones; ``slots``: of partly used ones, with what was free.
    """

    devices: tuple[str, ...]
    slots: dict[str, tuple[int, ...]] = {}


class Partly(msgspec.Struct, frozen=True):
    """A device that slices use in part: on the node of that index, with its free slots.

    Slots that somebody still leaves come last.
    """

    node: int
    device: Device
    slots: tuple[int, ...]


class Pool(msgspec.Struct, frozen=True):
    """Alike devices. ``nodes``, ``totals`` and ``free`` (those for sale) run side by side.

    ``partly`` used ones come by node.
    """

    name: str
    device_class: str
    attributes: dict[str, str | int]
    partitioned: bool
    totals: tuple[int, ...]
    nodes: tuple[str, ...]
    free: tuple[tuple[Device, ...], ...]
    partly: tuple[Partly, ...] = ()

    def nothing(self) -> Pool:
        """The same pool with nothing for sale."""
        return msgspec.structs.replace(self, free=tuple(() for _ in self.nodes), partly=())

    def partly_of(self, node: int) -> list[Partly]:
        """The partly used devices of that node, in their order."""
        return [one for one in self.partly if one.node == node]


def device_key(device: Device) -> str:
    """A device's address in the market's tables: what DRA tells devices apart by.

    The node is no part of it: two nodes that offer one device can never sell it twice.
    """
    return addresses.of(device).own


def leased_key(device: LeasedDevice) -> str:
    """The address of the whole device behind a leased one."""
    return addresses.of_leased(device)


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which gpu-2 comes before gpu-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name)]


def fingerprint(device: Device, listed: tuple[str, ...]) -> dict[str, str | int]:
    """What tells pools apart: attributes that the operator listed, never an identity, and nature.

    What is cut, shared or in a bundle is never in one pool with plain devices.
    """
    found = {name: device.attributes[name] for name in listed if name in device.attributes}
    found.update(device.nature)
    return found


def pool_name(device: Device, listed: tuple[str, ...]) -> str:
    """A readable name that two different fingerprints never share."""
    alike = fingerprint(device, listed)
    words = [device.device_class, *map(str, alike.values())]
    return _name(tuple(words), "\0".join([*words, *sorted(alike), str(device.sliceable)]))


@functools.lru_cache(maxsize=4096)
def _name(words: tuple[str, ...], exact: str) -> str:
    slug = _UNSAFE.sub("-", " ".join(words[1:] or words).lower()).strip("-")
    return f"{slug[:48].rstrip('-')}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"


class _Known(NamedTuple):
    node: NodeOffered
    listed: tuple[str, ...]
    devices: tuple[tuple[Device, addresses.Places, str], ...]


_KNOWN: Final[dict[tuple[str, str], _Known]] = {}


def _in_order(
    node: NodeOffered, listed: tuple[str, ...]
) -> tuple[tuple[Device, addresses.Places, str], ...]:  # fmt: skip
    """A node's devices in their order, each with its addresses and its pool's name.

    Remembered while the offer is the same object: asked anew, it was a tenth of a small closing.
    """
    name = node.market, node.node
    known = _KNOWN.get(name)
    if known is None or known.node is not node or known.listed != listed:
        devices = tuple(
            (device, addresses.of(device), pool_name(device, listed))
            for device in sorted(node.devices, key=lambda device: natural(device.name))
        )
        if len(_KNOWN) >= _KNOWN_MAX:
            _KNOWN.clear()
        known = _KNOWN[name] = _Known(node, listed, devices)
    return known.devices


def build(
    nodes: Rows[NodeOffered], uses: Rows[DeviceUse], sellable: Rows[Sellable],
    listed: tuple[str, ...], leaving: frozenset[str] = frozenset(),
    renewing: frozenset[str] = frozenset(),
) -> dict[str, Pool]:  # fmt: skip
    """All pools by name. Free: offered, held by nobody, and so already when the window opened.

    A device that two nodes offer counts at the first of them, by name. ``leaving``: the leases that
    do not count as holders, since their devices may be sold while they end; what is free at once
    comes first, so that winners wait only where they must. ``renewing``: devices, by address, that
    were not free at the opening and are on sale: their leases are up for renewal.
    """
    found: dict[str, dict[str, _OfNode]] = {}
    sample: dict[str, Device] = {}
    seen: set[str] = set()
    for name, node in nodes.items():
        opened = sellable.get(name) or Sellable(())
        wholly = frozenset(opened.devices)
        for device, places, pool in _in_order(node, listed):
            key = places.own
            if key in seen or not seen.isdisjoint(places.rivals):
                continue
            seen.update(places.takes)
            sample.setdefault(pool, device)
            here = found.setdefault(pool, {}).setdefault(name, _OfNode())
            here.total += 1
            slots = _free(uses, places, leaving)
            if key not in wholly and key not in renewing:
                slots &= frozenset(opened.slots.get(key, ()))
            if slots == SLOTS:
                here.free.append(device)
            elif slots and device.sliceable:
                here.partly.append((device, _ordered(uses, device, slots)))
    if leaving:
        for by_node in found.values():
            for here in by_node.values():
                here.free.sort(key=lambda device: _held(uses, device))
                here.partly.sort(key=lambda one: not _now(uses, *one))
    return {pool: _pool(pool, sample[pool], found[pool], listed) for pool in sorted(found)}


class _OfNode:
    """What one node has of a pool, while it is counted."""

    def __init__(self) -> None:
        self.total = 0
        self.free: list[Device] = []
        self.partly: list[tuple[Device, tuple[int, ...]]] = []


def _pool(
    name: str, sample: Device, by_node: dict[str, _OfNode], listed: tuple[str, ...]
) -> Pool:  # fmt: skip
    nodes = tuple(sorted(by_node))
    return Pool(
        name=name,
        device_class=sample.device_class,
        attributes=fingerprint(sample, listed),
        partitioned=sample.sliceable,
        totals=tuple(by_node[node].total for node in nodes),
        nodes=nodes,
        free=tuple(tuple(by_node[node].free) for node in nodes),
        partly=tuple(
            Partly(index, device, slots)
            for index, node in enumerate(nodes)
            for device, slots in by_node[node].partly
        ),
    )


def free_now(
    node: NodeOffered, uses: Rows[DeviceUse], leaving: frozenset[str] = frozenset()
) -> Sellable:
    """What of this node may be sold in the next window; ``leaving`` as in ``build``."""
    whole = []
    slots = {}
    for device in node.devices:
        places = addresses.of(device)
        key, free = places.own, _free(uses, places, leaving)
        if free == SLOTS:
            whole.append(key)
        elif free and device.sliceable:
            slots[key] = tuple(sorted(free))
    return Sellable(tuple(sorted(whole)), dict(sorted(slots.items())))


def slots_of(part: Partition) -> frozenset[int]:
    """The compute slots that a slice keeps from others; a 3g on the left takes four."""
    width = 4 if (part.profile, part.start) == ("3g", 0) else int(part.profile[0])
    return frozenset(range(part.start, part.start + width))


def _free(
    uses: Rows[DeviceUse], places: addresses.Places, leaving: frozenset[str]
) -> frozenset[int]:
    """The slots that nobody holds there; none where somebody holds what shuts it out."""
    for rival in places.rivals:
        use = uses.get(rival)
        if use is not None and not leaving.issuperset(use.holders):
            return frozenset()
    use = uses.get(places.own)
    return SLOTS if use is None else use.free(leaving)


def _held(uses: Rows[DeviceUse], device: Device) -> bool:
    places = addresses.of(device)
    keys = (places.own, *places.rivals)
    return any((uses.get(key) or DeviceUse()).holders for key in keys)


def _ordered(
    uses: Rows[DeviceUse], device: Device, slots: frozenset[int]
) -> tuple[int, ...]:  # fmt: skip
    """What is free at once comes first."""
    now = (uses.get(device_key(device)) or DeviceUse()).free()
    return (*sorted(slots & now), *sorted(slots - now))


def _now(uses: Rows[DeviceUse], device: Device, slots: tuple[int, ...]) -> bool:
    """Whether nobody who leaves is still on these slots."""
    return (uses.get(device_key(device)) or DeviceUse()).free().issuperset(slots)


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


def weight(device: Device, device_class: str) -> int:
    """What a device counts in its node's CPU, memory and disk.

    One of the market's class carries a whole share, any other what its source says.
    """
    return WHOLE if device.device_class == device_class else device.carries


def share(node: NodeOffered, device_class: str, leased: int) -> LeasedNode:
    """CPU, memory and disk of a node in proportion to the weight of the devices leased there."""
    whole = max(1, sum(weight(device, device_class) for device in node.devices))
    part = min(leased, whole)
    return LeasedNode(
        node=node.node,
        cpu_millis=node.cpu_millis * part // whole,
        memory_mib=node.memory_mib * part // whole,
        ephemeral_mib=node.ephemeral_mib * part // whole,
    )
