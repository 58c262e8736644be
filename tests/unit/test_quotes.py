"""Quotes: what the public rounds say a bid would have had to name."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_agents import history, placing, quotes
from bidplane_topics import bids
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import PoolRound, RoundClosed

CLASS = "gpu.nvidia.com"


def pool(asks: dict[str, int], **facts: str | int) -> PoolRound:
    """A pool of one round with a reserve of 2."""
    return PoolRound(
        units_offered=7, units_sold=0, units_total=7, price_micros=0, reserve_micros=2,
        scarcity_permille=1000, asks=asks, device_class=CLASS, facts=facts,
    )  # fmt: skip


def closed(**pools: PoolRound) -> RoundClosed:
    """A round of those pools."""
    return RoundClosed(
        market="m", window=1, closed_at_ms=1, inputs={}, rule="greedy", rule_version=1,
        slot_ms=1000, beacon="", previous_root="", root="", orders=0, awarded=0, revenue_micros=0,
        pools=pools, leases_active=0, units_leased=0, units_total=0, device_class=CLASS,
    )  # fmt: skip


def wanted(shape: str = "2", seconds: int = 3, **selector: Any) -> bids.Alternative:
    """A shape for some seconds."""
    return placing.alternative(shape, seconds * 1000, selector)


def test_a_quote_names_the_value_that_won_half_most_and_all_rounds() -> None:
    """Asks per unit and slot times 14 units and 3 slots, by rank."""
    rounds = [closed(p=pool({"2": ask})) for ask in (5, 1, 9, 3, 7, 2, 8, 4, 6, 10)]
    (quote,) = quotes.quotes(rounds, wanted())
    assert (quote.half_micros, quote.most_micros, quote.all_micros) == (5 * 42, 9 * 42, 10 * 42)
    assert (quote.last_micros, quote.least_micros, quote.rounds) == (10 * 42, 2 * 42, 10)


def test_a_quote_counts_the_rounds_that_showed_no_price() -> None:
    """The prices are of the others alone; full rounds and those with few bidders are told apart."""
    rounds = [closed(p=pool(asks)) for asks in ({"2": 3}, {"1": 1}, {}, {})]
    (quote,) = quotes.quotes(rounds, wanted())
    assert (quote.rounds, quote.priced, quote.full, quote.hidden) == (4, 1, 1, 2)
    assert quote.last_micros is None
    assert "would have won half of 1 round with a price, " in quotes.sentence(quote)
    assert "in 1 nothing that large was free" in quotes.sentence(quote)
    assert "2 had fewer than three bidders" in quotes.sentence(quote)


def test_a_quote_says_what_keeps_shares_apart() -> None:
    """Who bids for one shall know it before."""
    rounds = [closed(p=pool({"2": 1}, isolation="none: time-sliced", shares=10))]
    (quote,) = quotes.quotes(rounds, wanted(shares=10))
    assert "a share: isolation none: time-sliced" in quotes.sentence(quote)


def test_without_any_price_the_reserve_is_told() -> None:
    """A quiet market has nothing else to say."""
    (quote,) = quotes.quotes([closed(p=pool({}))], wanted(shape="1g"))
    assert quotes.sentence(quote).startswith("p: 1g for 0.05 min; no price to show; the reserve")


@pytest.mark.parametrize(
    ("selector", "found"),
    [({}, ["a", "b"]), ({"model": "H100"}, ["a"]), ({"pool": "b"}, ["b"]), ({"model": "T4"}, [])],
)
def test_a_quote_is_for_the_pools_that_the_bid_selects(
    selector: dict[str, str], found: list[str]
) -> None:
    """The same selectors as in a bid."""
    rounds = [closed(a=pool({}, model="H100"), b=pool({}, model="A100"))]
    assert [one.market_pool for one in quotes.quotes(rounds, wanted("2", 3, **selector))] == found
    assert quotes.quotes([], wanted()) == ()


@pytest.mark.parametrize(
    ("reason", "evidence", "says"),
    [
        (Rejection.OUTBID, {"would_have_won_micros": 2_500_000}, "2.50 would have won"),
        (Rejection.OUTBID, {}, "higher value"),
        (Rejection.NO_CAPACITY, {}, "rest until devices are free"),
    ],
)
def test_a_loser_is_told_the_next_step(
    reason: Rejection, evidence: dict[str, int | str], says: str
) -> None:
    """What would have won where it may be shown; else what else to try."""
    lost = OutcomeReported(
        outcome_id="x", kind="lost", tenant="t", agent="a", at_ms=1, bid_id="b", reason=reason,
        evidence=evidence,
    )  # fmt: skip
    assert says in history.story("b", [lost]).next_step
