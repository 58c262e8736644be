"""Who is on which slots of a device: whole devices, and slices side by side.

Decides what of a device nobody has. Refuses to know who should have it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Final

from bidplane_topics.leases import LeasedDevice
from bidplane_topics.supply import Companion, Device, NodeOffered

SLOTS: Final = frozenset(range(7))
SHARED: Final = "#"
# What a slice takes of a device's eight memory slices, from where it starts.
_SPAN: Final = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}


def address(device: Device | Companion) -> str:
    """What names a device, or a share of one, in a market, on whatever node it is."""
    name = f"{device.driver}/{device.pool}/{device.name}"
    if isinstance(device, Device) and device.share is not None:
        return f"{name}{SHARED}{device.share.index}"
    return name


def whole_of(device: LeasedDevice) -> str:
    """The device behind a leased slice, or what is leased itself."""
    name = f"{device.driver}/{device.pool}/{device.parent or device.name}"
    return name if device.share is None else f"{name}{SHARED}{device.share.index}"


def base_of(key: str) -> str:
    """The device that a share is one of; the device itself otherwise."""
    return key.partition(SHARED)[0]


def parts_of(device: Device) -> list[str]:
    """Everything that goes with it: itself and its companions."""
    return [address(device), *map(address, device.companions)]


def known_as(key: str) -> list[str]:
    """Where a lease leaves its epoch: its own address, and for a share "some share of it"."""
    return [key, base_of(key) + SHARED] if SHARED in key else [key]


def against(key: str) -> list[str]:
    """Where earlier leases that shut it out left theirs: the whole against shares, and back."""
    return [key, base_of(key) if SHARED in key else key + SHARED]


def cells(profile: str, start: int) -> frozenset[int]:
    """The memory slices of a slice; there is one more of them than there are compute slots."""
    return frozenset(range(start, start + _SPAN[profile]))


class Occupancy:
    """The leases on each device, with their slots."""

    def __init__(self) -> None:
        """Nobody is anywhere."""
        self._taken: dict[str, dict[str, frozenset[int]]] = {}
        self._sharing: dict[str, set[str]] = {}

    def take(self, lease: str, key: str, slots: frozenset[int]) -> None:
        """A lease has these slots of a device, beside what it has of it already."""
        holders = self._taken.setdefault(key, {})
        holders[lease] = holders.get(lease, frozenset()) | slots
        if SHARED in key:
            self._sharing.setdefault(base_of(key), set()).add(lease)

    def leave(self, lease: str, key: str) -> None:
        """A lease has left a device."""
        self._taken.get(key, {}).pop(lease, None)
        if SHARED in key:
            self._sharing.get(base_of(key), set()).discard(lease)

    def slots(self, lease: str, key: str) -> frozenset[int]:
        """What a lease has of a device."""
        return self._taken.get(key, {}).get(lease, frozenset())

    def free(self, key: str, leaving: Container[str] = ()) -> frozenset[int]:
        """What nobody has, or only those who are ``leaving``; nothing beside its rivals."""
        if any(name not in leaving for name in self._rivals(key)):
            return frozenset()
        holders = self._taken.get(key, {})
        return SLOTS.difference(*(had for name, had in holders.items() if name not in leaving))

    def beside(self, lease: str, key: str) -> list[str]:
        """The other leases on a lease's own slots of a device, or on what excludes them."""
        holders = self._taken.get(key, {})
        mine = holders.get(lease, frozenset())
        found = [name for name, had in holders.items() if name != lease and had & mine]
        return found + [name for name in sorted(self._rivals(key)) if name != lease]

    def _rivals(self, key: str) -> Collection[str]:
        """Who has the whole of a share's device, or some share of a whole one."""
        if SHARED in key:
            return self._taken.get(base_of(key), {}).keys()
        return self._sharing.get(key, set())


def free_of(device: Device, busy: Occupancy, leaving: Container[str] = ()) -> frozenset[int]:
    """What of a device nobody has; nothing where somebody has one of its companions."""
    slots, *others = (busy.free(key, leaving) for key in parts_of(device))
    return slots if all(other == SLOTS for other in others) else frozenset()


def slots_of(device: LeasedDevice, nodes: Mapping[str, NodeOffered]) -> frozenset[int]:
    """The slots of a leased device as its node offers it; all of them where that is not known."""
    offered = nodes.get(device.node)
    for whole in () if offered is None else offered.devices:
        for part in whole.partitions if address(whole) == whole_of(device) else ():
            if (part.name, part.profile) == (device.name, device.profile):
                return SLOTS & cells(part.profile, part.start)
    return SLOTS
