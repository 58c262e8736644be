"""What sinks say of leases in the host cluster; only reports of the current epoch count."""

from __future__ import annotations

from bidplane_topics.event import Count, Event
from bidplane_topics.ids import Name


class SinkAlive(Event, frozen=True, kw_only=True):
    """The claims sink of this market works; nothing is sold while this is stale."""

    market: Name
    sink: str


class LeaseBound(Event, frozen=True, kw_only=True):
    """The claims stand allocated: the lease's clock starts at this record's append time."""

    market: Name
    lease_id: str
    epoch: Count


class LeaseFailed(Event, frozen=True, kw_only=True):
    """The claims cannot be made to stand; the market voids and refunds."""

    market: Name
    lease_id: str
    epoch: Count
    reason: str


class LeaseReleased(Event, frozen=True, kw_only=True):
    """No claim and no pod holds the devices any more: they may be sold again."""

    market: Name
    lease_id: str
    epoch: Count


class NodeLost(Event, frozen=True, kw_only=True):
    """The node is gone: its leases end and its devices leave supply until it is offered again."""

    market: Name
    node: str
    reason: str
