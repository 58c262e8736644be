"""Whether a run kept its scenario's ranges, and how long it took to recover.

Decides what a range is held against, and when a system has recovered. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from bidplane_loadtest.load.figures import Course, PhaseFigures
from bidplane_loadtest.load.result import Range, Result
from bidplane_loadtest.load.scenarios import Limits

# Recovered: three seconds in a row as good as before, within a factor and a constant.
CALM_S: Final = 3
FACTOR: Final = 2.0
SLACK_MS: Final = 500.0
# What is looked at: of each second's bids, this percentile of this latency. A bid that is due just
# before a close waits a window more by rights, so only the median is told beyond the close.
_SIGNS: Final = (("admitted", "p99"), ("beyond_close", "p50"), ("binding", "p99"))


def recovered_s(course: Course, calm: tuple[float, float], event_s: float) -> float | None:
    """Seconds from ``event_s`` until bids that fall due are served as they were in ``calm``.

    None: never. A second without bids, or without leases, tells nothing either way.
    """
    # After the last bid there is nothing that could be served badly.
    seconds = max((at + 1 for at, count in enumerate(course.offered) if count), default=0)
    limits = {sign: _limit(course, sign, calm) for sign in _SIGNS}
    good = [_is_calm(course, limits, second) for second in range(seconds)]
    for second in range(int(event_s), seconds - CALM_S + 1):
        if all(good[second : second + CALM_S]):
            return round(max(0.0, second - event_s), 1)
    return None


def _limit(course: Course, sign: tuple[str, str], calm: tuple[float, float]) -> float:
    name, key = sign
    found = [
        value for value in course.latency_ms[name][key][int(calm[0]) : int(calm[1])]
        if value is not None
    ]  # fmt: skip
    # The median: a cold start's worst second would call any outage as good as before.
    return FACTOR * (statistics.median(found) if found else 0.0) + SLACK_MS


def _is_calm(course: Course, limits: dict[tuple[str, str], float], second: int) -> bool:
    for (name, key), limit in limits.items():
        value = course.latency_ms[name][key][second]
        if value is not None and value > limit:
            return False
    return True


def judge(result: Result, limits: Limits) -> list[Range]:
    """Every range of the scenario, and those that any run must keep."""
    total, failed = result.sent, result.kinds.get("failed", 0)
    found = [
        _at_most("bids that Kafka never acknowledged", failed, 0, "bids"),
        _at_most("exit code of `bidplane audit`", result.audit.exit_code, 0, ""),
    ]
    if not result.cut_short:  # one that was cut waits for no answers
        percent = answered_percent(result.answered, total)
        found.append(_at_least("bids answered", percent, 100.0, "% of those sent"))
        unsent = result.offered - total
        if result.knee is None:  # steps are judged one by one, and end early past the knee
            found.append(_at_most("bids never sent", unsent, 0, "bids"))
        found += _of_scenario(result, limits)
    return found


def _of_scenario(result: Result, limits: Limits) -> list[Range]:
    found = []
    if limits.admitted_p99_ms:
        value = _worst(result.phases, "admitted")
        found.append(_at_most("admitted, p99", value, limits.admitted_p99_ms, "ms"))
    if limits.beyond_p99_ms and result.knee is None:  # steps are judged by it, not the run
        value, most = _worst(result.phases, "beyond_close"), limits.beyond_p99_ms
        most += result.window_ms
        found.append(_at_most("told, beyond the close, p99", value, most, "ms"))
    if limits.lag_p99_ms:
        found.append(_at_most("sent late, p99", result.lag_ms.p99, limits.lag_p99_ms, "ms"))
    if limits.recovery_s and not result.faults:
        value = result.recovered_s
        found.append(_at_most("recovered after the burst", value, limits.recovery_s, "s"))
    for one in result.faults if limits.recovery_s else ():
        name = f"recovered from: {one.name}"
        found.append(_at_most(name, one.recovered_s, limits.recovery_s, "s"))
    if limits.growth_percent:
        value = growth_percent(result)
        found.append(_at_most("memory of a process grew", value, limits.growth_percent, "%"))
    if limits.knee_rate and result.knee is not None:
        rate = result.knee.rate_per_s
        found.append(_at_least("knee", rate, 0.95 * limits.knee_rate, "bids/s"))
    return found


def _worst(phases: Sequence[PhaseFigures], name: str) -> float | None:
    values = [getattr(one, name).p99 for one in phases if one.measured]
    return max((value for value in values if value is not None), default=None)


def answered_percent(answered: int, sent: int) -> float:
    """Rounded down to hundredths: a single bid without an answer must not read as all."""
    return 10_000 * answered // sent / 100 if sent else 0.0


def growth_percent(result: Result) -> float | None:
    """The most that a process of bidplane's own grew, from the run's third tenth to its last."""
    grown = []
    for name, course in result.beside.rss_mib.items():
        if not name.startswith(("worker", "sink-", "source-")):
            continue
        early = _mean(course, 0.2 * result.seconds, 0.3 * result.seconds)
        late = _mean(course, 0.9 * result.seconds, result.seconds)
        if early and late:
            grown.append(100 * (late / early - 1))
    return round(max(grown), 1) if grown else None


def _mean(course: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float:
    values = [value for at_s, value in course if begin_s <= at_s < end_s]
    return sum(values) / len(values) if values else 0.0


def _at_most(name: str, value: float | None, limit: float, unit: str) -> Range:
    kept = value is not None and value <= limit
    return Range(name=name, must=f"at most {limit:g}", found=value, unit=unit, kept=kept)


def _at_least(name: str, value: float | None, limit: float, unit: str) -> Range:
    kept = value is not None and value >= limit
    return Range(name=name, must=f"at least {limit:g}", found=value, unit=unit, kept=kept)
