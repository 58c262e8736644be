"""Welfare beside the optimum: a pinned corpus of windows with the LP bound of each.

Decides how near the market must come. The bounds are HiGHS's optimum of the linear relaxation of
exactly these windows (`python -m bidplane_loadtest.market_solvers lp`), the weights those that six
earlier windows left (`bench_market.carried`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import pytest

from bidplane_loadtest import market_draws
from bidplane_streams.fast import clearing as fast
from bidplane_streams.market import clearing, greedy
from bidplane_topics.instances import Instance, InstanceBid


class Pinned(NamedTuple):
    """A window of the benchmark's draws, and the LP's optimum in micro-credits."""

    workload: str
    bids: int
    seed: int
    weights: tuple[int, ...]
    lp_micros: int


CORPUS = (
    Pinned("mixed", 1000, 7, (1000, 980, 660, 244), 2_412_131_950),
    Pinned("mixed", 1000, 8, (1000, 980, 660, 244), 2_991_599_669),
    Pinned("inference", 1000, 7, (1000, 939, 690, 350), 1_611_625_242),
    Pinned("inference", 1000, 8, (1000, 939, 690, 350), 1_357_144_681),
    Pinned("training", 1000, 7, (1000, 980, 692, 246), 3_201_159_227),
    Pinned("training", 1000, 8, (1000, 980, 692, 246), 3_317_986_698),
    Pinned("mixed", 10_000, 7, (1000, 997, 654, 269), 23_381_422_231),
    Pinned("inference", 10_000, 7, (1000, 919, 672, 295), 12_644_271_072),
    Pinned("training", 10_000, 7, (974, 1000, 699, 260), 32_152_614_158),
)
LEAST = {1000: 0.98, 10_000: 0.99}
# Solvers count in doubles of a credit.
SLACK = 1e-6


def window(pinned: Pinned, weights: tuple[int, ...]) -> Instance:
    """The pinned window with these weights of its pools."""
    nodes = market_draws.supply(pinned.bids).nodes
    offer = market_draws.Supply(nodes, weights)
    return market_draws.window(pinned.workload, pinned.bids, offer, pinned.seed)


def share(pinned: Pinned, weights: tuple[int, ...]) -> float:
    """The market's part of the LP bound; by the kernel, where there is one."""
    fast.warm()
    return fast.clear(window(pinned, weights)).welfare_micros / pinned.lp_micros


@pytest.mark.parametrize("pinned", CORPUS, ids=lambda one: f"{one.workload}-{one.bids}-{one.seed}")
def test_welfare_is_near_the_bound_and_never_above(pinned: Pinned) -> None:
    """At least 98 % of the LP with 1,000 bids, 99 % with 10,000, and at most all of it."""
    assert LEAST[pinned.bids] <= share(pinned, pinned.weights) <= 1 + SLACK


def test_weights_that_follow_prices_reach_more_on_mixed_pools() -> None:
    """With constant weights the same mixed windows fall short of those that drifted."""
    for pinned in (one for one in CORPUS if one.workload == "mixed"):
        even = share(pinned, (1000,) * len(pinned.weights))
        assert even < share(pinned, pinned.weights)


def test_ranking_by_the_root_of_the_weight_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values over the square root of units, a known heuristic, fall below the corpus's bounds."""

    def by_root(bid: InstanceBid, weighted: int) -> int:
        worth = bid.weight * (bid.value_micros + bid.boost_micros)
        return (worth << greedy.KEY_BITS) // math.isqrt(weighted)

    monkeypatch.setattr(greedy, "key_of", by_root)
    pinned = CORPUS[0]
    auction = greedy.Auction(window(pinned, pinned.weights))
    wins = auction.run().wins
    welfare = sum(auction.bids[one].value_micros * win.level for one, win in wins.items())
    assert welfare < LEAST[pinned.bids] * pinned.lp_micros


def test_no_bid_is_lost_on_the_way_to_the_bound() -> None:
    """The pure path and the kernel reach the same welfare on a pinned window."""
    given = window(CORPUS[4], CORPUS[4].weights)
    fast.warm()
    assert msgspec.json.encode(fast.clear(given)) == msgspec.json.encode(clearing.clear(given))
