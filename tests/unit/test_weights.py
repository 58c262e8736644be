"""Class weights: whose values count more, and what they pay."""

from __future__ import annotations

from typing import Any

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeReported

UNIT_SLOTS = 70  # a device for ten slots


def window(*bids: tuple[str, str, int], **rules: Any) -> builders.Feed[MarketState]:
    """One device and one window with bids (tenant, agent, value)."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**rules))
    feed.give(builders.node(gpus=1))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    for seq, (tenant, agent, value) in enumerate(bids, 1):
        order = builders.order(
            f"{tenant}/{agent}/k/{seq}/0", value, seq=seq, tenant=tenant, agent=agent
        )
        feed.give(order)
    feed.close()
    return feed


def winner(feed: builders.Feed[MarketState]) -> LeaseChanged:
    """The only lease."""
    lease: LeaseChanged
    (lease,) = builders.events(feed.out, LeaseChanged)
    return lease


def test_a_weight_ranks_a_value_higher_and_divides_the_price() -> None:
    """A bid of weight 4 beats one up to four times its value, and pays a quarter of that."""
    feed = window(("t", "a", 3000), ("u", "b", 1000), weights={"u": 4})
    assert (winner(feed).tenant, winner(feed).price_micros) == ("u", 750)


def test_an_agents_own_weight_outweighs_its_tenants() -> None:
    """The agent's name is looked for first."""
    bids = (("u", "c", 1000), ("u", "b", 900))
    assert winner(window(*bids, weights={"u": 4, "u/b": 5})).agent == "b"
    assert winner(window(*bids, weights={"u": 4, "u/b": 1})).agent == "c"


def test_no_weight_goes_below_the_reserve() -> None:
    """The reserve is paid whole, whatever the weight."""
    feed = window(("t", "a", 800), ("u", "b", 700), weights={"u": 1000}, reserve_micros=10)
    assert winner(feed).price_micros == 10 * UNIT_SLOTS


def test_a_weighted_value_beyond_the_keys_is_refused() -> None:
    """Weight times value stays below 2^42, so keys stay exact."""
    feed = window(("u", "b", 2**40), weights={"u": 4})
    (told,) = [one for one in builders.events(feed.out, OutcomeReported) if one.kind == "refused"]
    assert told.reason == "value_too_large"


def test_a_loser_is_told_its_own_enough() -> None:
    """What would have won is told in the loser's money, its weight taken into account."""
    rivals = [("t", f"a{n}", 70_000 + n) for n in range(3)]
    feed = window(*rivals, ("u", "b", 1000), weights={"u": 2})
    told = {one.agent: one for one in builders.events(feed.out, OutcomeReported)
            if one.kind == "lost"}  # fmt: skip
    enough = told["b"].evidence["would_have_won_micros"]
    assert isinstance(enough, int)
    again = window(*rivals, ("u", "b", enough), weights={"u": 2})
    assert winner(again).agent == "b"
    assert enough < 36_000
