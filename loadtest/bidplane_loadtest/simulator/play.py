"""One run after another: policies over the same scenarios, each with its frozen twin.

Decides what is run. Refuses to print: that is the command's trade.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bidplane_loadtest.simulator import metrics
from bidplane_loadtest.simulator.engine import Engine, History
from bidplane_loadtest.simulator.policies import POLICIES
from bidplane_loadtest.simulator.work import Scenario, frozen

Tell = Callable[[str], None]


class Played(NamedTuple):
    """A result and the history behind it."""

    result: metrics.Result
    history: History


def play(scenes: Sequence[Scenario], policies: Sequence[str], tell: Tell) -> Iterator[Played]:
    """Every policy over every scenario."""
    for scene in scenes:
        still = frozen(scene)
        for policy in policies:
            tell(f"{policy}: seed {scene.seed}, load {scene.load_percent} %")
            make = POLICIES[policy]
            stopped = Engine(still, make(still)).run()
            history = Engine(scene, make(scene)).run()
            ratio = metrics.frozen_allocation(stopped)
            yield Played(metrics.result(policy, history, ratio), history)


def means(results: Iterable[metrics.Result]) -> dict[tuple[str, int], dict[str, float]]:
    """Means over seeds of the figures that a table shows, by policy and load."""
    groups: dict[tuple[str, int], list[metrics.Result]] = {}
    for one in results:
        groups.setdefault((one.policy, one.load_percent), []).append(one)
    return {key: {name: statistics.fmean(map(read, group)) for name, read in COLUMNS.items()}
            for key, group in groups.items()}  # fmt: skip


def table(results: Sequence[metrics.Result]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the comparison: means over seeds, by policy and load."""
    rows = [
        [policy, str(percent), *(f"{figure:.2f}" for figure in figures.values())]
        for (policy, percent), figures in means(results).items()
    ]
    return ["policy", "load %", *COLUMNS], rows


def _wait(qos: str, field: str) -> Callable[[metrics.Result], float]:
    def read(one: metrics.Result) -> float:
        found = one.wait_s.get(qos)
        return 0.0 if found is None else float(getattr(found, field))

    return read


COLUMNS: dict[str, Callable[[metrics.Result], float]] = {
    "held %": lambda one: one.allocation_ratio * 100,
    "frozen %": lambda one: one.frozen_allocation_ratio * 100,
    "useful GPU-h": lambda one: one.useful_gpu_hours,
    "wasted GPU-h": lambda one: one.wasted_gpu_hours,
    "stranded GPU-h": lambda one: one.fragmented_gpu_hours,
    "value %": lambda one: one.value_weighted_completion * 100,
    "of bound %": lambda one: one.welfare_over_bound * 100,
    "LS p50 s": _wait("LS", "p50"),
    "LS p99 s": _wait("LS", "p99"),
    "BE p99 s": _wait("BE", "p99"),
    "jain": lambda one: one.jain,
    "lost %": lambda one: one.preemption_waste * 100,
    "decide p99 ms": lambda one: one.clear_ms.p99,
}
