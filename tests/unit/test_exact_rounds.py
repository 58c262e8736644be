"""A market under the rule `exact`: what it asks of a solver, and what its round tells."""

from __future__ import annotations

import msgspec
import pytest

import builders
from bidplane_agents import receipts
from bidplane_streams.lanes.markets import MarketsLogic
from bidplane_streams.market import clearing, optimum
from bidplane_streams.market.market import MarketState
from bidplane_topics import reports
from bidplane_topics.instances import Instance, Result
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rounds import RoundClosed


class Solver:
    """Remembers what it was asked; clears as the core does without one."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, instance: Instance, limit_ms: int) -> Result:
        """Clear a window."""
        self.asked.append((len(instance.bids), limit_ms))
        return clearing.clear(instance, optimum.RULE)


def closed(
    rule: str, agents: int, solver: Solver | None = None, solve_ms: int = 0, window_ms: int = 1000
) -> tuple[RoundClosed, list[OutcomeReported]]:
    """One round in which so many agents want the only two devices."""
    feed = builders.Feed(MarketState(0, solve=solver))
    feed.give(builders.market(rule=rule, solve_ms=solve_ms, window_ms=window_ms))
    feed.give(builders.node("n0", gpus=2))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    for number in range(agents):
        feed.give(
            builders.order(
                f"t/a{number}/k/1/0", seq=number + 1, agent=f"a{number}", value_micros=90 + number
            )
        )
    effects = feed.close()
    (found,) = builders.events(effects, RoundClosed)
    return found, builders.outcomes(effects, "receipt")


@pytest.mark.parametrize(
    ("solve_ms", "window_ms", "limit_ms"),
    [(0, 1000, 250), (0, 60_000, 2000), (1700, 1000, 1700)],
)
def test_a_solver_gets_a_part_of_the_window(solve_ms: int, window_ms: int, limit_ms: int) -> None:
    """A quarter and two seconds at most, unless the market says otherwise."""
    solver = Solver()
    closed("exact", 4, solver, solve_ms, window_ms)
    assert solver.asked[-1] == (4, limit_ms)


def test_other_rules_ask_no_solver() -> None:
    """A market's solver is for one rule alone."""
    solver = Solver()
    closed("greedy", 4, solver)
    assert not solver.asked


def test_a_round_tells_what_fell_back_and_its_bound() -> None:
    """Without a solver a contested pool falls back, under the bound of everybody's value."""
    found, _ = closed("exact", 4)
    assert found.fell_back == tuple(found.pools)
    assert found.bound_micros == 90 + 91 + 92 + 93


def test_the_bound_of_few_agents_is_nobody_elses_business() -> None:
    """With two agents the sum of both values would tell each the other's."""
    found, _ = closed("exact", 2)
    assert found.bound_micros is None


def test_receipts_hold_the_bound() -> None:
    """What was proven, and what was not, is part of what every receipt leads to."""
    found, told = closed("exact", 4)
    assert told
    for outcome in told:
        assert outcome.receipt is not None
        terms = receipts.terms_of(outcome.receipt)
        assert (terms.bound_micros, terms.fell_back) == (found.bound_micros, found.fell_back)
    _, others = closed("greedy", 4)
    for outcome in others:
        assert outcome.receipt is not None
        terms = receipts.terms_of(outcome.receipt)
        assert terms.bound_micros is msgspec.UNSET
        assert terms.fell_back is msgspec.UNSET


def test_the_lane_hands_the_solver_on() -> None:
    """What a worker gives to its lane reaches every partition that it takes."""
    solver = Solver()
    solve = MarketsLogic(solve=solver).new_state(3).solve
    assert solve is not None
    empty = Instance(market="pool-a", window=1, beacon="00", slot_ms=1000, pools=(), bids=())
    assert solve(empty, 250).awards == {}
    assert solver.asked == [(0, 250)]
