"""What the watch saw, as series for a report: CPU, memory, lag, stages, clearing, busy lanes.

Decides which of the system's metrics are shown and how counters become rates. Pure.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from bidplane_loadtest.load.figures import PhaseFigures
from bidplane_loadtest.load.result import Beside
from bidplane_loadtest.load.watching import Scrape, Usage, Watch

Points = list[tuple[float, float]]
_LAG: Final = "bidplane_lane_lag_records"
_STAGE: Final = "bidplane_stage_seconds"
_CLEARING: Final = "bidplane_clearing_seconds"
_DECIDE: Final = "bidplane_lane_decide_seconds"
_BUSY: Final = "bidplane_lane_transaction_seconds"


def seen(watch: Watch, phases: Sequence[PhaseFigures]) -> Beside:
    """All of it."""
    return Beside(
        cpu=cores(watch.usage), rss_mib=memory(watch.usage), machine=_rounded(watch.machine_busy),
        lag=lag(watch.scrapes), stages_ms=stage_means(watch.scrapes),
        busy={one.name: busy(watch, one) for one in phases},
        clearing_ms=clearing(watch.scrapes),
        rounds=[
            (round(one.closed_at_s, 2), one.orders, one.awarded, one.leases_active)
            for one in watch.rounds
        ],
    )  # fmt: skip


def cores(usage: Iterable[Usage]) -> dict[str, Points]:
    """CPU-seconds a second between two looks at the same process."""
    found: dict[str, Points] = {}
    for name, course in _by_process(usage).items():
        found[name] = [
            (round(after.at_s, 1), round((after.cpu_s - before.cpu_s) / step, 3))
            for before, after in itertools.pairwise(course)
            if before.pid == after.pid and (step := after.at_s - before.at_s) > 0
        ]
    return found


def memory(usage: Iterable[Usage]) -> dict[str, Points]:
    """Resident MiB."""
    return {
        name: [(round(one.at_s, 1), round(one.rss_mib, 1)) for one in course]
        for name, course in _by_process(usage).items()
    }


def _by_process(usage: Iterable[Usage]) -> dict[str, list[Usage]]:
    found: dict[str, list[Usage]] = defaultdict(list)
    for one in usage:
        found[one.process].append(one)
    return dict(found)


def lag(scrapes: Iterable[Scrape]) -> dict[str, Points]:
    """Records that each lane has not applied, all partitions and topics together."""
    found: dict[str, Points] = defaultdict(list)
    for scrape in scrapes:
        lanes: dict[str, float] = defaultdict(float)
        for (name, labels), value in scrape.series.items():
            if name == _LAG:
                lanes[dict(labels)["lane"]] += value
        for lane, value in lanes.items():
            key = lane if scrape.process == "worker" else f"{lane} of {scrape.process}"
            found[key].append((round(scrape.at_s, 1), value))
    return dict(found)


def stage_means(scrapes: Sequence[Scrape]) -> dict[str, float]:
    """Mean milliseconds of each stage over the run, as the processes themselves counted it."""
    sums = _growth(scrapes, f"{_STAGE}_sum", "stage")
    counts = _growth(scrapes, f"{_STAGE}_count", "stage")
    return {
        stage: round(1000 * sums.get(stage, 0.0) / count, 2)
        for stage, count in counts.items()
        if count > 0
    }


def _growth(scrapes: Sequence[Scrape], series: str, label: str) -> dict[str, float]:
    """How much a counter grew, by a label; a process that starts again begins from nothing."""
    last: dict[tuple[str, object], float] = {}
    grown: dict[str, float] = defaultdict(float)
    for scrape in scrapes:
        for (name, labels), value in scrape.series.items():
            if name != series:
                continue
            key, before = (scrape.process, labels), last.get((scrape.process, labels))
            if before is not None:
                grown[dict(labels).get(label, "")] += value - before if value >= before else value
            last[key] = value
    return dict(grown)


def clearing(scrapes: Sequence[Scrape]) -> Points:
    """Mean milliseconds of a clearing between two looks; of a markets decision where not told."""
    name = _CLEARING if _has(scrapes, f"{_CLEARING}_count") else _DECIDE
    found: Points = []
    for before, after in itertools.pairwise(_of_workers(scrapes)):
        count = _sum(after, f"{name}_count") - _sum(before, f"{name}_count")
        spent = _sum(after, f"{name}_sum") - _sum(before, f"{name}_sum")
        if before.process == after.process and count > 0 and spent >= 0:
            found.append((round(after.at_s, 1), round(1000 * spent / count, 3)))
    return found


def _of_workers(scrapes: Iterable[Scrape]) -> list[Scrape]:
    workers = [one for one in scrapes if one.process.startswith("worker")]
    return sorted(workers, key=lambda one: (one.process, one.at_s))


def _has(scrapes: Iterable[Scrape], series: str) -> bool:
    return any(name == series for scrape in scrapes for name, _ in scrape.series)


def _sum(scrape: Scrape, series: str) -> float:
    return sum(
        value for (name, labels), value in scrape.series.items()
        if name == series and dict(labels).get("lane", "markets") == "markets"
    )  # fmt: skip


def busy(watch: Watch, phase: PhaseFigures) -> dict[str, float]:
    """Shares of a phase: cores of each process, the machine, time of lanes in transactions."""
    begin_s, end_s = phase.begin_s, phase.begin_s + phase.seconds
    found = {
        f"cores of {name}": _mean(course, begin_s, end_s)
        for name, course in cores(watch.usage).items()
    }
    found["share of the machine"] = _mean(watch.machine_busy, begin_s, end_s)
    within = [one for one in watch.scrapes if begin_s <= one.at_s <= end_s]
    if len(within) > 1 and (span_s := within[-1].at_s - within[0].at_s) > 0:
        for lane, spent in _growth(within, f"{_BUSY}_sum", "lane").items():
            found[f"transactions at once of lane {lane}"] = spent / span_s
    return {name: round(value, 3) for name, value in found.items() if value >= 0.01}


def _mean(course: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float:
    values = [value for at_s, value in course if begin_s < at_s <= end_s]
    return sum(values) / len(values) if values else 0.0


def _rounded(points: Iterable[tuple[float, float]]) -> Points:
    return [(round(at_s, 1), round(value, 3)) for at_s, value in points]
