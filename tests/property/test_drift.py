"""Weights and reserves between windows: no bid moves its own window, and steady input is steady."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bidplane_agents.audit.drift import Drift
from bidplane_streams.market import book, clearing, drift
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound
from property.drift_windows import (
    WISHES,
    Drifting,
    Wish,
    declarations,
    frozen_terms,
    ignores_its_own_bids,
    pools,
)

FAST = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
FULL: list[Wish] = [(n % 4, 9000 + n, "4") for n in range(6)]


@FAST
@given(
    history=st.lists(WISHES, max_size=3), one=WISHES, other=WISHES,
    pending_ms=st.sampled_from((0, 2500)),
)  # fmt: skip
@example(history=[FULL], one=FULL, other=[], pending_ms=0)
def test_no_bid_moves_its_own_window(
    history: list[list[Wish]], one: list[Wish], other: list[Wish], pending_ms: int
) -> None:
    """Weights, reserves and what is on sale are the same whatever the window receives."""
    assert ignores_its_own_bids(history, one, other, pending_ms=pending_ms)


def test_bids_move_the_windows_after() -> None:
    """The windows above are worth something: what they receive moves the next one's terms."""
    terms = []
    for wishes in (FULL, []):
        market = Drifting()
        market.window(wishes)
        terms.append(frozen_terms(market.window([])))
    assert terms[0] != terms[1]


def test_a_market_that_learns_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserves that move by the very window's sales break the property above."""
    instance = book.instance

    def ahead(rules: MarketDeclared, *given: Any, **named: Any) -> Any:
        first = instance(rules, *given, **named)
        result = clearing.clear(first)
        reserves = {
            pool.name: pool.reserve_micros + (pool.name in result.prices) for pool in first.pools
        }
        return instance(msgspec.structs.replace(rules, reserves=reserves), *given, **named)

    monkeypatch.setattr(book, "instance", ahead)
    assert not ignores_its_own_bids([], FULL, [])


@FAST
@given(declarations(), declarations(), st.lists(pools(), min_size=1, max_size=6))
def test_the_auditor_tells_the_same(
    first: MarketDeclared, then: MarketDeclared, rounds: list[dict[str, PoolRound]]
) -> None:
    """Over any rounds and a change of rules, both tellings have the same rules in force."""
    means: dict[str, int] = {}
    auditor = Drift()
    for number, closed in enumerate(rounds):
        declared = first if number < 3 else then
        drifted = drift.after(declared, means, closed)
        assert drifted.rules == auditor.closed(declared, closed)
        assert drifted.means == auditor.means
        means = drifted.means


@FAST
@given(declarations(least_rate=50), pools())
def test_steady_input_is_reached_and_kept(
    declared: MarketDeclared, closed: dict[str, PoolRound]
) -> None:
    """A pool that sells out at one price comes to weigh by it, and its reserve to a bound."""
    means: dict[str, int] = dict.fromkeys(closed, 0)
    for _ in range(4000):
        drifted = drift.after(declared, means, closed)
        before, means = (means, closed), drifted.means
        closed = {
            name: msgspec.structs.replace(pool, reserve_micros=drifted.rules.reserves[name])
            for name, pool in closed.items()
        }
        if before == (means, closed):
            break
    assert before == (means, closed), "it still moves"
    for name, pool in closed.items():
        if 0 < pool.units_offered == pool.units_sold:
            assert means[name] == pool.price_micros * drift.FINE


@FAST
@given(declarations(), pools(), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**53)))
def test_every_step_is_bounded(
    declared: MarketDeclared, closed: dict[str, PoolRound], means: dict[str, int]
) -> None:
    """Reserves stay from floor to cap and move by their rate; weights span a factor of 20."""
    rules, learnt = drift.after(declared, means, closed)
    most = max(declared.scarcity.get(name, 1000) for name in closed)
    for name in learnt if any(learnt.values()) else ():
        assert most <= 20 * rules.scarcity[name] <= 20 * most
    for name, pool in closed.items():
        floor = declared.reserves.get(name, declared.reserve_micros)
        cap = max(floor, declared.reserve_cap_micros)
        reserve = rules.reserves.get(name, rules.reserve_micros)
        if not declared.reserve_rate_permille:
            assert reserve == floor
            continue
        assert floor <= reserve <= cap
        before = min(max(floor, pool.reserve_micros), cap)
        step = max(1, -(-before * declared.reserve_rate_permille // 1000))
        assert abs(reserve - before) <= step
