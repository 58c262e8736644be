"""Whether the devices of an award are what was sold: for sale, of the shape, whole bundles, once.

Decides from the pools as they were on sale. Refuses to know which of several alike devices a winner
should have got.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from bidplane_agents.audit.inventory import GANG_UNIT, Pool
from bidplane_agents.audit.mechanism import SLICES
from bidplane_agents.audit.occupancy import SLOTS, address, cells, whole_of
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.supply import Companion, Device, Partition


class _OnSale(NamedTuple):
    """A device that was for sale, and its free slots."""

    device: Device
    slots: frozenset[int]


def problem(
    pool: Pool, shape: str, level: int, devices: tuple[LeasedDevice, ...],
    taken: set[tuple[str, int]],
) -> str:  # fmt: skip
    """Why these devices are no award of ``level`` times ``shape``; "" if they are.

    ``taken``: (device, memory slice) already awarded in this round; grows by these.
    """
    on_sale = _on_sale(pool)
    sold = [one for one in devices if not one.companion_of]
    whole: list[LeasedDevice] = []
    for one in sold:
        found = on_sale.get((one.node, whole_of(one)))
        if found is None:
            return f"{one.name} of {one.node} was not for sale in {pool.name}"
        if wrong := _wrong(one, found, shape) or _twice(one, found.device, taken):
            return f"{one.name} of {one.node} {wrong}"
        whole += [
            one,
            *(_along(one.node, found.device, other) for other in found.device.companions),
        ]
    if list(devices) != whole:
        return "companions are missing, or come with nothing that is sold with them"
    return _shape_problem(shape, level, Counter(one.node for one in sold))


def _on_sale(pool: Pool) -> dict[tuple[str, str], _OnSale]:
    found = {
        (node, address(device)): _OnSale(device, SLOTS)
        for node, devices in pool.free.items() for device in devices
    }  # fmt: skip
    for node, partly in pool.partly.items():
        for device, slots in partly:
            found[node, address(device)] = _OnSale(device, frozenset(slots))
    return found


def _wrong(one: LeasedDevice, found: _OnSale, shape: str) -> str:
    """What is wrong with one device, as the end of a sentence."""
    device, part = found.device, _part(found.device, one)
    itself = (one.profile, one.uuid, one.share) == (device.profile, device.uuid, device.share)
    against = (
        (part is None and (bool(one.parent) or not itself), "does not exist"),
        ((one.pool, one.device_class) != (device.pool, device.device_class),
         f"is not of {one.pool}"),
        ((part.profile if part else "") != (shape if shape in SLICES else ""), f"is no {shape}"),
        (not _span(part) & SLOTS <= found.slots, "was in use"),
    )  # fmt: skip
    return next((words for holds, words in against if holds), "")


def _twice(one: LeasedDevice, device: Device, taken: set[tuple[str, int]]) -> str:
    mine = {(whole_of(one), cell) for cell in _span(_part(device, one))}
    mine |= {(address(other), cell) for other in device.companions for cell in _span(None)}
    if taken & mine:
        return "is awarded twice"
    taken |= mine
    return ""


def _span(part: Partition | None) -> frozenset[int]:
    """The memory slices that it takes of its device."""
    return frozenset(range(8)) if part is None else cells(part.profile, part.start)


def _part(device: Device, leased: LeasedDevice) -> Partition | None:
    for part in device.partitions:
        named = (part.name, part.uuid, part.profile)
        if leased.parent == device.name and named == (leased.name, leased.uuid, leased.profile):
            return part
    return None


def _along(node: str, device: Device, other: Companion) -> LeasedDevice:
    """A companion as the lease must name it, right behind the device that it comes with."""
    return LeasedDevice(
        node=node, name=other.name, driver=other.driver, pool=other.pool, uuid=other.uuid,
        device_class=other.device_class, companion_of=device.name,
    )  # fmt: skip


def _shape_problem(shape: str, level: int, by_node: Counter[str]) -> str:
    size = 1 if shape in SLICES else int(shape)
    if by_node.total() != size * level:
        return f"{by_node.total()} devices are not {level} times {shape}"
    if any(count % min(size, GANG_UNIT) for count in by_node.values()):
        return f"{shape} is split over nodes as {sorted(by_node.values())}"
    return ""
