"""Latencies as HdrHistograms: percentiles, merging, and `.hlog` files that other tools read.

Decides precision: microseconds to an hour at three digits. Refuses to know what was timed.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader, HistogramLogWriter

from bidplane_loadtest.load.schedule import Ints

HIGHEST_US: Final = 3_600_000_000
DIGITS: Final = 3
INTERVAL_S: Final = 1.0
TICKS_PER_HALF: Final = 5


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. Without values all are None and the count is 0."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


def histogram(values_us: Ints) -> Any:
    """A histogram of latencies; what is below a microsecond counts as one."""
    made = HdrHistogram(1, HIGHEST_US, DIGITS)
    values, counts = np.unique(np.clip(values_us, 1, HIGHEST_US), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        made.record_value(value, count)
    return made


def percentiles(values_us: Ints) -> Percentiles:
    """What a table shows of latencies."""
    if not len(values_us):
        return Percentiles()
    made = histogram(values_us)

    def at(percent: float) -> float:
        return round(float(made.get_value_at_percentile(percent)) / 1000, 3)

    return Percentiles(
        count=len(values_us), mean=round(float(np.mean(values_us)) / 1000, 3), p50=at(50),
        p90=at(90), p99=at(99), p999=at(99.9), max=at(100),
    )  # fmt: skip


def distribution(values_us: Ints) -> list[tuple[float, float]]:
    """(percentile, milliseconds) at ever finer steps towards the slowest."""
    made = histogram(values_us)
    found = []
    for one in made.get_percentile_iterator(TICKS_PER_HALF):
        value = one.value_iterated_to / 1000
        found.append((round(one.percentile_level_iterated_to, 6), round(value, 3)))
    return found


def write_log(path: pathlib.Path, due_us: Ints, values_us: Ints, begin_ms: int) -> None:
    """One histogram for each second in which bids were due, in HdrHistogram's log format 1.2."""
    with path.open("w", encoding="ascii") as file:
        log = HistogramLogWriter(file)
        log.output_comment("[bidplane: latency in microseconds, from the intended send time]")
        log.output_log_format_version()
        file.write(f"#[StartTime: {begin_ms / 1000:.3f} (seconds since epoch)]\n")
        log.output_legend()
        for number, values in _by_interval(due_us, values_us):
            one = histogram(values)
            one.set_start_time_stamp(begin_ms + number * INTERVAL_S * 1000)
            one.set_end_time_stamp(begin_ms + (number + 1) * INTERVAL_S * 1000)
            log.output_interval_histogram(one, max_value_unit_ratio=1000.0)


def _by_interval(due_us: Ints, values_us: Ints) -> Iterator[tuple[int, Ints]]:
    number = due_us // int(INTERVAL_S * 1e6)
    for one in np.unique(number).tolist():
        yield one, values_us[number == one]


def read_log(path: pathlib.Path) -> Any:
    """All intervals of a log as one histogram."""
    whole = HdrHistogram(1, HIGHEST_US, DIGITS)
    reader = HistogramLogReader(str(path), whole)
    try:
        while reader.add_next_interval_histogram(whole) is not None:
            pass
    finally:
        reader.close()
    return whole
