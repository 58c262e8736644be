"""What a market may sell: real devices of real nodes, as the inventory source sees them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from bidplane_topics.event import Count, Event, Part
from bidplane_topics.ids import Name

Profile = Literal["1g", "2g", "3g", "4g"]
# The weight of a whole device in what its node has besides: sevenths and eighths of it are whole.
WHOLE: Final = 840


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


class Companion(Part, frozen=True, kw_only=True):
    """A device that is sold with another one and never alone."""

    name: str
    driver: str
    pool: str
    uuid: str
    device_class: str


class Share(Part, frozen=True, kw_only=True):
    """One of ``of`` shares of a device; ``consumes`` says what each takes of its capacities.

    ``isolation`` says what keeps the shares apart, or that nothing does.
    """

    index: Count
    of: Annotated[int, msgspec.Meta(ge=1, le=64)]
    consumes: dict[str, str] = {}
    isolation: str = ""


class Device(Part, frozen=True, kw_only=True):
    """A device as its ResourceSlice names it: address (driver, pool, name), identity uuid.

    ``device_class`` is the DeviceClass that sells it; ``attributes`` feed fingerprints and
    selectors. ``profile`` is set for a static MIG device, ``share`` for a share: each is sold as
    shape 1. ``companions`` go with it: it is sold whole, with all of them. ``carries`` is its
    weight in the node's CPU, memory and disk, where a device of the market's class has 840.
    """

    name: str
    driver: str
    pool: str
    uuid: str
    device_class: str
    attributes: dict[str, str | int] = {}
    partitions: tuple[Partition, ...] = ()
    profile: str = ""
    share: Share | None = None
    companions: tuple[Companion, ...] = ()
    carries: Annotated[int, msgspec.Meta(ge=0, le=WHOLE)] = 0

    @property
    def sliceable(self) -> bool:
        """Whether every placement is there; a device with only some is sold whole.

        So is one with companions, and a share is never cut.
        """
        if self.companions or self.share is not None:
            return False
        return {(part.profile, part.start) for part in self.partitions} >= PLACEMENTS

    @property
    def nature(self) -> dict[str, str | int]:
        """What tells its pool from one of plain devices, whatever attributes an operator lists."""
        found: dict[str, str | int] = {"profile": self.profile} if self.profile else {}
        if self.share is not None:
            found |= {"isolation": self.share.isolation, "shares": self.share.of}
        if self.companions:
            found["companions"] = "+".join(sorted(one.device_class for one in self.companions))
        return found


class NodeOffered(Event, frozen=True, kw_only=True):
    """The whole truth about one node, replacing what was known: its devices and their share.

    A node that an operator assigned to the market: ``assignment`` names the record that did, by its
    offset on the markets topic + 1; under any other an offer counts for nothing. ``epoch`` is the
    highest that a device of it had in another market: leases here begin above it. ``held``: the
    market's standing claims hold the devices; a standing market sells nothing else.
    """

    market: Name
    node: str
    devices: tuple[Device, ...]
    cpu_millis: Count = 0
    memory_mib: Count = 0
    ephemeral_mib: Count = 0
    assignment: Count = 0
    epoch: Count = 0
    held: bool = False

    def __post_init__(self) -> None:
        """No name stands twice, as itself, a part, a companion or a share: nothing sells twice."""
        names = [
            (device.driver, device.pool, device.name)
            for device in self.devices
            if device.share is None
        ]
        names += [
            (one.driver, one.pool, one.name) for device in self.devices for one in device.companions
        ]
        names += [
            (device.driver, device.pool, part.name)
            for device in self.devices
            for part in device.partitions
        ]
        shared = {(d.driver, d.pool, d.name, d.share.index) for d in self.devices if d.share}
        cut = {address[:3] for address in shared}
        shares = sum(device.share is not None for device in self.devices)
        if len(names) != len(set(names)) or len(shared) != shares or cut & set(names):
            raise ValueError("a device or partition is named twice")


class NodeWithdrawn(Event, frozen=True, kw_only=True):
    """Nothing more is sold on this node; running leases go on."""

    market: Name
    node: str
    reason: str
