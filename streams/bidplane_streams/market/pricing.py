"""What winners pay: one row of PRICING per rule.

Decides payments in micro-credits. The default is the critical value (critical.py), under which no
bid can gain by naming another value; the others are for comparison and for short homogeneous
windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bidplane_streams.market import critical
from bidplane_streams.market.greedy import Auction, Outcome, Pair
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import InstanceBid

Pricing = Callable[[Auction, Outcome], dict[str, int]]


def pay_as_bid(auction: Auction, outcome: Outcome) -> dict[str, int]:
    """Winners pay what they bid: a baseline, under which shading pays."""
    return {
        bid_id: auction.bids[bid_id].value_micros * win.level
        for bid_id, win in outcome.wins.items()
    }


class _Density(NamedTuple):
    """A value per unit and slot, as an exact ratio."""

    micros: int
    units: int

    def below(self, other: _Density) -> bool:
        """Whether this is the smaller ratio."""
        return self.micros * other.units < other.micros * self.units


def uniform(auction: Auction, outcome: Outcome) -> dict[str, int]:
    """One price per pool: max(reserve, min(lowest winning, highest losing density)), floored.

    A losing bid counts if the empty pool could have served it (others are no pairs:
    greedy.Auction). For homogeneous short windows: easy to explain, not truthful for agents with
    many units.
    """
    lowest: dict[str, _Density] = {}
    highest: dict[str, _Density] = {}
    floor: dict[str, _Density] = {}
    for position, pair in enumerate(auction.pairs):
        bid, win = auction.bids[pair.bid_id], outcome.wins.get(pair.bid_id)
        units = _units(bid, pair)
        density = _Density(bid.value_micros, units)
        floor[pair.pool] = _Density(pair.reserve, units)
        if win is not None and win.position == position:
            if pair.pool not in lowest or density.below(lowest[pair.pool]):
                lowest[pair.pool] = density
        elif win is None and (pair.pool not in highest or highest[pair.pool].below(density)):
            highest[pair.pool] = density
    paid = {}
    for bid_id, win in outcome.wins.items():
        pair = auction.pairs[win.position]
        price = highest.get(pair.pool, floor[pair.pool])
        if lowest[pair.pool].below(price):
            price = lowest[pair.pool]
        if price.below(floor[pair.pool]):
            price = floor[pair.pool]
        units = _units(auction.bids[bid_id], pair) * win.level
        paid[bid_id] = price.micros * units // price.units
    return paid


def _units(bid: InstanceBid, pair: Pair) -> int:
    chosen = bid.alternatives[pair.alternative]
    return UNITS[chosen.shape] * chosen.slots


PRICING: dict[str, Pricing] = {
    "greedy": critical.values,
    "uniform": uniform,
    "pay-as-bid": pay_as_bid,
}
