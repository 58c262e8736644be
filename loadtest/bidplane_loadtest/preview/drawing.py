"""Panels as SVG, by matplotlib.

Decides lines, areas, heat and marks. Refuses to ask anything and to write a page.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import matplotlib.dates
import numpy as np
from matplotlib import figure, ticker

from bidplane_loadtest.preview import asking, filling, units

COLOURS: Final = (
    "#3b7dd8", "#e08a1e", "#3a9d5d", "#c8443d", "#8a63b8", "#7d5a4a", "#d468a8", "#6f7780",
    "#a8a52c", "#2ba7b5", "#1f4e8c", "#a35c00",
)  # fmt: skip
DOTS_AN_INCH: Final = 96
LEFT_PX: Final = 58
# A time on the axis below, and a letter on the one at the left.
LABEL_PX: Final = 70
LETTER_PX: Final = 6
CLOCK_STEPS: Final = [1, 2, 5, 10, 15, 20, 30]
Named = tuple[str, asking.Series]
Lines = Sequence[tuple[float, str]]


def colour(at: int) -> str:
    """The colour of the series at this place."""
    return COLOURS[at % len(COLOURS)]


def lines(
    named: Sequence[Named], span: filling.Span, unit: str, size: tuple[int, int], marks: Lines,
    *, stacked: bool,
) -> str:  # fmt: skip
    """Series over time; ``marks`` are (second, colour)."""
    drawn, axes = _axes(span, size)
    if stacked:
        grid = sorted({at for _, one in named for at, _ in one.points})
        heights = [[dict(one.points).get(at, 0.0) for at in grid] for _, one in named]
        axes.stackplot(
            _times(grid), heights, colors=[colour(at) for at in range(len(named))], alpha=0.75
        )
    for at, (_, one) in enumerate(named):
        if not stacked:
            _line(axes, one, span, colour(at))
    for second, its in marks:
        axes.axvline(_times([second])[0], color=its, linewidth=0.9, linestyle="--")
    axes.set_ylim(bottom=min(0.0, *(value for _, one in named for _, value in one.points)))
    if step := units.tick(axes.get_ylim()[1], unit):
        axes.yaxis.set_major_locator(ticker.MultipleLocator(step))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: units.shown(value, unit)))
    _room(axes, size, [units.shown(value, unit) for value in axes.get_yticks()])
    return _svg(drawn)


def _line(axes: Any, one: asking.Series, span: filling.Span, its: str) -> None:
    """A line that is cut where samples are missing."""
    seconds: list[float] = []
    values: list[float] = []
    for second, value in one.points:
        if seconds and second - seconds[-1] > 2.5 * span.step_s:
            seconds.append(seconds[-1] + span.step_s)
            values.append(float("nan"))
        seconds.append(second)
        values.append(value)
    alone = "o" if len(one.points) < 3 else ""
    axes.plot(_times(seconds), values, color=its, linewidth=1.3, marker=alone, markersize=3)


def heat(
    named: Sequence[tuple[float, asking.Series]], span: filling.Span, unit: str,
    size: tuple[int, int],
) -> str:  # fmt: skip
    """A classic histogram over time; ``named`` are its cumulative buckets by upper bound."""
    drawn, axes = _axes(span, size)
    ordered = sorted(named, key=lambda one: one[0])
    grid = sorted({at for _, one in ordered for at, _ in one.points})
    sums = np.array([[dict(one.points).get(at, 0.0) for at in grid] for _, one in ordered])
    counts = np.diff(np.vstack([np.zeros(len(grid)), sums]), axis=0).clip(min=0.0)
    shaded = np.ma.masked_less_equal(counts, 0)
    axes.pcolormesh(
        _times([*grid, grid[-1] + span.step_s]), np.arange(len(ordered) + 1), shaded,
        cmap=mpl.colormaps["Oranges"], vmin=0, rasterized=False,
    )  # fmt: skip
    every = max(1, len(ordered) // 8)
    places = range(0, len(ordered), every)
    axes.set_yticks([place + 1 for place in places])
    told = [_bound(ordered[place][0], unit) for place in places]
    axes.set_yticklabels(told)
    _room(axes, size, told)
    return _svg(drawn)


def _bound(value: float, unit: str) -> str:
    return "more" if value == float("inf") else units.shown(value, unit)


def _axes(span: filling.Span, size: tuple[int, int]) -> tuple[figure.Figure, Any]:
    width, height = size
    drawn = figure.Figure(figsize=(width / DOTS_AN_INCH, height / DOTS_AN_INCH), dpi=DOTS_AN_INCH)
    axes: Any = drawn.add_axes(_place(size, LEFT_PX))
    axes.tick_params(labelsize=7, length=2, colors="#555")
    axes.grid(visible=True, color="#e4e7ea", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#aaa")
    begin, end = _times([span.begin_s, span.end_s])
    axes.set_xlim(begin, end)
    dates: Any = matplotlib.dates
    most = max(2, min(6, (width - LEFT_PX) // LABEL_PX))
    clock = dates.AutoDateLocator(minticks=2, maxticks=most)
    # Its own steps leave a narrow panel of five minutes a single time.
    clock.intervald |= {dates.MINUTELY: CLOCK_STEPS, dates.SECONDLY: CLOCK_STEPS}
    axes.xaxis.set_major_locator(clock)
    form = "%H:%M:%S" if span.end_s - span.begin_s < 900 else "%H:%M"
    axes.xaxis.set_major_formatter(dates.DateFormatter(form))
    return drawn, axes


def _place(size: tuple[int, int], left: float) -> tuple[float, float, float, float]:
    width, height = size
    return left / width, 22 / height, 1 - (left + 10) / width, 1 - 30 / height


def _room(axes: Any, size: tuple[int, int], told: Sequence[str]) -> None:
    """Long figures on the left push the axis to the right: a browser's font may be wide."""
    longest = max((len(one) for one in told), default=0)
    axes.set_position(_place(size, max(LEFT_PX, longest * LETTER_PX + 8)))


def _times(seconds: Sequence[float]) -> list[dt.datetime]:
    return [dt.datetime.fromtimestamp(one, tz=dt.UTC) for one in seconds]


def _svg(drawn: figure.Figure) -> str:
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bidplane"}):
        drawn.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
