"""The rule `exact`: the window's optimum where a solver proves it in time, else greedy.

Decides what is maximised, which bids are solved together and what falls back (exact/README.md).
Refuses to solve: a solver is given, or nothing that is contested can be proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from bidplane_streams.market import results
from bidplane_streams.market.feasibility import Counters, shape_of
from bidplane_streams.market.greedy import Auction, Outcome, Win
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import Instance, InstanceBid, InstancePool, Result
from bidplane_topics.markets import MarketDeclared

RULE: Final = "exact"
# A component with more bids is cleared by greedy, which is near the optimum there.
BIDS_MOST: Final = 200
# Sums of gains stay below this, so that a solver's doubles tell single micro-credits apart.
GAINS_MOST: Final = 2**48
# A solver may take a quarter of the window, and two seconds at most.
WINDOW_PART: Final = 4
LIMIT_MOST_MS: Final = 2000


class Solution(NamedTuple):
    """Who wins (alternative and level) and pays what, proven to be the component's optimum."""

    wins: dict[str, Win]
    paid: dict[str, int]


Solver = Callable[[Instance], Solution | None]
Greedy = Callable[[Instance, str], Result]


def limit_ms(rules: MarketDeclared) -> int:
    """How long a window may be solved for."""
    return rules.solve_ms or min(LIMIT_MOST_MS, rules.window_ms // WINDOW_PART)


def clear(instance: Instance, greedy: Greedy, solver: Solver | None = None) -> Result:
    """Clear one window, component by component.

    ``greedy`` clears the bids of those components that are uncontested or fall back.
    """
    solved, rest, fallen, bound = Solution({}, {}), list[InstanceBid](), set[str](), 0
    for component in components(instance):
        most = ceiling(component)
        found = None
        if not must_fall_back(component, most):
            if is_uncontested(component, most):
                rest += component.bids
                bound += most
                continue
            found = None if solver is None else solver(component)
        if found is None:
            rest += component.bids
            bound += most
            fallen |= {pool.name for pool in component.pools}
        else:
            solved.wins.update(found.wins)
            solved.paid.update(found.paid)
            bound += surplus(component, found.wins)
    left = greedy(msgspec.structs.replace(instance, bids=tuple(rest)), "greedy")
    wins = {one: Win(0, won.alternative, won.level) for one, won in left.awards.items()}
    paid = {one: won.price_micros for one, won in left.awards.items()}
    outcome = Outcome(wins | solved.wins, {}, {})
    result = results.assembled(instance, RULE, outcome, paid | solved.paid)
    return msgspec.structs.replace(
        result, surplus_micros=surplus(instance, outcome.wins), bound_micros=bound,
        fell_back=tuple(sorted(fallen)),
    )  # fmt: skip


def components(instance: Instance) -> list[Instance]:
    """The instance in parts that share no bid and no pool, smallest first; empty pools left out."""
    leader = {pool.name: pool.name for pool in instance.pools}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for bid in instance.bids:
        first, *others = (find(one.pool) for one in bid.alternatives)
        for other in others:
            low, high = sorted((find(first), find(other)))
            leader[high] = low
    bids: dict[str, list[InstanceBid]] = {}
    for bid in instance.bids:
        bids.setdefault(find(bid.alternatives[0].pool), []).append(bid)
    pools: dict[str, list[InstancePool]] = {name: [] for name in bids}
    for pool in instance.pools:
        if find(pool.name) in pools:
            pools[find(pool.name)].append(pool)
    return [
        msgspec.structs.replace(instance, pools=tuple(pools[name]), bids=tuple(bids[name]))
        for name in sorted(bids, key=lambda name: (len(bids[name]), name))
    ]


def must_fall_back(component: Instance, most: int) -> bool:
    """Whether greedy clears it whatever a solver could do.

    Many bids, sums (``most``: its ceiling) that doubles do not hold, floors (tiers), and renewals
    (boosts, pins).
    """
    ways = [(bid, index) for bid in component.bids for index in range(len(bid.alternatives))]
    return (
        len(component.bids) > BIDS_MOST
        or most >= GAINS_MOST
        or len({bid.tier_of(index) for bid, index in ways}) > 1
        or any(bid.boost_micros for bid in component.bids)
        or any(bid.alternatives[index].pinned is not None for bid, index in ways)
    )


def gain(bid: InstanceBid, alternative: int, pools: Mapping[str, InstancePool]) -> int:
    """What one copy adds to the surplus: the weighted value above the reserve."""
    chosen = bid.alternatives[alternative]
    reserve = pools[chosen.pool].reserve_micros * UNITS[chosen.shape] * chosen.slots
    return bid.weight * (bid.value_micros - reserve)


def surplus(instance: Instance, wins: Mapping[str, Win]) -> int:
    """What the rule maximises: the gains of all that was won."""
    pools = {pool.name: pool for pool in instance.pools}
    won = ((bid, wins[bid.bid_id]) for bid in instance.bids if bid.bid_id in wins)
    return sum(gain(bid, win.alternative, pools) * win.level for bid, win in won)


def sold(instance: Instance, wins: Mapping[str, Win]) -> dict[str, Counters] | None:
    """Every pool's counters with these awards; None where they do not fit or nobody asked."""
    counters = {pool.name: Counters.of(pool) for pool in instance.pools}
    for bid in instance.bids:
        win = wins.get(bid.bid_id)
        if win is None:
            continue
        chosen = bid.alternatives[win.alternative]
        taken, shape = counters[chosen.pool], shape_of(chosen)
        asked = bid.level_min <= win.level <= bid.level_max
        if not asked or not taken.fits(shape, win.level):
            return None
        taken.add(shape, win.level)
    return counters


def ceiling(component: Instance) -> int:
    """A bound on the surplus that needs no solver: everybody as if alone."""
    pools = {pool.name: pool for pool in component.pools}
    empty = {pool.name: Counters.of(pool) for pool in component.pools}
    known: dict[tuple[str, str, int], bool] = {}

    def possible(bid: InstanceBid, index: int) -> bool:
        chosen = bid.alternatives[index]
        way = (chosen.pool, shape_of(chosen), bid.level_min)
        if way not in known:
            known[way] = empty[chosen.pool].fits(way[1], bid.level_min)
        return known[way]

    return sum(
        bid.level_max
        * _best(gain(bid, index, pools) for index in range(len(bid.alternatives))
                if possible(bid, index))
        for bid in component.bids
    )  # fmt: skip


def _best(gains: Iterable[int]) -> int:
    return max((one for one in gains if one > 0), default=0)


def is_uncontested(component: Instance, most: int) -> bool:
    """Whether the scan refuses nobody and reaches ``most``: then all pay the reserve (README)."""
    outcome = Auction(component).run()
    return not outcome.refused and surplus(component, outcome.wins) == most
