"""Each policy on cases so small that the right answer can be seen by hand."""

from __future__ import annotations

import msgspec
import pytest

from bidplane_loadtest.simulator.cluster import Cluster
from bidplane_loadtest.simulator.policies.drf import DominantShare
from bidplane_loadtest.simulator.policies.market import MARKETS, MarketPolicy
from bidplane_loadtest.simulator.policies.offers import host_kind, least_shape
from bidplane_topics.leases import LeaseChanged
from simulator import scenes
from simulator.scenes import HOUR, MINUTE, job, node, scene


def test_fifo_lets_nobody_overtake() -> None:
    """While the first job waits for eight GPUs, one that would fit waits behind it."""
    history = scenes.play(scene(job(0, 4), job(1, 8), job(2, 1)), "fifo")
    assert scenes.starts(history) == {0: 0, 1: 60, 2: 120}


def test_fifo_gives_whole_gpus() -> None:
    """A job that wants half a GPU holds a whole one."""
    history = scenes.play(scene(job(0, milli=500)), "fifo")
    assert [run.held_milli for run in history.runs] == [1000]


def test_backfill_goes_ahead_where_it_delays_nobody() -> None:
    """A short job and one beside the reservation go ahead, and the first starts when it could."""
    jobs = (
        job(0, 4), job(1, 6), job(2, 2, duration_ms=3 * HOUR), job(3, 4, duration_ms=3 * HOUR),
        job(4, 2, duration_ms=HOUR // 2),
    )  # fmt: skip
    history = scenes.play(scene(*jobs), "easy")
    assert scenes.starts(history) == {0: 0, 1: 60, 2: 0, 3: 120, 4: 0}


@pytest.mark.parametrize("seed", range(3))
def test_backfill_keeps_every_reservation(seed: int) -> None:
    """No job starts later than the moment that was reserved for it when it came first."""
    given = scenes.busy(seed, jobs=150, load_percent=400)
    promised: dict[int, int] = {}
    policy = scenes.POLICIES["easy"](given)
    decide = policy.decide

    def watched(now_ms: int) -> scenes.Decision:
        decision = decide(now_ms)
        reservation = policy.reservation  # type: ignore[attr-defined]
        if reservation is not None:
            promised.setdefault(reservation.number, reservation.at_ms)
        return decision

    policy.decide = watched  # type: ignore[method-assign]
    history = scenes.play(given, policy)
    started = {run.job.number: run.started_ms for run in history.runs}
    assert promised
    assert all(started[number] <= at for number, at in promised.items() if number in started)
    assert all(at >= given.horizon_ms for number, at in promised.items() if number not in started)


def test_the_poorest_tenant_is_next() -> None:
    """Tenants take turns, so that their dominant shares stay as even as jobs allow."""
    jobs = [job(number, 2, tenant="research") for number in range(4)]
    jobs += [job(number, 2, tenant="lab") for number in range(4, 8)]
    history = scenes.play(scene(*jobs), "drf")
    assert sorted(run.job.number for run in scenes.at(history, 0)) == [0, 1, 4, 5]


def test_a_dominant_share_is_the_largest_of_any_resource() -> None:
    """A tenant with little GPU and much memory is as rich as its memory."""
    policy = DominantShare(Cluster((node(),)))
    hungry = job(0)
    policy.arrive(hungry._replace(request=hungry.request._replace(memory_mib=262_144)), 0)
    policy.decide(0)
    assert policy.share("batch") == 500_000_000


def test_the_lowest_class_is_stopped_first() -> None:
    """An urgent job stops best-effort work rather than burstable work, and the latest of it."""
    jobs = (
        job(0, 4, qos="Burstable"), job(1, 2), job(2, 2, arrival_ms=MINUTE),
        job(3, 1, qos="LS", arrival_ms=2 * MINUTE),
    )  # fmt: skip
    history = scenes.play(scene(*jobs), "priority")
    assert scenes.ends(history, 2) == ["stopped", "finished"]
    assert scenes.ends(history, 0) == scenes.ends(history, 1) == ["finished"]
    assert scenes.starts(history) == {0: 0, 1: 0, 2: 60, 3: 2}


def test_equals_are_never_stopped() -> None:
    """A job waits for work of its own class to end."""
    jobs = (job(0, 8, qos="LS"), job(1, 8, qos="LS", arrival_ms=MINUTE))
    history = scenes.play(scene(*jobs), "priority")
    assert scenes.starts(history) == {0: 0, 1: 60}


@pytest.mark.parametrize("policy", ["best-fit", "fgd"])
def test_packing_keeps_the_large_node_whole(policy: str) -> None:
    """Small jobs fill the small node, so that the large one still holds eight GPUs."""
    nodes = (node(8, "n0"), node(2, "n1"))
    small = [job(number, milli=500) for number in range(4)]
    large = job(4, 8, arrival_ms=MINUTE)
    history = scenes.play(scene(*small, large, nodes=nodes), policy)
    assert scenes.starts(history)[4] == 1


@pytest.mark.parametrize("policy", ["value-fifo", *MARKETS])
def test_the_more_valuable_work_runs_first(policy: str) -> None:
    """Of two jobs for the same GPUs, the one with more value for its time goes first."""
    jobs = (job(0, 8), job(1, 8, value_micros=9_000_000))
    history = scenes.play(scene(*jobs), policy)
    started = scenes.starts(history)
    assert started[1] < started[0]


@pytest.mark.parametrize("policy", MARKETS)
def test_the_market_sells_a_node_again_when_its_lease_is_over(policy: str) -> None:
    """Two jobs that want all devices run one after the other, without a third window between."""
    history = scenes.play(scene(job(0, 8), job(1, 8)), policy)
    first, second = sorted(history.runs, key=lambda run: run.started_ms)
    assert first.end == second.end == "finished"
    assert second.started_ms - first.ended_ms <= 2 * MINUTE


@pytest.mark.parametrize(
    ("gpus", "milli", "cpu_milli", "shape"),
    [(1, 100, 1000, "1g"), (1, 470, 1000, "4g"), (1, 470, 10_000, "1"), (1, 810, 1000, "1"),
     (1, 1000, 16_000, "1"), (1, 1000, 20_000, "2"), (2, 1000, 1000, "2"), (4, 1000, 96_000, "8"),
     (8, 1000, 200_000, None)],
)  # fmt: skip
def test_a_job_bids_for_the_least_shape_whose_share_holds_it(
    gpus: int, milli: int, cpu_milli: int, shape: str | None
) -> None:
    """GPUs, then CPU and memory in proportion to them, decide the shape."""
    wanted = job(0, gpus, milli=milli)
    wanted = wanted._replace(request=wanted.request._replace(cpu_milli=cpu_milli))
    assert least_shape(wanted, host_kind(node())) == shape


def test_the_market_is_the_production_core() -> None:
    """Every job that ran has a lease which the core's own state machine has ended."""
    given = scene(*(job(number, 2) for number in range(6)))
    policy = MarketPolicy(given, "greedy")
    history = scenes.play(given, policy)
    assert [run.end for run in history.runs] == ["finished"] * 6
    assert len(policy.state.leases) == len(policy.state.book) == 0
    assert policy.used == {}
    assert all(msgspec.structs.fields(LeaseChanged))
