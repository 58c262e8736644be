"""The markets, as operators declare them: each is one partition, named explicitly."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bidplane_topics.event import Count, Event
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

# Thirty days: a longest time that, added to a clock, stays a number every reader holds exactly.
Span = Annotated[int, msgspec.Meta(ge=0, le=2_592_000_000)]
Permille = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Units = Annotated[int, msgspec.Meta(ge=1, le=2**32)]


class MarketDeclared(Event, frozen=True, kw_only=True):
    """A market's rules, frozen for each round at the previous close.

    Durations are milliseconds; reserves are micro-credits per unit (a seventh of a GPU) and slot.
    ``fingerprint`` lists the device attributes that tell pools apart. ``device_class`` is meant by
    a selector that names neither a class nor a pool, and is what a round's totals count.
    ``release_fee_micros`` is kept from the refund of an early release. ``entitlements`` are each
    tenant's floor, in units of the market's own device class (market/README.md, "Floors").
    Above 0, ``pending_ms`` sells devices whose holders are all leaving, and is how long a winner
    waits for them at most; 0 sells only what is free.
    """

    market: Name
    partition: Count
    rule: Literal["greedy", "uniform", "pay-as-bid"] = "greedy"
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
    pending_ms: Span = 0


class MarketRemoved(Event, frozen=True, kw_only=True):
    """No more rounds: every order is settled, every lease runs to its end."""

    market: Name
