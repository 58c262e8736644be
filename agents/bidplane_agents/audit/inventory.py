"""What a market had to sell: pools of alike devices, and what of them was free.

Decides pools, matches and the share of a node that goes with devices. Refuses to know bids' values.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from bidplane_agents.audit.mechanism import SLICES, UNITS
from bidplane_agents.audit.occupancy import (
    SLOTS,
    Occupancy,
    address,
    against,
    cells,
    free_of,
    known_as,
    parts_of,
    whole_of,
)
from bidplane_topics import bids
from bidplane_topics.instances import PartialDevice
from bidplane_topics.leases import LeasedDevice, LeasedNode
from bidplane_topics.supply import PLACEMENTS, WHOLE, Device, NodeOffered

GANG_UNIT: Final = 8
Facts = dict[str, str | int]
ForSale = dict[str, frozenset[int]]


class Pool(NamedTuple):
    """Alike devices by node: how many, those that were free, the free slots of others."""

    name: str
    device_class: str
    facts: Facts
    sliced: bool
    total: dict[str, int]
    free: dict[str, list[Device]]
    partly: dict[str, list[tuple[Device, tuple[int, ...]]]]

    def counts(self) -> tuple[int, ...]:
        """Free devices of each node, nodes in order."""
        return tuple(len(self.free[node]) for node in sorted(self.free))

    def emptied(self) -> Pool:
        """The same pool with nothing for sale."""
        return self._replace(free={node: [] for node in self.free}, partly={})

    def shared(self) -> tuple[PartialDevice, ...]:
        """Partly free devices as an instance has them: index of the node, slots."""
        nodes = sorted(self.free)
        return tuple(
            (nodes.index(node), slots)
            for node in nodes for _, slots in self.partly.get(node, ())
        )  # fmt: skip


def pool_of(device: Device, listed: Iterable[str]) -> tuple[str, Facts]:
    """The name of a device's pool, and the attributes that all of the pool share."""
    facts = {name: device.attributes[name] for name in listed if name in device.attributes}
    facts.update(device.nature)
    words = [device.device_class, *map(str, facts.values())]
    exact = [*words, *sorted(facts), str(device.sliceable)]
    spoken = " ".join(words[1:] if facts else words).lower()
    slug = re.sub("[^a-z0-9]+", "-", spoken).strip("-")[:48].rstrip("-")
    return f"{slug}-{hashlib.sha256(chr(0).join(exact).encode()).hexdigest()[:6]}", facts


def pools(
    nodes: Mapping[str, NodeOffered], for_sale: Mapping[str, ForSale], busy: Occupancy,
    leaving: frozenset[str], listed: tuple[str, ...],
) -> dict[str, Pool]:  # fmt: skip
    """Pools by name, in name order.

    ``for_sale``: by node, the slots of each device that were free when the window opened;
    ``leaving``: leases whose slots are for sale although they still have them.
    """
    found: dict[str, Pool] = {}
    counted: set[str] = set()
    for node in sorted(nodes):
        for device in nodes[node].devices:
            key = address(device)
            parts = parts_of(device)
            if any(one in counted for part in parts for one in against(part)):
                continue  # two nodes offer it, or a part of it: the first has it
            counted.update(one for part in parts for one in known_as(part))
            name, facts = pool_of(device, listed)
            pool = found.setdefault(
                name, Pool(name, device.device_class, facts, device.sliceable, {}, {}, {})
            )
            pool.total[node] = pool.total.get(node, 0) + 1
            free = pool.free.setdefault(node, [])
            slots = for_sale.get(node, {}).get(key, frozenset())
            slots &= free_of(device, busy, leaving)
            if slots == SLOTS:
                free.append(device)
            elif slots and device.sliceable:
                now = busy.free(key)  # what is free at once comes first
                ordered = (*sorted(slots & now), *sorted(slots - now))
                pool.partly.setdefault(node, []).append((device, ordered))
    for pool in found.values():
        for partly in pool.partly.values():  # what is free at once comes first, then by number
            partly.sort(key=lambda one: _numbered(one[0].name))
            partly.sort(key=lambda one: not busy.free(address(one[0])).issuperset(one[1]))
    return {name: found[name] for name in sorted(found)}


def _numbered(name: str) -> list[tuple[int, str]]:
    words = re.split(r"(\d+)", name)
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def matches(pool: Pool, selector: bids.Selector, device_class: str) -> bool:
    """Whether a selector asks for the pool; one without pool or class means the market's own."""
    if not {"pool", "device_class", "profile", "isolation"} & selector.keys():
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
    if shape not in SLICES:
        return _room(counts, shape)
    places = [cells(shape, start) & SLOTS for profile, start in PLACEMENTS if profile == shape]
    left = [slots for partly in pool.partly.values() for _, slots in partly]
    return any(counts) or any(place.issubset(slots) for place in places for slots in left)


def _room(counts: Iterable[int], shape: str) -> bool:
    size = int(shape)
    if size > GANG_UNIT:
        return GANG_UNIT * sum(count // GANG_UNIT for count in counts) >= size
    return max(counts, default=0) >= size


def shares(
    nodes: Mapping[str, NodeOffered], device_class: str, devices: tuple[LeasedDevice, ...]
) -> tuple[LeasedNode, ...]:
    """CPU, memory and disk that go with the devices, node by node."""
    found = []
    for name in sorted({one.node for one in devices}):
        node = nodes[name]
        carried = {
            address(device): WHOLE if device.device_class == device_class else device.carries
            for device in node.devices
        }
        part = sum(
            carried.get(whole_of(one), 0) * _size(one) // 7 for one in devices if one.node == name
        )
        whole = max(1, sum(carried.values()))
        part = min(part, whole)
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
    return sum(_size(one) for one in devices if one.device_class == device_class)


def _size(device: LeasedDevice) -> int:
    """Sevenths of a device; what only comes along counts nothing."""
    if device.companion_of:
        return 0
    return UNITS.get(device.profile if device.parent else "1", 0)  # a forged profile is none
