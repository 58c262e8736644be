"""What would have won: the least price at which one more copy of a shape still got in.

Decides, per pool and shape, the ask of a round: public, so that a bidder can name a value before
bidding and a loser can see what was missing. Refuses to show it where few took part, since there
the ask would be another's bid.

A bid that lost changed nothing, so the scan with one more bidder accepts the same winners until
that bidder's turn: its ask is the key of the winner that ended its shape (MECHANISM, Payment).
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Final

from bidplane_streams.market import optimum
from bidplane_streams.market.feasibility import Counters, shape_of
from bidplane_streams.market.greedy import KEY_BITS, key_of
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import Instance, InstanceBid, InstancePool, Result
from bidplane_topics.money import MICROS_MAX

# With fewer agents in a pool an ask is hidden: two could read each other's bids from it.
BIDDERS_LEAST: Final = 3
# Counters are kept at every so many winners, so that finding a shape's end repeats few of them.
STEP: Final = 32
# What a bid without a guaranteed floor has.
TIER: Final = 1

Asks = dict[str, dict[str, int]]
# A winner as the scan met it: (tier, -key), the shape it took and how often.
_Taken = tuple[tuple[int, int], str, int]


def asks(instance: Instance, result: Result, bidders_least: int = BIDDERS_LEAST) -> Asks:
    """Micro-credits per unit and slot, by pool and shape, of a bid of weight 1 without a boost.

    A bid of at least ``ask · units · slots`` in that pool would have won one copy, ties included.
    Shapes that no money would have got are left out, as are pools with too few bidders and those
    that a solver cleared: what one more bidder would have changed there, only it could say.
    """
    agents: dict[str, set[str]] = {}
    for bid in instance.bids:
        for alternative in bid.alternatives:
            agents.setdefault(alternative.pool, set()).add(bid.agent)
    taken = _taken(instance, result)
    return {
        pool.name: _of_pool(pool, sorted(taken[pool.name]))
        for pool in instance.pools
        if len(agents.get(pool.name, ())) >= bidders_least
        and (result.rule != optimum.RULE or pool.name in result.fell_back)
    }


def bound(instance: Instance, result: Result, bidders_least: int = BIDDERS_LEAST) -> int | None:
    """The bound of the rule `exact` as everyone may see it: none where few took part."""
    found = result.bound_micros
    few = len({bid.agent for bid in instance.bids}) < bidders_least
    return None if found is None or few or found > MICROS_MAX else found


def _taken(instance: Instance, result: Result) -> dict[str, list[_Taken]]:
    """The winners by pool; sorted, they stand as the scan met them, and ties are alike here."""
    bids = {bid.bid_id: bid for bid in instance.bids}
    pools = {pool.name: pool for pool in instance.pools}
    taken: dict[str, list[_Taken]] = {name: [] for name in pools}
    for bid_id, won in result.awards.items():
        bid = bids[bid_id]
        chosen = bid.alternatives[won.alternative]
        units = UNITS[chosen.shape] * chosen.slots
        key = key_of(bid, units * pools[chosen.pool].scarcity_permille)
        rank = (bid.tier_of(won.alternative), -key)
        taken[chosen.pool].append((rank, shape_of(chosen), won.level))
    return taken


def would_have_won(bid: InstanceBid, pools: Mapping[str, InstancePool], asked: Asks) -> int | None:
    """The least value, in micro-credits, that the asks say would have been enough; None unknown.

    Asks are for one copy more on any node, so they say nothing to renewals and elastic bids.
    """
    if bid.mode == "elastic" or any(way.pinned is not None for way in bid.alternatives):
        return None
    enough = []
    for way in bid.alternatives:
        ask = asked.get(way.pool, {}).get(way.shape)
        if ask is not None:
            units = UNITS[way.shape] * way.slots
            enough.append(
                max(pools[way.pool].reserve_micros * units, -(-ask * units // bid.weight))
            )
    return min(enough, default=None)


def _of_pool(pool: InstancePool, taken: list[_Taken]) -> dict[str, int]:
    kept = [Counters.of(pool)]
    for at, (_, shape, level) in enumerate(taken):
        if at % STEP == 0:
            kept.append(kept[-1].copy())
        kept[-1].add(shape, level)
    found = {}
    for shape in UNITS:
        if not kept[0].fits(shape):
            continue
        price = _ask(pool, _closer(shape, taken, kept))
        if price is not None:
            found[shape] = max(pool.reserve_micros, price)
    return found


def _closer(shape: str, taken: list[_Taken], kept: list[Counters]) -> tuple[int, int] | None:
    """Tier and negative key of the winner after which the shape no longer fits; None: none."""
    # Feasibility is downward-closed, so "no longer fits" stays true once it is.
    first = bisect.bisect_left(kept, True, key=lambda counters: not counters.fits(shape))
    if first == len(kept):
        return None
    counters = kept[first - 1].copy()
    for rank, taken_shape, level in taken[(first - 1) * STEP :]:
        counters.add(taken_shape, level)
        if not counters.fits(shape):
            return rank
    raise AssertionError("a shape that ended has a winner that ended it")


def _ask(pool: InstancePool, closer: tuple[int, int] | None) -> int | None:
    """The least price per unit and slot whose key is above the closer's; None where none is."""
    if closer is None:
        return 0
    tier, minus_key = closer
    if tier != TIER:
        return None if tier < TIER else 0
    return -((minus_key - 1) * pool.scarcity_permille >> KEY_BITS)
