"""Decay and refill: the walk against its definition, and how far it walks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidplane_streams.market.schedules import Accrual, Schedule, accrued
from bidplane_topics.money import MICROS_MAX

AMOUNTS = st.one_of(st.integers(0, 5000), st.integers(0, 10**12))


def schedule(amount: int, permille: int = 0, period_ms: int = 1000) -> Schedule:
    """A schedule that the treasury pays, from time 0 on."""
    return Schedule(amount, period_ms, 0, "treasury", permille)


def by_definition(give: int, permille: int, balance: int, periods: int) -> Accrual:
    """Every period in turn: first decay, then refill."""
    refilled = decayed = 0
    for _ in range(periods):
        lost = balance * permille // 1000
        balance += give - lost
        refilled, decayed = refilled + give, decayed + lost
    return Accrual(refilled, decayed)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(AMOUNTS, st.integers(0, 1000), AMOUNTS, st.integers(0, 600))
def test_the_walk_is_the_definition(give: int, permille: int, balance: int, periods: int) -> None:
    """Refill and decay are what every period in turn gives, and never take what is not there."""
    change = accrued(schedule(give, permille), balance, periods)
    assert change == by_definition(give, permille, balance, periods)
    assert change.decay_micros <= balance + change.refill_micros


@settings(max_examples=200, deadline=None, derandomize=True)
@given(AMOUNTS, st.integers(0, 1000), AMOUNTS, st.integers(0, 300), st.integers(0, 300))
def test_touching_more_often_changes_nothing(
    give: int, permille: int, balance: int, first: int, second: int
) -> None:
    """Periods counted at two touches come to what they come to at one."""
    plan = schedule(give, permille)
    one, both = accrued(plan, balance, first), accrued(plan, balance, first + second)
    rest = accrued(plan, balance + one.refill_micros - one.decay_micros, second)
    assert both.refill_micros == one.refill_micros + rest.refill_micros
    assert both.decay_micros == one.decay_micros + rest.decay_micros


@pytest.mark.parametrize("permille", [1, 2, 100, 1000])
@pytest.mark.parametrize("balance", [0, 999, MICROS_MAX, 2**70])
@pytest.mark.parametrize("give", [0, 1, 10**6, MICROS_MAX])
def test_ages_of_silence_are_walked_in_no_time(permille: int, balance: int, give: int) -> None:
    """A clock that stood still for ages ends, and neither entry exceeds what a record holds."""
    change = accrued(schedule(give, permille), balance, 2**53)
    assert 0 <= change.refill_micros <= MICROS_MAX
    assert 0 <= change.decay_micros <= min(MICROS_MAX, balance + change.refill_micros)


def test_only_whole_periods_count() -> None:
    """A period counts at its end, and what is left of the next one is kept for it."""
    plan = schedule(5, period_ms=1000)
    assert [plan.periods(now_ms) for now_ms in (-1, 0, 999, 1000, 2999)] == [0, 0, 0, 1, 2]
    assert plan.after(2).since_ms == 2000
    assert plan.after(2).periods(2999) == 0
