"""What everyone may know of a clearing: prices and volumes, never another's bid."""

from __future__ import annotations

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros


class PoolRound(Part, frozen=True, kw_only=True):
    """One pool in one round: units are sevenths of a GPU; the price per unit and slot, or 0."""

    units_offered: Count
    units_sold: Count
    units_total: Count
    price_micros: Micros
    reserve_micros: Micros
    scarcity_permille: Count


class RoundClosed(Event, frozen=True, kw_only=True):
    """A clearing. ``inputs`` is the vector {topic: next offset} that makes it recomputable.

    ``root`` is SHA-256 over the canonical round (market/README.md, "The round's digest"), chained
    by ``previous_root``. ``orders`` counts those that took part, ``awarded`` those that won.
    ``units_leased`` and ``units_total`` count devices of the market's own device class.
    """

    market: Name
    window: Count
    closed_at_ms: Millis
    inputs: dict[str, Count]
    rule: str
    rule_version: Count
    slot_ms: Count
    beacon: str
    previous_root: str
    root: str
    orders: Count
    awarded: Count
    revenue_micros: Micros
    pools: dict[str, PoolRound]
    leases_active: Count
    units_leased: Count
    units_total: Count
