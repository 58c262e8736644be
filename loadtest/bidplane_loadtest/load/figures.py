"""From marks to figures: phases, a second-by-second course, stages that add up.

Decides what counts as achieved and where a stage begins and ends. Refuses to judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from bidplane_loadtest.load import latency
from bidplane_loadtest.load.marks import KINDS, NEVER, REASONS, Marks
from bidplane_loadtest.load.schedule import Ints, Phase, begins_s

Floats = npt.NDArray[np.float64]
# Of a bid, each since the one before it, so that means add up. `telling` is from the close of the
# window that decided it until its agent reads the answer.
STAGES: Final = ("generator", "broker", "admission", "waiting", "telling", "binding")
# A step's figures leave out this much of its begin, where what came before still shows.
SETTLE_WINDOWS: Final = 1
HEAT_EDGES_MS: Final = tuple(round(10 ** (exponent / 6), 3) for exponent in range(31))
HEAT_COLUMNS: Final = 120
_ANSWERS: Final = ("won", "lost", "refused", "cancelled", "expired")


class PhaseFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A phase. Rates are bids a second; latencies count from the intended time.

    ``achieved_per_s``: answers heard in the phase, moved by half a window, so that whole rounds
    count. ``whole``: not cut short. ``unsent``: due in or before the phase and not sent at its end.
    """

    name: str
    begin_s: float
    seconds: float
    measured: bool
    whole: bool
    offered: int
    answered: int
    offered_per_s: float
    sent_per_s: float
    achieved_per_s: float
    unsent: int
    backlog: int
    lag: latency.Percentiles
    admitted: latency.Percentiles
    beyond_close: latency.Percentiles
    stage_means_ms: dict[str, float]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """Second by second. Counts are of that second; latencies of the bids that were due in it."""

    offered: list[int]
    sent: list[int]
    admitted: list[int]
    answered: list[int]
    unsent: list[int]
    lag_ms: list[float]
    latency_ms: dict[str, dict[str, list[float | None]]]


class Timeline:
    """Marks with the moments that the market adds: closes of windows."""

    def __init__(self, marks: Marks, begin_ms: int, window_ms: int) -> None:
        """``begin_ms`` is the date of the begin."""
        self.marks, self.window_us = marks, window_ms * 1000
        epoch_us = begin_ms * 1000
        close = ((epoch_us + marks.due) // self.window_us + 1) * self.window_us - epoch_us
        self.due_close: Ints = close
        self.closed: Ints = np.where(
            marks.closed_ms > 0, (marks.closed_ms - begin_ms) * 1000, NEVER
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> Timeline:
        """Some of the bids."""
        view = Timeline.__new__(Timeline)
        view.marks, view.window_us = self.marks.where(chosen), self.window_us
        view.due_close, view.closed = self.due_close[chosen], self.closed[chosen]
        return view

    def since_due(self, column: str) -> tuple[Ints, Ints]:
        """(due, latency) in microseconds of the bids that have reached ``column``."""
        reached = getattr(self.marks, column)
        there = reached != NEVER
        return self.marks.due[there], reached[there] - self.marks.due[there]

    def beyond_close(self) -> tuple[Ints, Ints]:
        """(due, how long after its due window's close a bid was told), never below 0."""
        there = self.marks.decided != NEVER
        late = self.marks.decided[there] - self.due_close[there]
        return self.marks.due[there], np.maximum(late, 0)

    def binding(self) -> tuple[Ints, Ints]:
        """(due, from told that it won to told that its lease is bound)."""
        there = self.marks.bound != NEVER
        return self.marks.due[there], self.marks.bound[there] - self.marks.decided[there]

    def named(self) -> dict[str, tuple[Ints, Ints]]:
        """Every latency that is reported, by name."""
        return {
            "acked": self.since_due("acked"), "admitted": self.since_due("held"),
            "decided": self.since_due("decided"), "beyond_close": self.beyond_close(),
            "bound": self.since_due("bound"), "binding": self.binding(),
        }  # fmt: skip

    def stages(self) -> dict[str, float]:
        """Mean milliseconds of each stage, over those bids that have both of its ends."""
        marks = self.marks
        moments = (
            marks.due, marks.sent, marks.acked, marks.held, self.closed, marks.decided, marks.bound,
        )  # fmt: skip
        found = {}
        for name, before, after in zip(STAGES, moments[:-1], moments[1:], strict=True):
            both = (before != NEVER) & (after != NEVER)
            spent = after[both] - before[both]
            found[name] = round(float(np.mean(spent)) / 1000, 2) if len(spent) else 0.0
        return found


def phases(timeline: Timeline, planned: Sequence[Phase], ended_s: float) -> list[PhaseFigures]:
    """Each phase that began before the run was cut short."""
    begins = begins_s(planned)
    return [
        _phase(timeline, phase, number, begins[number], min(begins[number + 1], ended_s))
        for number, phase in enumerate(planned)
        if begins[number] < ended_s
    ]


def _phase(
    timeline: Timeline, phase: Phase, number: int, begin_s: float, end_s: float
) -> PhaseFigures:
    marks, window_us = timeline.marks, timeline.window_us
    begin, end = int(begin_s * 1e6), int(end_s * 1e6)
    chosen = (marks.phase == number) & (marks.due < end)
    settle = SETTLE_WINDOWS * window_us if end - begin > 3 * window_us else 0
    span_s = max(1e-6, (end - begin - settle) / 1e6)
    half = window_us // 2
    answered = _between(marks.decided, begin + settle + half, end + half)
    settled = chosen & (marks.due >= begin + settle)
    view = timeline.where(settled)
    return PhaseFigures(
        name=phase.name, begin_s=begin_s, seconds=round(end_s - begin_s, 3),
        measured=phase.measured, whole=end_s - begin_s > phase.seconds - 1e-6,
        offered=int(chosen.sum()),
        answered=int((chosen & (marks.decided != NEVER)).sum()),
        offered_per_s=round(int(settled.sum()) / span_s, 2),
        sent_per_s=round(_between(marks.sent, begin + settle, end) / span_s, 2),
        achieved_per_s=round(answered / span_s, 2),
        unsent=_passed(marks.due, end) - _passed(marks.sent, end),
        backlog=_passed(marks.due, end) - _passed(marks.decided, end + half),
        lag=latency.percentiles(view.since_due("sent")[1]),
        admitted=latency.percentiles(view.since_due("held")[1]),
        beyond_close=latency.percentiles(view.beyond_close()[1]),
        stage_means_ms=view.stages(),
    )  # fmt: skip


def _between(moments: Ints, begin: int, end: int) -> int:
    return int(((moments >= begin) & (moments < end)).sum())


def _passed(moments: Ints, until: int) -> int:
    return int(((moments != NEVER) & (moments < until)).sum())


def course(timeline: Timeline) -> Course:
    """The run by seconds, until the last answer."""
    marks = timeline.marks
    last = max((int(column.max(initial=0)) for column in (marks.due, marks.decided)), default=0)
    seconds = last // 1_000_000 + 1

    def by_second(moments: Ints) -> Ints:
        there = moments[moments != NEVER] // 1_000_000
        return np.bincount(there, minlength=seconds)[:seconds].astype(np.int64)

    offered, sent = by_second(marks.due), by_second(marks.sent)
    due, lag = timeline.since_due("sent")
    return Course(
        offered=offered.tolist(), sent=sent.tolist(), admitted=by_second(marks.held).tolist(),
        answered=by_second(marks.decided).tolist(),
        unsent=(np.cumsum(offered) - np.cumsum(sent)).tolist(),
        lag_ms=[one or 0.0 for one in _per_second(due, lag, seconds, 100)],
        latency_ms={
            name: {
                key: _per_second(*pair, seconds, percent)
                for key, percent in (("p50", 50), ("p99", 99), ("p999", 99.9), ("max", 100))
            }
            for name, pair in timeline.named().items()
        },
    )  # fmt: skip


def _per_second(due: Ints, spent: Ints, seconds: int, percent: float) -> list[float | None]:
    """A percentile for each second in which bids were due; None where none was."""
    found: list[float | None] = [None] * seconds
    order = np.argsort(due, kind="stable")
    second, spent = due[order] // 1_000_000, spent[order]
    edges = np.searchsorted(second, np.arange(seconds + 1))
    for number in range(seconds):
        part = spent[edges[number] : edges[number + 1]]
        if len(part):
            exact = np.percentile(part, percent, method="higher")
            found[number] = round(float(exact) / 1000, 2)
    return found


def heat(due: Ints, spent: Ints, seconds: float) -> dict[str, Any]:
    """Counts of latencies by column of time and by bucket: what a heatmap shows."""
    width_s = max(1, math.ceil(seconds / HEAT_COLUMNS))
    columns = max(1, math.ceil(seconds / width_s))
    times = np.arange(columns + 1) * width_s * 1_000_000
    edges = np.array([0.0, *HEAT_EDGES_MS[1:], np.inf]) * 1000
    counts, _, _ = np.histogram2d(due, spent, bins=[times, edges[:-1]])
    return {
        "column_s": width_s, "edges_ms": [0.0, *HEAT_EDGES_MS[1:]],
        "counts": counts.astype(int).tolist(),
    }  # fmt: skip


def tallies(marks: Marks) -> tuple[dict[str, int], dict[str, int]]:
    """(bids that were sent by what became of them, by reason)."""
    sent = marks.sent != NEVER
    kinds = np.bincount(marks.kind[sent], minlength=len(KINDS))
    reasons = np.bincount(marks.reason[sent], minlength=len(REASONS))
    return (
        {name: int(count) for name, count in zip(KINDS, kinds, strict=True) if count},
        {name: int(count) for name, count in zip(REASONS, reasons, strict=True) if count and name},
    )
