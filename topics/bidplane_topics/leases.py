"""A lease as the world sees it: whole, compacted by id; the market writes, sinks make it real."""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

LeaseState = Literal["pending", "awarded", "bound", "notice", "ending", "ended"]
EndCause = Literal[
    "", "expired", "released", "bind_timeout", "bind_failed", "node_lost", "market_removed",
    "pending_timeout", "transferred",
]  # fmt: skip


class LeasedDevice(Part, frozen=True, kw_only=True):
    """A device of a lease. ``profile`` and ``parent`` are set for a MIG slice."""

    node: str
    name: str
    driver: str
    pool: str
    uuid: str
    device_class: str
    profile: str = ""
    parent: str = ""


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
