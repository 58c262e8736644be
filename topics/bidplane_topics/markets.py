"""The markets, as operators declare them, each on one partition; and nodes that change markets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bidplane_topics.event import Count, Event
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

# Thirty days: a longest time that, added to a clock, stays a number every reader holds exactly.
Span = Annotated[int, msgspec.Meta(ge=0, le=2_592_000_000)]
Permille = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Share = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Weight = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Units = Annotated[int, msgspec.Meta(ge=1, le=2**32)]


class MarketDeclared(Event, frozen=True, kw_only=True):
    """A market's rules, frozen for each round at the previous close.

    Durations are milliseconds; reserves are micro-credits per unit (a seventh of a GPU) and slot.
    ``fingerprint`` lists the device attributes that tell pools apart. ``device_class`` is meant by
    a selector that names neither a class nor a pool, and is what a round's totals count.
    ``release_fee_micros`` is kept from the refund of an early release. ``entitlements`` are each
    tenant's floor, in units of the market's own device class (market/README.md, "Floors").
    ``weights`` multiply what the bids of a tenant, or of an agent (``tenant/name``, which outweighs
    its tenant's), count for in the order of the scan; it pays less by the same factor, and never
    less than the reserve (market/README.md, "Class weights"). Nobody else's weight is above 1.
    Above 0, ``pending_ms`` sells devices whose holders are all leaving, and is how long a winner
    waits for them at most; 0 sells only what is free.
    Above 0, ``scarcity_rate_permille`` is the newest price's share in the means that scarcity
    follows, and ``reserve_rate_permille`` the most that a reserve moves a window, as a share of
    itself: up where more than ``target_permille`` of a pool is in use, to ``reserve_cap_micros``,
    else down to what is declared (market/README.md, "Between windows").
    ``solve_ms`` is how long the rule `exact` may look for a proof before it falls back; 0 is a
    quarter of the window and two seconds at most.
    A ``standing`` market has claims of its own on its devices, and its leases need none
    (sinks/README.md, "Standing claims").
    """

    market: Name
    partition: Count
    rule: Literal["greedy", "uniform", "pay-as-bid", "exact"] = "greedy"
    window_ms: Annotated[int, msgspec.Meta(ge=50, le=3_600_000)] = 2000
    slot_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 1000
    reserve_micros: Micros = 0
    reserves: dict[str, Micros] = {}
    scarcity: dict[str, Permille] = {}
    fingerprint: tuple[str, ...] = ("productName", "memory", "architecture", "domain")
    device_class: str = "gpu.nvidia.com"
    max_duration_ms: Annotated[int, msgspec.Meta(ge=1, le=2_592_000_000)] = 86_400_000
    bind_deadline_ms: Span = 30_000
    grace_ms: Span = 10_000
    stale_after_ms: Span = 15_000
    release_fee_micros: Micros = 0
    entitlements: dict[Name, Units] = {}
    weights: dict[str, Weight] = {}
    pending_ms: Span = 0
    scarcity_rate_permille: Share = 0
    reserve_rate_permille: Share = 0
    reserve_cap_micros: Micros = 0
    target_permille: Share = 900
    solve_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    standing: bool = False


class MarketRemoved(Event, frozen=True, kw_only=True):
    """No more rounds: every order is settled, every lease runs to its end."""

    market: Name


class NodeAssigned(Event, frozen=True, kw_only=True):
    """An operator's word on where a node is sold: in this market and in no other, from now on.

    It outweighs the labels by which sources choose nodes. Each market leaves the node at once; the
    new one offers it when no lease of another holds it (sinks/README.md). Compacted by node.
    """

    node: str
    market: Name
