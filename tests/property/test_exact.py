"""The rule `exact`: the optimum, what it costs, and that nothing is gained by a lie or a guess."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

import exact_search as search
from bidplane_streams.exact import highs, solving
from bidplane_streams.market import clearing, optimum
from bidplane_streams.market.greedy import Win
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.bids import Shape
from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
)
from clearing_instances import corpus, instances

PATIENT_MS = 600_000
LARGER: dict[Shape, Shape] = {
    "1g": "2g", "2g": "4g", "3g": "4g", "1": "2", "2": "4", "4": "8", "8": "16",
}  # fmt: skip


def solved(instance: Instance) -> Result:
    """The window with all the time that a proof may want."""
    return solving.clear(instance, PATIENT_MS)


def alike(count: int, *, free: int, shape: Shape = "1", reserve: int = 0) -> Instance:
    """One pool with one node, and bids for one shape at 10, 20, 30 and so on."""
    return Instance(
        market="m", window=1, beacon="9f", slot_ms=1000,
        pools=(InstancePool(name="p0", device_class="gpu", nodes=(free,), reserve_micros=reserve),),
        bids=tuple(
            InstanceBid(
                bid_id=f"b{number:03d}", agent=f"a{number}", value_micros=10 * (number + 1),
                alternatives=(InstanceAlternative(pool="p0", shape=shape, slots=1),),
            )
            for number in range(count)
        ),
    )  # fmt: skip


def replaced(instance: Instance, bid: InstanceBid, **changes: Any) -> Instance:
    """The same window in which one bid says something else."""
    bids = tuple(
        msgspec.structs.replace(one, **changes) if one.bid_id == bid.bid_id else one
        for one in instance.bids
    )
    return msgspec.structs.replace(instance, bids=bids)


def without(instance: Instance, bid_id: str) -> Instance:
    """The same window without one bid."""
    bids = tuple(one for one in instance.bids if one.bid_id != bid_id)
    return msgspec.structs.replace(instance, bids=bids)


def utility(bid: InstanceBid, award: Award | None) -> int:
    """What the award leaves of the true value."""
    return 0 if award is None else bid.value_micros * award.level - award.price_micros


# -- the optimum -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(80))
def test_awards_are_the_optimum(seed: int) -> None:
    """No awards that can be packed have a greater surplus: every combination is tried."""
    window = search.window(seed)
    result = solved(window)
    assert not result.fell_back
    best = search.optimum(window)
    assert (result.surplus_micros, result.bound_micros) == (best, best)
    awards = {one: (won.alternative, won.level) for one, won in result.awards.items()}
    assert search.feasible(window, awards)


@given(instances(most=5).map(search.plain))
@settings(max_examples=60)
def test_odd_windows_reach_the_optimum_too(window: Instance) -> None:
    """Ties, empty nodes and worthless bids change nothing about that."""
    result = solved(window)
    assert not result.fell_back
    assert result.surplus_micros == search.optimum(window)


@pytest.mark.parametrize("seed", range(20))
def test_single_micro_credits_count_among_large_values(seed: int) -> None:
    """Values near the bound of a proof, a micro-credit apart, are told apart."""
    window = search.window(seed, bids=5)
    large = tuple(
        msgspec.structs.replace(bid, value_micros=2**40 // bid.weight + bid.value_micros)
        for bid in window.bids
    )
    window = msgspec.structs.replace(window, bids=large)
    result = solved(window)
    assert not result.fell_back
    assert result.surplus_micros == search.optimum(window)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_wasted(seed: int) -> None:
    """A loser that could pay its reserve fits nowhere beside the winners."""
    window = search.window(seed)
    result = solved(window)
    wins = {one: Win(0, won.alternative, won.level) for one, won in result.awards.items()}
    counters = optimum.sold(window, wins)
    assert counters is not None
    pools = {pool.name: pool for pool in window.pools}
    for bid in window.bids:
        for index, chosen in enumerate(bid.alternatives):
            if bid.bid_id not in wins and optimum.gain(bid, index, pools) >= 0:
                assert not counters[chosen.pool].fits(chosen.shape, bid.level_min)


# -- payments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_a_winner_pays_its_value_less_what_it_adds(seed: int) -> None:
    """Each price is the Clarke payment, rounded up, between reserve and value."""
    window = search.window(seed)
    result, best = solved(window), search.optimum(window)
    pools = {pool.name: pool for pool in window.pools}
    for bid in window.bids:
        award = result.awards.get(bid.bid_id)
        if award is None:
            continue
        adds = best - search.optimum(without(window, bid.bid_id))
        assert award.price_micros == bid.value_micros * award.level - adds // bid.weight
        chosen = bid.alternatives[award.alternative]
        reserve = pools[chosen.pool].reserve_micros * UNITS[chosen.shape] * chosen.slots
        assert reserve * award.level <= award.price_micros <= bid.value_micros * award.level


@pytest.mark.parametrize("seed", range(25))
def test_no_lie_gains(seed: int) -> None:
    """No other value, level, shape or choice of alternatives leaves a bid better off."""
    window = search.window(seed, bids=5)
    honest = solved(window)
    for bid in window.bids[:3]:
        told = utility(bid, honest.awards.get(bid.bid_id))
        for changes in lies(bid):
            award = solved(replaced(window, bid, **changes)).awards.get(bid.bid_id)
            if award is not None and bid.mode == "elastic" and award.level > bid.level_max:
                continue  # copies beyond those that are of use have no true value
            assert utility(bid, award) <= told, changes


def lies(bid: InstanceBid) -> list[dict[str, Any]]:
    """Other values, fewer alternatives, larger shapes, other levels."""
    value = bid.value_micros
    told: list[dict[str, Any]] = [
        {"value_micros": max(0, other)}
        for other in (value // 2, value * 4 // 5, value - 1, value + 1, value * 3 // 2, value * 9)
    ]
    ways = bid.alternatives
    told += [{"alternatives": ways[:at] + ways[at + 1 :]} for at in range(len(ways)) if ways[1:]]
    larger = tuple(
        msgspec.structs.replace(one, shape=LARGER.get(one.shape, one.shape)) for one in ways
    )
    told.append({"alternatives": larger})
    if bid.level_max > bid.level_min:
        told += [{"level_max": bid.level_max - 1}, {"level_min": bid.level_min + 1}]
    return told


def test_bids_that_want_the_same_pay_the_same() -> None:
    """Among alike winners one price is found by few solutions, and it is the best loser's value."""
    window = alike(40, free=9)
    result = solved(window)
    assert {award.price_micros for award in result.awards.values()} == {310}
    assert sorted(result.awards) == [f"b{number:03d}" for number in range(31, 40)]


@pytest.mark.parametrize("seed", range(12))
def test_alike_bids_that_pay_differently_are_told_apart(seed: int) -> None:
    """Where a dearer winner's absence changes more than a cheaper one's, each has its price."""
    window = search.window(seed, bids=5)
    first = window.bids[0].alternatives[:1]
    bids = tuple(
        msgspec.structs.replace(
            bid, mode="rigid", level_min=1, level_max=1, weight=1,
            alternatives=first if number % 3 else bid.alternatives[:1],
        )
        for number, bid in enumerate(window.bids)
    )  # fmt: skip
    window = msgspec.structs.replace(window, bids=bids)
    result, best = solved(window), search.optimum(window)
    for bid in bids:
        if (award := result.awards.get(bid.bid_id)) is not None:
            adds = best - search.optimum(without(window, bid.bid_id))
            assert award.price_micros == bid.value_micros - adds


@pytest.mark.parametrize("free", [1, 3, 8])
def test_without_contest_everybody_pays_the_reserve(free: int) -> None:
    """What everybody gets at once needs no solver, and a solver would charge the same."""
    window = alike(free, free=free, reserve=1)
    result = solving.clear(window, 0)
    assert not result.fell_back
    assert {award.price_micros for award in result.awards.values()} == {7}
    by_solver = solving.solve(window, solving.Deadline(PATIENT_MS))
    assert by_solver is not None
    assert by_solver.paid == {one: award.price_micros for one, award in result.awards.items()}


# -- falling back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(25))
def test_without_time_a_window_is_greedy(number: int) -> None:
    """With a deadline of zero nothing is proven: awards and prices are those of greedy (19)."""
    window = corpus(25)[number]
    result, greedy = solving.clear(window, 0), clearing.clear(window)
    assert result.awards == greedy.awards
    contested = []
    for part in optimum.components(window):
        most = optimum.ceiling(part)
        if not optimum.is_uncontested(part, most) or optimum.must_fall_back(part, most):
            contested.append(part)
    assert set(result.fell_back) == {pool.name for part in contested for pool in part.pools}
    assert result.surplus_micros is not None
    assert result.bound_micros is not None
    assert result.surplus_micros <= result.bound_micros


def test_a_deadline_that_passes_between_payments_undoes_the_whole_component() -> None:
    """An optimum whose payments are not all proven in time is not awarded."""
    ticks = iter(range(1000))
    deadline = solving.Deadline(3500, clock=lambda: float(next(ticks)))
    window = alike(40, free=9)
    assert solving.solve(window, deadline) is None
    patient = solving.Deadline(10**9, clock=lambda: float(next(ticks)))
    assert solving.solve(window, patient) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"boost_micros": 5},
        {"tier": 0},
        {"value_micros": 2**41, "weight": 1, "mode": "elastic", "level_max": 64},
        {"alternatives": (InstanceAlternative(pool="p0", shape="1", slots=1, pinned=0),)},
    ],
)
def test_floors_renewals_and_huge_sums_fall_back(changes: dict[str, Any]) -> None:
    """What the rule cannot prove by its form is cleared by greedy, however much time there is."""
    window = alike(5, free=3)
    window = replaced(window, window.bids[0], **changes)
    if "value_micros" in changes:
        window = replaced(window, window.bids[1], **changes)
        window = replaced(window, window.bids[2], **changes)
    result = solved(window)
    assert result.fell_back == ("p0",)
    assert result.awards == clearing.clear(window).awards


def test_large_components_fall_back() -> None:
    """Two hundred bids are solved; one more are cleared by greedy."""
    assert not solved(alike(200, free=8)).fell_back
    assert solved(alike(201, free=8)).fell_back == ("p0",)


@pytest.mark.parametrize("wrong", ["too many", "half", "bound", "less", "nothing"])
def test_a_wrong_answer_is_not_believed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Awards that do not fit, or miss the bound that comes with them, fall back."""
    honest = highs.Program.optimum

    def optimal(program: highs.Program, limit_s: float, banned: Any = ()) -> highs.Found | None:
        found = honest(program, limit_s, banned)
        assert found is not None
        copies = found.copies
        match wrong:
            case "too many":
                return highs.Found([1.0] * len(copies), sum(10.0 * n for n in range(1, 41)))
            case "half":
                return highs.Found([copy / 3 for copy in copies], found.bound)
            case "bound":
                return highs.Found(copies, found.bound + 1)
            case "less":
                return highs.Found([0.0] * len(copies), 0.0)
        return None

    monkeypatch.setattr(highs.Program, "optimum", optimal)
    window = alike(40, free=9)
    result = solved(window)
    assert result.fell_back == ("p0",)
    assert result.awards == clearing.clear(window).awards


# -- parts, bounds, loading ------------------------------------------------------------------------


def test_components_share_no_pool_and_lose_no_bid() -> None:
    """Bids are solved together exactly when pools that they name connect them."""
    for window in corpus(40):
        parts = optimum.components(window)
        assert sorted(bid.bid_id for part in parts for bid in part.bids) == sorted(
            bid.bid_id for bid in window.bids
        )
        named = [{pool.name for pool in part.pools} for part in parts]
        assert sum(map(len, named)) == len(set().union(*named))
        for part, names in zip(parts, named, strict=True):
            assert all({one.pool for one in bid.alternatives} <= names for bid in part.bids)


@pytest.mark.parametrize("seed", range(30))
def test_the_lp_bounds_every_rule(seed: int) -> None:
    """No rule's surplus exceeds the LP bound, nor does the optimum."""
    window = search.window(seed)
    best = search.optimum(window)
    for rule in ("greedy", "uniform", "pay-as-bid"):
        result = solving.bounded(window, clearing.clear(window, rule))
        assert result.surplus_micros is not None
        assert result.bound_micros is not None
        assert result.surplus_micros <= best <= result.bound_micros
        assert result.bound_micros <= sum(map(optimum.ceiling, optimum.components(window)))


def test_importing_the_rule_does_not_load_the_solver() -> None:
    """A process that never clears by the rule never pays for it."""
    program = "import sys, bidplane_streams.exact.solving; print('highspy' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert said.stdout.strip() == "False"
