"""The figures of a run, on cases that can be added up by hand."""

from __future__ import annotations

import pytest

from bidplane_loadtest.simulator import metrics
from bidplane_loadtest.simulator.engine import Frame, History, Run
from simulator.scenes import HOUR, job, scene


def history(*runs: Run, hours: int = 10, waiting: tuple[int, ...] = ()) -> History:
    """These runs and waiting jobs on one node of eight GPUs."""
    left = [job(number, 2) for number in waiting]
    given = scene(*(run.job for run in runs if run.end != "stopped"), *left, hours=hours)
    return History(given, list(runs), left, [Frame(0, 0, 0, 0)], [1.0, 3.0], [(0, 10), (1, 30)])


def test_allocation_counts_what_is_held() -> None:
    """Half of what a job holds is wasted if it uses half."""
    one = job(0, milli=500)
    found = metrics.result("p", history(Run(one, 0, HOUR, 1000, "finished")), 0.5)
    assert found.allocation_ratio == pytest.approx(1 / 80)
    assert (found.useful_gpu_hours, found.wasted_gpu_hours) == (0.5, 0.5)
    assert found.frozen_allocation_ratio == 0.5


def test_work_that_was_stopped_is_lost() -> None:
    """An attempt that was stopped is waste, and no value."""
    one = job(0, 2)
    runs = (Run(one, 0, HOUR // 2, 2000, "stopped"), Run(one, HOUR, 2 * HOUR, 2000, "finished"))
    found = metrics.result("p", history(*runs), 0)
    assert found.preemption_waste == pytest.approx(1 / 3, abs=1e-4)
    assert (found.useful_gpu_hours, found.wasted_gpu_hours) == (2.0, 1.0)
    assert found.value_weighted_completion == 1.0


def test_a_job_that_never_ran_waited_until_the_end() -> None:
    """Censored jobs count at the horizon less their arrival."""
    found = metrics.waits(history(Run(job(0), HOUR, 2 * HOUR, 1000, "finished"), waiting=(1,)))
    assert found["BE"] == metrics.Wait(p50=3600.0, p99=36_000.0, unserved_share=0.5)


def test_a_job_that_is_cut_counts_in_part() -> None:
    """Half of its work done by the horizon is half of its value."""
    found = metrics.result("p", history(Run(job(0), 0, HOUR // 2, 1000, "cut")), 0)
    assert found.value_weighted_completion == 0.5


def test_the_bound_is_what_gpu_time_allows() -> None:
    """Eight GPUs for one hour hold the better half of two jobs that want all of them."""
    given = scene(job(0, 8), job(1, 8, value_micros=24_000_000), hours=1)
    assert metrics.bound_micros(given) == 24_000_000


def test_even_tenants_have_an_index_of_one() -> None:
    """Tenants that get all of what they want are treated alike."""
    runs = [
        Run(job(number, tenant=tenant), 0, HOUR, 1000, "finished")
        for number, tenant in enumerate(("lab", "batch", "serving"))
    ]
    assert metrics.jain(history(*runs)) == 1.0


def test_an_uneven_cluster_shows() -> None:
    """Two tenants, of which one gets nothing, have an index of one half."""
    ran = Run(job(0, tenant="lab"), 0, HOUR, 1000, "finished")
    assert metrics.jain(history(ran, waiting=(1,))) == 0.5


def test_prices_vary_by_their_deviation() -> None:
    """The variation is the standard deviation over the mean."""
    found = metrics.result("p", history(Run(job(0), 0, HOUR, 1000, "finished")), 0)
    assert found.price_cv == 0.5
    assert found.clear_ms == metrics.Clearing(p50=1.0, p99=3.0, max=3.0)


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (99, 4), (100, 4), (1, 1)])
def test_a_percentile_is_a_value_that_occurred(percent: int, value: int) -> None:
    """The least value that so many percent do not exceed."""
    assert metrics.percentile([1, 2, 3, 4], percent) == value
