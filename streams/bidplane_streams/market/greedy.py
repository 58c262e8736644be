"""The scan: pairs of (bid, alternative) in one fixed order; each bid is served at most once.

Decides order and winners. The same scan, started in the middle without one bid, gives its payment.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import NamedTuple

from bidplane_streams.market.feasibility import Counters, shape_of
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import Instance, InstanceBid

KEY_BITS = 20


class Pair(NamedTuple):
    """A bid with one alternative; tuples compare in scan order: tier, key, tie, alternative.

    ``shape`` is as ``feasibility.shape_of`` has it: pinned to different nodes, shapes differ.
    """

    tier: int
    minus_key: int
    tie: bytes
    alternative: int
    bid_id: str
    pool: str
    shape: str
    weighted: int
    reserve: int


class Win(NamedTuple):
    """Where a bid won: its pair's position in the scan, and the level."""

    position: int
    alternative: int
    level: int


class Outcome(NamedTuple):
    """Winners by bid id, and how each pool's counters stood just before each win.

    ``refused`` is the first position where an unserved bid did not get its highest level.
    """

    wins: dict[str, Win]
    before: dict[str, dict[str, Counters]]
    refused: dict[str, int]


def key_of(bid: InstanceBid, weighted: int) -> int:
    """What the scan ranks by: the bid's worth per weighted unit and slot (MECHANISM, Order)."""
    return (bid.weight * (bid.value_micros + bid.boost_micros) << KEY_BITS) // weighted


class Auction:
    """An instance made ready to scan.

    Alternatives below their reserve, or larger than their pool when it is empty, take no part: so
    one that could never be served neither ends a shared replay nor counts as a losing bid.
    """

    def __init__(self, instance: Instance) -> None:
        """Sort the pairs; nothing is cleared yet."""
        self.bids = {bid.bid_id: bid for bid in instance.bids}
        self._pools = {pool.name: pool for pool in instance.pools}
        self._empty = {pool.name: Counters.of(pool) for pool in instance.pools}
        beacon = binascii.unhexlify(instance.beacon)
        self.pairs = sorted(pair for bid in instance.bids for pair in self._pairs_of(bid, beacon))

    def _pairs_of(self, bid: InstanceBid, beacon: bytes) -> list[Pair]:
        tie = hashlib.sha256(beacon + bid.bid_id.encode()).digest()
        pairs = []
        for index, alternative in enumerate(bid.alternatives):
            pool = self._pools[alternative.pool]
            units, shape = UNITS[alternative.shape] * alternative.slots, shape_of(alternative)
            weighted, reserve = units * pool.scarcity_permille, units * pool.reserve_micros
            possible = self._empty[pool.name].fits(shape, bid.level_min)
            if possible and bid.value_micros >= reserve:
                pairs.append(
                    Pair(bid.tier_of(index), -key_of(bid, weighted), tie, index, bid.bid_id,
                         pool.name, shape, weighted, reserve)
                )  # fmt: skip
        return pairs

    def empty(self) -> dict[str, Counters]:
        """Counters of every pool with nothing given away."""
        return {name: counters.copy() for name, counters in self._empty.items()}

    def level(self, counters: Counters, pair: Pair) -> int:
        """The highest level of the pair's bid that fits, or 0."""
        bid = self.bids[pair.bid_id]
        for level in range(bid.level_max, bid.level_min - 1, -1):
            if counters.fits(pair.shape, level):
                return level
        return 0

    def run(self) -> Outcome:
        """The whole scan."""
        counters = self.empty()
        wins: dict[str, Win] = {}
        before: dict[str, dict[str, Counters]] = {}
        refused: dict[str, int] = {}
        closed: set[tuple[str, str]] = set()
        for position, pair in enumerate(self.pairs):
            shape = (pair.pool, pair.shape)
            if pair.bid_id in wins:
                continue
            level = 0 if shape in closed else self.level(counters[pair.pool], pair)
            if level < self.bids[pair.bid_id].level_max:
                refused.setdefault(pair.pool, position)
            if level:
                before[pair.bid_id] = dict(counters)
                counters[pair.pool] = counters[pair.pool].copy()
                counters[pair.pool].add(pair.shape, level)
                wins[pair.bid_id] = Win(position, pair.alternative, level)
            elif shape not in closed and not counters[pair.pool].fits(pair.shape):
                closed.add(shape)  # never reopens: feasibility is downward-closed
        return Outcome(wins, before, refused)
