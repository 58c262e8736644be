"""The audit of rounds that a solver cleared: it believes the log only as far as it can be right."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from bidplane_agents.audit import verdict
from bidplane_agents.audit.log import Log
from bidplane_streams.market import clearing, optimum
from bidplane_streams.market.market_rows import Solve
from bidplane_topics.instances import Award, Instance, Result
from simulation import audit_mutants
from simulation.exact_world import ExactWorld, is_contested, patient

WINDOWS = 12
Lie = Callable[[Instance, Result], Result | None]


def _complaints(log: Log) -> str:
    return "\n".join(verdict.as_lines(verdict.audit(log), log))


@pytest.mark.parametrize("seed", range(4))
def test_what_a_solver_cleared_keeps_every_promise(seed: int) -> None:
    """Rounds with proven optima and rounds that fell back are audited without solving again."""
    world = ExactWorld(seed)
    world.run(WINDOWS)
    assert verdict.audit(world.log()).sound, _complaints(world.log())
    assert world.asked


def test_the_log_of_a_solver_is_sound_whenever_a_transaction_has_ended() -> None:
    """An award whose round is there and a round whose award is not never meet."""
    world = ExactWorld(3)
    world.run(8)
    for boundary in random.Random(3).sample(world.broker.boundaries, 15):
        log = Log(world.broker.records[:boundary])
        assert verdict.audit(log).sound, _complaints(log)


@pytest.mark.parametrize("seed", range(2))
def test_a_market_without_a_solver_keeps_every_promise(seed: int) -> None:
    """Where nothing can be proven, all that is contested falls back, and the round says so."""
    world = ExactWorld(seed, None)
    world.run(WINDOWS)
    assert verdict.audit(world.log()).sound, _complaints(world.log())


def _lying(lie: Lie, told: list[int]) -> Solve:
    """A solver that is honest until it sees an occasion, once."""

    def solve(instance: Instance, limit_ms: int) -> Result:
        honest = patient(instance, limit_ms)
        if told or len({bid.agent for bid in instance.bids}) < 3:
            return honest
        lied = lie(instance, honest)
        if lied is None:
            return honest
        told.append(instance.window)
        return lied

    return solve


def _solved(instance: Instance, result: Result) -> list[str]:
    """The winners in components that a solver settled, dearest first."""
    found: list[str] = []
    for part in optimum.components(instance):
        if is_contested(part):
            found += [bid.bid_id for bid in part.bids if bid.bid_id in result.awards]
    value = {bid.bid_id: bid.value_micros for bid in instance.bids}
    return sorted(found, key=lambda one: -value[one])


def _with(result: Result, awards: dict[str, Award], by: int = 0) -> Result:
    bound = None if result.bound_micros is None else result.bound_micros + by
    return msgspec.structs.replace(result, awards=awards, bound_micros=bound)


def _drop_dearest(instance: Instance, result: Result) -> Result | None:
    """The best winner gets nothing."""
    winners = _solved(instance, result)
    kept = {one: award for one, award in result.awards.items() if one not in winners[:1]}
    return _with(result, kept) if winners else None


def _drop_dearest_and_say_so(instance: Instance, result: Result) -> Result | None:
    """The same, with a bound that agrees."""
    winners = _solved(instance, result)
    if not winners:
        return None
    pools = {pool.name: pool for pool in instance.pools}
    bid = next(one for one in instance.bids if one.bid_id == winners[0])
    award = result.awards[winners[0]]
    lost = optimum.gain(bid, award.alternative, pools) * award.level
    kept = {one: award for one, award in result.awards.items() if one != winners[0]}
    part = next(one for one in optimum.components(instance) if bid in one.bids)
    scan = clearing.clear(part).awards
    reached = sum(
        optimum.gain(one, scan[one.bid_id].alternative, pools) * scan[one.bid_id].level
        for one in part.bids if one.bid_id in scan
    )  # fmt: skip
    best = sum(
        optimum.gain(one, kept[one.bid_id].alternative, pools) * kept[one.bid_id].level
        for one in part.bids if one.bid_id in kept
    )  # fmt: skip
    return _with(result, kept, -lost) if best < reached else None


def _take_the_scan(instance: Instance, result: Result) -> Result | None:
    """Greedy's awards, which reach less, are said to be the optimum."""
    fallen = clearing.clear(instance, "exact")
    assert fallen.surplus_micros is not None
    assert result.surplus_micros is not None
    worse = fallen.surplus_micros < result.surplus_micros
    return _with(result, fallen.awards) if worse and not result.fell_back else None


def _charge_too_little(instance: Instance, result: Result) -> Result | None:
    """A winner pays less than the reserve."""
    winners = [one for one in _solved(instance, result) if result.awards[one].price_micros]
    if not winners:
        return None
    cheap = msgspec.structs.replace(result.awards[winners[0]], price_micros=0)
    return _with(result, {**result.awards, winners[0]: cheap})


def _fall_back_without_need(instance: Instance, result: Result) -> Result | None:
    """A component in which everybody gets the best is said to have fallen back."""
    for part in optimum.components(instance):
        if part.bids and optimum.is_uncontested(part, optimum.ceiling(part)):
            names = {pool.name for pool in part.pools}
            fallen = tuple(sorted({*result.fell_back, *names}))
            return msgspec.structs.replace(result, fell_back=fallen)
    return None


def _hide_a_fallback(instance: Instance, _: Result) -> Result | None:
    """What greedy cleared for want of a proof is said to be proven."""
    fallen = clearing.clear(instance, "exact")
    assert fallen.bound_micros is not None
    assert fallen.surplus_micros is not None
    loose = fallen.bound_micros > fallen.surplus_micros
    return msgspec.structs.replace(fallen, fell_back=()) if fallen.fell_back and loose else None


def _raise_the_bound(_: Instance, result: Result) -> Result | None:
    """The bound is not what was proven."""
    return _with(result, result.awards, 1)


LIES: dict[str, Lie] = {
    "drop the dearest": _drop_dearest,
    "drop the dearest and say so": _drop_dearest_and_say_so,
    "take the scan": _take_the_scan,
    "charge too little": _charge_too_little,
    "fall back without need": _fall_back_without_need,
    "hide a fallback": _hide_a_fallback,
    "raise the bound": _raise_the_bound,
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_solver_is_caught(name: str) -> None:
    """A market that publishes consistently what its solver invented does not pass the audit."""
    for seed in range(4):
        told: list[int] = []
        world = ExactWorld(seed, _lying(LIES[name], told))
        world.run(WINDOWS)
        if told:
            assert not verdict.audit(world.log()).sound, f"{name}: seed {seed} survived"
            return
    raise AssertionError(f"{name}: no occasion")


def test_a_charge_above_the_value_is_caught() -> None:
    """Where ledger, lease and outcome agree to a charge beyond the bid, the audit does not."""
    world = ExactWorld(1)
    world.run(WINDOWS)
    records = list(world.log())
    for seed in range(6):
        forged = audit_mutants.overcharge(records, random.Random(seed))
        assert forged is not None
        assert not verdict.audit(Log(forged)).sound
