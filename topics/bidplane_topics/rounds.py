"""What everyone may know of a clearing: prices and volumes, never another's bid."""

from __future__ import annotations

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros


class PoolRound(Part, frozen=True, kw_only=True):
    """One pool in one round: units are sevenths of a GPU; the price per unit and slot, or 0.

    ``asks``: by shape, the price per unit and slot at which one more copy would have been won; a
    shape that no money would have got is left out, and so are all where few agents took part.
    ``facts`` are the attributes that all devices of the pool share.
    """

    units_offered: Count
    units_sold: Count
    units_total: Count
    price_micros: Micros
    reserve_micros: Micros
    scarcity_permille: Count
    asks: dict[str, Micros] = {}
    device_class: str = ""
    facts: dict[str, str | int] = {}


class RoundClosed(Event, frozen=True, kw_only=True):
    """A clearing. ``inputs`` is the vector {topic: next offset} that makes it recomputable.

    ``root`` is the Merkle root over the round's terms and every agent's orders, awards and charges
    (market/README.md, "The round's root"), chained by ``previous_root``. ``orders`` counts those
    that took part, ``awarded`` those that won.
    ``units_leased`` and ``units_total`` count devices of ``device_class``, the market's own.
    Under the rule `exact`, ``bound_micros`` is what no awards' surplus could exceed, left out where
    few agents took part, and ``fell_back`` are the pools that greedy cleared for want of a proof.
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
    device_class: str = ""
    bound_micros: Micros | None = None
    fell_back: tuple[str, ...] = ()
