"""What a market may sell: real devices of real nodes, as the inventory source sees them."""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Part
from bidplane_topics.ids import Name

Profile = Literal["1g", "2g", "3g", "4g"]


# Where NVIDIA's A100 and H100 place slices: profile and first compute slice.
PLACEMENTS: frozenset[tuple[Profile, int]] = frozenset(
    [("1g", start) for start in range(7)]
    + [("2g", start) for start in (0, 2, 4)]
    + [("3g", start) for start in (0, 4)]
    + [("4g", 0)]
)


class Partition(Part, frozen=True, kw_only=True):
    """A MIG slice of a device at its placement (compute slice where it starts)."""

    name: str
    uuid: str
    profile: Profile
    start: Count


class Device(Part, frozen=True, kw_only=True):
    """A device as its ResourceSlice names it: address (driver, pool, name), identity uuid.

    ``device_class`` is the DeviceClass that sells it; ``attributes`` feed fingerprints and
    selectors.
    """

    name: str
    driver: str
    pool: str
    uuid: str
    device_class: str
    attributes: dict[str, str | int] = {}
    partitions: tuple[Partition, ...] = ()

    @property
    def sliceable(self) -> bool:
        """Whether every placement is there; a device with only some is sold whole."""
        return {(part.profile, part.start) for part in self.partitions} >= PLACEMENTS


class NodeOffered(Event, frozen=True, kw_only=True):
    """The whole truth about one node, replacing what was known: its devices and their share."""

    market: Name
    node: str
    devices: tuple[Device, ...]
    cpu_millis: Count = 0
    memory_mib: Count = 0
    ephemeral_mib: Count = 0

    def __post_init__(self) -> None:
        """No name stands twice: it could be sold twice."""
        names = [(device.driver, device.pool, device.name) for device in self.devices]
        names += [
            (device.driver, device.pool, part.name)
            for device in self.devices
            for part in device.partitions
        ]
        if len(names) != len(set(names)):
            raise ValueError("a device or partition is named twice")


class NodeWithdrawn(Event, frozen=True, kw_only=True):
    """Nothing more is sold on this node; running leases go on."""

    market: Name
    node: str
    reason: str
