"""What lies gain: nothing where the mechanism claims so, and something where it does not."""

from __future__ import annotations

import random

import pytest

from bidplane_loadtest.simulator import strategies


@pytest.mark.parametrize("lie", ["shade", "boast", "enlarge"])
@pytest.mark.parametrize(("rule", "draws"), [("greedy", 40), ("exact", 12)])
def test_truthful_rules_leave_a_single_bid_nothing_to_gain(rule: str, draws: int, lie: str) -> None:
    """By critical values and by Clarke payments no draw pays off for one rigid bid that lies."""
    assert strategies.gains(rule, lie, draws).paid_off == 0.0


def test_paying_the_bid_invites_shading() -> None:
    """Under pay-as-bid honesty gets nothing, so that shading pays."""
    case = strategies.shade(random.Random(1), 1)
    truth = strategies.truths(case)
    assert strategies.utility(case.honest, truth, case.mine, "pay-as-bid") == 0
    assert strategies.gains("pay-as-bid", "shade", 20).paid_off > 0


def test_two_who_stand_together_may_gain() -> None:
    """The rule does not claim to withstand groups, and two that want alike do gain."""
    assert strategies.gains("greedy", "collude", 40).paid_off > 0


def test_a_split_bid_is_worth_what_the_whole_one_is() -> None:
    """Four bids under four names have the true value of the four copies of one."""
    case = strategies.split(random.Random(1), 1)
    assert len(case.mine) == strategies.COPIES + 1
    assert len(set(strategies.truths(case).values())) == 1
