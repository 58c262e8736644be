"""What must hold for every policy, whatever it prefers."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
import pytest

from bidplane_loadtest.simulator import metrics, work
from bidplane_loadtest.simulator.policies import POLICIES
from simulator import scenes

SEEDED = scenes.busy()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_job_ends_in_exactly_one_state(policy: str) -> None:
    """A job has finished, was cut by the horizon or waits, and never two of these."""
    history = scenes.play(SEEDED, policy)
    lasting = Counter(run.job.number for run in history.runs if run.end != "stopped")
    waiting = Counter(job.number for job in history.waiting)
    assert lasting + waiting == Counter(job.number for job in SEEDED.jobs)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_gpu_is_used_twice(policy: str) -> None:
    """At no moment is more held than there is, nor more used than is held."""
    history = scenes.play(SEEDED, policy)
    moments = sorted({run.started_ms for run in history.runs})
    for moment in moments:
        running = scenes.at(history, moment)
        held = sum(run.held_milli for run in running)
        used = sum(run.job.request.total_milli for run in running)
        assert used <= held <= SEEDED.capacity_milli
    for before, after in itertools.pairwise(history.frames):
        assert before.at_ms <= after.at_ms


@pytest.mark.parametrize("policy", POLICIES)
def test_no_job_starts_before_it_comes_or_ends_early(policy: str) -> None:
    """An attempt begins after the arrival and lasts as long as the job, unless it is cut short."""
    for run in scenes.play(SEEDED, policy).runs:
        assert run.started_ms >= run.job.arrival_ms
        if run.end == "finished":
            assert run.ended_ms - run.started_ms == run.job.duration_ms


@pytest.mark.parametrize("policy", POLICIES)
def test_a_seed_gives_the_same_run_twice(policy: str) -> None:
    """Two runs of one seed agree in every figure but CPU time."""
    found = []
    for _ in range(2):
        history = scenes.play(scenes.busy(3, jobs=100), policy)
        one = metrics.result(policy, history, 0.0)
        nothing = metrics.Clearing(p50=0, p99=0, max=0)
        found.append(msgspec.structs.replace(one, clear_ms=nothing))
    assert found[0] == found[1]


def test_seeds_differ() -> None:
    """Another seed draws other values and tenants."""
    assert scenes.busy(1).jobs != scenes.busy(2).jobs


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_given_back_when_jobs_stay_for_ever(policy: str) -> None:
    """In a frozen cluster what is held only grows, unless a class is stopped for a higher one."""
    still = work.frozen(SEEDED)
    history = scenes.play(still, policy)
    held = [frame.held for frame in history.frames]
    assert history.runs
    if policy != "priority":
        assert held == sorted(held)


@pytest.mark.parametrize("load_percent", [50, 100, 130])
def test_the_load_is_what_was_asked_for(load_percent: int) -> None:
    """Jobs want that share of all GPU time until the horizon, to a thousandth."""
    given = scenes.busy(load_percent=load_percent)
    wanted = sum(job.size for job in given.jobs)
    there = given.capacity_milli * given.horizon_ms
    assert abs(wanted * 1000 // there - load_percent * 10) <= 1
