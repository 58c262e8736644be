"""What a market had to sell: pools of alike devices, and what of them was free.

Decides pools, matches and the share of a node that goes with devices. Refuses to know bids' values.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from bidplane_agents.audit.mechanism import SLICES, UNITS
from bidplane_topics import bids
from bidplane_topics.leases import LeasedDevice, LeasedNode
from bidplane_topics.supply import Device, NodeOffered, Partition

GANG_UNIT: Final = 8
# What a slice takes of a device's eight memory slices, from where it starts.
_SPAN: Final = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
Facts = dict[str, str | int]


class Pool(NamedTuple):
    """Alike devices by node: all of them, and those that were free."""

    name: str
    device_class: str
    facts: Facts
    sliced: bool
    total: dict[str, int]
    free: dict[str, list[Device]]

    def counts(self) -> tuple[int, ...]:
        """Free devices of each node, nodes in order."""
        return tuple(len(self.free[node]) for node in sorted(self.free))

    def emptied(self) -> Pool:
        """The same pool with nothing for sale."""
        return self._replace(free={node: [] for node in self.free})


def address(device: Device) -> str:
    """What names a whole device in a market, on whatever node it is."""
    return f"{device.driver}/{device.pool}/{device.name}"


def whole_of(device: LeasedDevice) -> str:
    """The whole device behind a leased one."""
    return f"{device.driver}/{device.pool}/{device.parent or device.name}"


def pool_of(device: Device, listed: Iterable[str]) -> tuple[str, Facts]:
    """The name of a device's pool, and the attributes that all of the pool share."""
    facts = {name: device.attributes[name] for name in listed if name in device.attributes}
    words = [device.device_class, *map(str, facts.values())]
    exact = [*words, *sorted(facts), str(device.sliceable)]
    spoken = " ".join(words[1:] if facts else words).lower()
    slug = re.sub("[^a-z0-9]+", "-", spoken).strip("-")[:48].rstrip("-")
    return f"{slug}-{hashlib.sha256(chr(0).join(exact).encode()).hexdigest()[:6]}", facts


def pools(
    nodes: Mapping[str, NodeOffered], for_sale: Mapping[str, frozenset[str]],
    busy: Mapping[str, frozenset[str]], listed: tuple[str, ...],
) -> dict[str, Pool]:  # fmt: skip
    """Pools by name, in name order.

    ``for_sale``: devices by node that were free when the window opened; ``busy``: leases by device.
    """
    found: dict[str, Pool] = {}
    counted: set[str] = set()
    for node in sorted(nodes):
        for device in nodes[node].devices:
            key = address(device)
            if key in counted:  # two nodes offer it: the first has it
                continue
            counted.add(key)
            name, facts = pool_of(device, listed)
            pool = found.setdefault(
                name, Pool(name, device.device_class, facts, device.sliceable, {}, {})
            )
            pool.total[node] = pool.total.get(node, 0) + 1
            free = pool.free.setdefault(node, [])
            if key in for_sale.get(node, frozenset()) and not busy.get(key):
                free.append(device)
    return {name: found[name] for name in sorted(found)}


def matches(pool: Pool, selector: bids.Selector, device_class: str) -> bool:
    """Whether a selector asks for the pool; one without pool or class means the market's own."""
    if "pool" not in selector and "device_class" not in selector:
        selector = {**selector, "device_class": device_class}
    facts: Facts = {**pool.facts, "pool": pool.name, "device_class": pool.device_class}
    return all(_meets(facts.get(name), wanted) for name, wanted in selector.items())


def _meets(fact: str | int | None, wanted: str | int | bids.Condition) -> bool:
    if fact is None:
        return False
    if isinstance(wanted, bids.Condition):
        if wanted.one_of is not None:
            return any(fact == one for one in wanted.one_of)
        least = wanted.at_least
        return least is not None and isinstance(fact, int) and fact >= least
    return fact == wanted


def holds_when_empty(pool: Pool, shape: str) -> bool:
    """Whether the pool could ever serve the shape."""
    return pool.sliced if shape in SLICES else _room(pool.total.values(), shape)


def has_room(pool: Pool, shape: str) -> bool:
    """Whether the shape would fit what is free, had nobody else bid."""
    counts = pool.counts()
    return any(counts) if shape in SLICES else _room(counts, shape)


def _room(counts: Iterable[int], shape: str) -> bool:
    size = int(shape)
    if size > GANG_UNIT:
        return GANG_UNIT * sum(count // GANG_UNIT for count in counts) >= size
    return max(counts, default=0) >= size


def award_problem(
    pool: Pool,
    shape: str,
    level: int,
    devices: tuple[LeasedDevice, ...],
    taken: set[tuple[str, int]],
) -> str:
    """Why these devices are no award of ``level`` times ``shape``; "" if they are.

    ``taken``: (device, memory slice) already awarded in this round; grows by these.
    """
    free = {
        (node, address(device)): device
        for node, found in pool.free.items() for device in found
    }  # fmt: skip
    by_node: dict[str, int] = {}
    for one in devices:
        device = free.get((one.node, whole_of(one)))
        if device is None:
            return f"{one.name} of {one.node} was not for sale in {pool.name}"
        part = _part(device, one)
        if part is None and (one.parent or one.profile or one.uuid != device.uuid):
            return f"{one.name} of {one.node} does not exist"
        if (one.pool, one.device_class) != (device.pool, device.device_class):
            return f"{one.name} of {one.node} is not of {one.pool}"
        if (part.profile if part else "") != (shape if shape in SLICES else ""):
            return f"{one.name} of {one.node} is no {shape}"
        span = range(8) if part is None else range(part.start, part.start + _SPAN[part.profile])
        cells = {(whole_of(one), cell) for cell in span}
        if taken & cells:
            return f"{one.name} of {one.node} is awarded twice"
        taken |= cells
        by_node[one.node] = by_node.get(one.node, 0) + 1
    return _shape_problem(shape, level, by_node)


def _shape_problem(shape: str, level: int, by_node: dict[str, int]) -> str:
    size = 1 if shape in SLICES else int(shape)
    if sum(by_node.values()) != size * level:
        return f"{sum(by_node.values())} devices are not {level} times {shape}"
    block = min(size, GANG_UNIT)
    if any(count % block for count in by_node.values()):
        return f"{shape} is split over nodes as {sorted(by_node.values())}"
    return ""


def _part(device: Device, leased: LeasedDevice) -> Partition | None:
    for part in device.partitions:
        named = (part.name, part.uuid, part.profile)
        if leased.parent == device.name and named == (leased.name, leased.uuid, leased.profile):
            return part
    return None


def shares(
    nodes: Mapping[str, NodeOffered], device_class: str, devices: tuple[LeasedDevice, ...]
) -> tuple[LeasedNode, ...]:
    """CPU, memory and disk that go with the devices, node by node."""
    found = []
    for name in sorted({one.node for one in devices}):
        node = nodes[name]
        mine = units(device_class, (one for one in devices if one.node == name))
        sellers = sum(device.device_class == device_class for device in node.devices)
        whole = max(1, 7 * sellers)
        part = min(mine, whole)
        found.append(
            LeasedNode(
                node=name, cpu_millis=node.cpu_millis * part // whole,
                memory_mib=node.memory_mib * part // whole,
                ephemeral_mib=node.ephemeral_mib * part // whole,
            )
        )  # fmt: skip
    return tuple(found)


def units(device_class: str, devices: Iterable[LeasedDevice]) -> int:
    """Sevenths of a device, counting the market's own class only."""
    mine = (one for one in devices if one.device_class == device_class)
    return sum(UNITS.get(one.profile or "1", 0) for one in mine)  # a forged profile is none
