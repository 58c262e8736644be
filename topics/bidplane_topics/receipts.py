"""A receipt: what one agent gets of a round, so that it can check offline what became of its bids.

Decides the shape of a receipt and of the two texts in it. Refuses to hash: the market and the
auditor each do that for themselves (market/README.md, "The round's root").
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from bidplane_topics.event import Count, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.instances import InstanceAlternative
from bidplane_topics.money import Micros

# One spelling for a digest, so that no byte of a receipt can change without being noticed.
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]
Fate = Literal["won", "lost", "rests", "refused", "expired"]

# An agent whose orders fill more text than this gets several leaves: a receipt is one record, and
# 4,096 open orders in one would be more than a broker takes.
LEAF_TEXT_MAX: Final = 256 * 1024


class Receipt(Part, frozen=True, kw_only=True):
    """One leaf of a round and the way from it to ``root``; digests are hex.

    ``round`` and ``leaf`` are the exact texts that were hashed: canonical JSON of Terms and Leaf.
    ``salt`` stands before the leaf's text, and ``proof`` are the siblings from the leaf upwards.
    """

    root: Digest
    round: str
    index: Count
    salt: Digest
    leaf: str
    proof: tuple[Digest, ...]


class Terms(Part, frozen=True, kw_only=True):
    """What a round was held by. ``pools``: SHA-256 of the frozen pools as the clearing saw them.

    Only that digest, since free devices by node are nobody's business. ``leaves`` counts the
    leaves, so that a place in the tree means one thing. ``bound_micros`` and ``fell_back`` are the
    round's, and there under the rule `exact` alone.
    """

    market: Name
    window: Count
    closed_at_ms: Millis
    inputs: dict[str, Count]
    previous_root: str
    rule: str
    rule_version: Count
    slot_ms: Count
    beacon: str
    pools: Digest
    leaves: Count
    bound_micros: Micros | msgspec.UnsetType | None = msgspec.UNSET
    fell_back: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class Cleared(Part, frozen=True, kw_only=True):
    """An order as it took part in the clearing."""

    tier: int
    weight: int
    boost_micros: int
    alternatives: tuple[InstanceAlternative, ...]


class Won(Part, frozen=True, kw_only=True):
    """What an order won: one of the alternatives that were cleared, at a level, for a price."""

    alternative: Count
    level: Count
    price_micros: Micros


class OrderFate(Part, frozen=True, kw_only=True):
    """An order and what became of it; ``cleared`` is null where it took no part."""

    bid_id: str
    fate: Fate
    mode: Literal["rigid", "elastic"]
    value_micros: Micros
    level_min: Count
    level_max: Count
    cleared: Cleared | None
    award: Won | None


class Leaf(Part, frozen=True, kw_only=True):
    """All orders of one agent in a round, by bid id; ``part`` of ``parts`` where they are many."""

    agent: str
    part: Count
    parts: Count
    orders: tuple[OrderFate, ...]
