"""What a run came to, in the figures that INTERFACES names.

Decides how each is counted, once for all policies:

- allocation is what is held, be it used or not; useful is what jobs asked for and did not lose;
- wasted is held and not useful (rounding up, work that was stopped); fragmented is free while some
  job waits for less than is free in all;
- a job that is not running at the horizon has waited until then; one that is counts by the part of
  its work that is done;
- the bound is a fractional knapsack over GPU time: no schedule can deliver more value.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from bidplane_loadtest.simulator.engine import History
from bidplane_loadtest.simulator.values import GPU_HOUR
from bidplane_loadtest.simulator.work import Job, Scenario

DIGITS: Final = 4


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from arrival to the start that lasted; ``unserved_share`` never had one."""

    p50: float
    p99: float
    unserved_share: float


class Clearing(msgspec.Struct, frozen=True, kw_only=True):
    """CPU milliseconds of one decision of the policy."""

    p50: float
    p99: float
    max: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One policy over one scenario. ``price_cv`` is None for a policy without prices."""

    policy: str
    seed: int
    load_percent: int
    allocation_ratio: float
    frozen_allocation_ratio: float
    useful_gpu_hours: float
    wasted_gpu_hours: float
    fragmented_gpu_hours: float
    wait_s: dict[str, Wait]
    value_weighted_completion: float
    welfare_over_bound: float
    jain: float
    preemption_waste: float
    price_cv: float | None
    clear_ms: Clearing


def result(policy: str, history: History, frozen_ratio: float) -> Result:
    """Every figure of a run."""
    scene = history.scene
    held = sum(run.held_milli * (run.ended_ms - run.started_ms) for run in history.runs)
    lasting = [run for run in history.runs if run.end != "stopped"]
    useful = sum(run.job.request.total_milli * (run.ended_ms - run.started_ms) for run in lasting)
    lost = sum(
        run.held_milli * (run.ended_ms - run.started_ms)
        for run in history.runs if run.end == "stopped"
    )  # fmt: skip
    delivered = sum(
        run.job.value_micros * (run.ended_ms - run.started_ms) // run.job.duration_ms
        for run in lasting
    )
    wanted = sum(job.value_micros for job in scene.jobs)
    return Result(
        policy=policy, seed=scene.seed, load_percent=scene.load_percent,
        allocation_ratio=_ratio(held, scene.capacity_milli * scene.horizon_ms),
        frozen_allocation_ratio=round(frozen_ratio, DIGITS),
        useful_gpu_hours=_ratio(useful, GPU_HOUR), wasted_gpu_hours=_ratio(held - useful, GPU_HOUR),
        fragmented_gpu_hours=_ratio(_stranded(history), GPU_HOUR), wait_s=waits(history),
        value_weighted_completion=_ratio(delivered, wanted),
        welfare_over_bound=_ratio(delivered, bound_micros(scene)), jain=jain(history),
        preemption_waste=_ratio(lost, held), price_cv=_variation(history.prices),
        clear_ms=Clearing(
            p50=_milliseconds(history, 50), p99=_milliseconds(history, 99),
            max=_milliseconds(history, 100),
        ),
    )  # fmt: skip


def frozen_allocation(history: History) -> float:
    """What is held in the end, when nothing was ever given back."""
    return history.frames[-1].held / history.scene.capacity_milli


def waits(history: History) -> dict[str, Wait]:
    """Waits by QoS class, in the classes' names."""
    horizon_ms = history.scene.horizon_ms
    served: dict[str, list[int]] = {}
    unserved: dict[str, list[int]] = {}
    for run in history.runs:
        if run.end != "stopped":
            served.setdefault(run.job.qos, []).append(run.started_ms - run.job.arrival_ms)
    for job in history.waiting:
        unserved.setdefault(job.qos, []).append(horizon_ms - job.arrival_ms)
    found = {}
    for qos in sorted(served.keys() | unserved.keys()):
        never = unserved.get(qos, [])
        every = sorted([*served.get(qos, []), *never])
        found[qos] = Wait(
            p50=round(percentile(every, 50) / 1000, 1), p99=round(percentile(every, 99) / 1000, 1),
            unserved_share=_ratio(len(never), len(every)),
        )  # fmt: skip
    return found


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The least value that ``percent`` of them do not exceed; 0 of none."""
    if not ordered:
        return 0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def useful_by_tenant(history: History) -> dict[str, int]:
    """Thousandths of a GPU times milliseconds that each tenant's jobs used and did not lose."""
    used = dict.fromkeys(history.scene.tenants, 0)
    for run in history.runs:
        if run.end != "stopped":
            used[run.job.tenant] += run.job.request.total_milli * (run.ended_ms - run.started_ms)
    return used


def due_by_tenant(scene: Scenario) -> dict[str, int]:
    """What each tenant may count on: its demand, but no more than an even part of the cluster."""
    entitled = scene.capacity_milli * scene.horizon_ms // len(scene.tenants)
    demand = dict.fromkeys(scene.tenants, 0)
    for job in scene.jobs:
        demand[job.tenant] += job.request.total_milli * _possible_ms(job, scene)
    return {tenant: min(wanted, entitled) for tenant, wanted in demand.items()}


def jain(history: History) -> float:
    """Jain's index over what each tenant got of what it may count on; 1 is even."""
    used, due = useful_by_tenant(history), due_by_tenant(history.scene)
    parts = [used[tenant] / due[tenant] for tenant in history.scene.tenants if due[tenant]]
    squares = sum(part * part for part in parts)
    return round(sum(parts) ** 2 / (len(parts) * squares), DIGITS) if squares else 1.0


def bound_micros(scene: Scenario) -> int:
    """The most value that GPU time alone allows: densest first, the last one in part."""
    left = scene.capacity_milli * scene.horizon_ms
    value = 0
    for job in sorted(scene.jobs, key=lambda job: -job.value_micros * GPU_HOUR // job.size):
        possible_ms = _possible_ms(job, scene)
        size = job.request.total_milli * possible_ms
        worth = job.value_micros * possible_ms // job.duration_ms
        if size >= left:
            return value + worth * left // size
        value, left = value + worth, left - size
    return value


def _possible_ms(job: Job, scene: Scenario) -> int:
    return min(job.duration_ms, scene.horizon_ms - job.arrival_ms)


def _stranded(history: History) -> int:
    end = history.frames[-1]._replace(at_ms=history.scene.horizon_ms)
    steps = itertools.pairwise([*history.frames, end])
    return sum(frame.stranded * (after.at_ms - frame.at_ms) for frame, after in steps)


def _variation(prices: Sequence[tuple[int, int]]) -> float | None:
    """Standard deviation over mean of the clearing prices."""
    paid = [price for _, price in prices]
    if len(paid) < 2 or not any(paid):
        return None
    return round(statistics.pstdev(paid) / statistics.fmean(paid), DIGITS)


def _milliseconds(history: History, percent: int) -> float:
    return round(percentile(sorted(history.decided_ms), percent), 3)


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, DIGITS) if whole else 0.0
