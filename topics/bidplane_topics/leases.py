"""A lease as the world sees it: whole, compacted by id; the market writes, sinks make it real."""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros
from bidplane_topics.supply import Share

LeaseState = Literal["pending", "awarded", "bound", "notice", "ending", "ended"]
EndCause = Literal[
    "", "expired", "released", "bind_timeout", "bind_failed", "node_lost", "market_removed",
    "pending_timeout", "transferred",
]  # fmt: skip


class LeasedDevice(Part, frozen=True, kw_only=True):
    """A device of a lease. ``profile`` and ``parent`` are set for a MIG slice.

    A static MIG device has no ``parent``. ``companion_of`` names the device that it comes with,
    ``share`` says which share of the device it is: both are as in supply.
    """

    node: str
    name: str
    driver: str
    pool: str
    uuid: str
    device_class: str
    profile: str = ""
    parent: str = ""
    companion_of: str = ""
    share: Share | None = None

    @property
    def units(self) -> int:
        """Sevenths of a device that it counts as: what comes along counts nothing."""
        if self.companion_of:
            return 0
        return int(self.profile[0]) if self.parent else 7


class LeasedNode(Part, frozen=True, kw_only=True):
    """What the lease may use of a node besides its devices, in proportion to them."""

    node: str
    cpu_millis: Count
    memory_mib: Count
    ephemeral_mib: Count


class LeaseChanged(Event, frozen=True, kw_only=True):
    """The lease's whole state: awarded → bound → notice → ending → ended; all may go to ending.

    A lease on devices that others are still giving back begins as ``pending``: nothing of it may
    stand in a cluster until it is ``awarded``, by ``pending_until_ms`` at the latest. Its
    ``bind_by_ms`` is 0 until then, and stays 0 if it never gets there. ``bought_from`` names the
    lease that it continues, where an agent sold that one.

    A lease that is renewed stays ``bound``, under the same epoch and on the same devices: ``term``
    counts its renewals, ``renewed_by`` is the bid that won the last one, and price, duration and
    end are those of the newest term, which begins where the one before it ends.

    A ``standing`` lease is on devices that the market's own claims hold: it is bound as it is
    awarded and ended as it ends, no sink does anything for it, and its epoch is its holder's right.

    ``ends_at_ms`` is 0 until bound. ``epoch`` fences: it is 1 + the highest epoch its devices ever
    had, and grows again when the lease starts to end, so a late write of the holder changes
    nothing.
    """

    market: Name
    lease_id: str
    bid_id: str
    tenant: Name
    agent: Name
    state: LeaseState
    epoch: Count
    window: Count
    market_pool: str
    shape: str
    level: Count
    devices: tuple[LeasedDevice, ...]
    nodes: tuple[LeasedNode, ...]
    price_micros: Micros
    duration_ms: Millis
    awarded_at_ms: Millis
    bind_by_ms: Millis
    bound_at_ms: Millis = 0
    ends_at_ms: Millis = 0
    grace_until_ms: Millis = 0
    cause: EndCause = ""
    pending_until_ms: Millis = 0
    bought_from: str = ""
    term: Count = 0
    renewed_by: str = ""
    standing: bool = False
