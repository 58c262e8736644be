"""Two runs side by side: what changed, and whether it changed beyond noise.

Decides the test: blocks of five seconds of each run by Mann and Whitney's rank test, at one in a
hundred, and a change of a twentieth at least. A figure that a run has only one of cannot be tested,
and the row says so. Refuses to say which run is better.
"""

from __future__ import annotations

import html
import importlib
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from bidplane_loadtest.load import canvas, report
from bidplane_loadtest.load.result import Result

PAGE: Final = "comparison.html"
BLOCK_S: Final = 5
BLOCKS_LEAST: Final = 4
ALPHA: Final = 0.01
CHANGE_LEAST: Final = 0.05
HEADS: Final = ("figure", ">A", ">B", ">change", "verdict")
SAME: Final = "within noise"
_LATENCIES: Final = ("admitted", "beyond_close", "binding")
_PARTS: Final = ("p50", "p99")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of both runs. ``p`` is None where there is nothing to test."""

    name: str
    unit: str
    before: float
    after: float
    p: float | None
    verdict: str


def rows(before: Result, after: Result) -> list[Row]:
    """Every figure that both runs have."""
    found = [
        _tested(f"{name} {part}", "ms", _blocks(before, name, part), _blocks(after, name, part))
        for name in _LATENCIES
        for part in _PARTS
    ]
    found.append(_tested("answered a second", "bids", _answered(before), _answered(after)))
    found.append(_tested("sent late", "ms", _lag(before), _lag(after)))
    found += [
        _tested(f"cores of {name}", "", _values(before, name, "cpu"), _values(after, name, "cpu"))
        for name in ("worker", "kafka", "sink-claims", "generator-0")
    ]
    found += [
        _tested(
            f"memory of {name}", "MiB", _values(before, name, "rss_mib"),
            _values(after, name, "rss_mib"),
        )
        for name in ("worker", "sink-claims")
    ]  # fmt: skip
    if before.knee is not None and after.knee is not None:
        found.append(_single("knee", "bids/s", before.knee.rate_per_s, after.knee.rate_per_s))
    return [one for one in found if one is not None]


def _measured(whole: Result) -> list[tuple[int, int]]:
    """The blocks of seconds that lie within measured phases."""
    blocks = []
    for phase in whole.phases:
        if phase.measured:
            begin, end = round(phase.begin_s), round(phase.begin_s + phase.seconds)
            blocks += [(at, at + BLOCK_S) for at in range(begin, end - BLOCK_S + 1, BLOCK_S)]
    return blocks


def _by_block(whole: Result, values: Sequence[float | None]) -> list[float]:
    parts = [
        [one for one in values[begin:end] if one is not None] for begin, end in _measured(whole)
    ]
    return [statistics.median(part) for part in parts if part]


def _blocks(whole: Result, name: str, part: str) -> list[float]:
    return _by_block(whole, whole.course.latency_ms[name][part])


def _answered(whole: Result) -> list[float]:
    return [sum(whole.course.answered[a:b]) / BLOCK_S for a, b in _measured(whole)]


def _lag(whole: Result) -> list[float]:
    return _by_block(whole, whole.course.lag_ms)


def _values(whole: Result, process: str, field: str) -> list[float]:
    points = getattr(whole.beside, field).get(process, ())
    parts = [[value for at, value in points if a <= at < b] for a, b in _measured(whole)]
    return [statistics.mean(part) for part in parts if part]


def _tested(name: str, unit: str, before: list[float], after: list[float]) -> Row | None:
    if not before or not after:
        return None
    early, late = statistics.median(before), statistics.median(after)
    if min(len(before), len(after)) < BLOCKS_LEAST:
        verdict = f"too short to tell ({min(len(before), len(after))} blocks of {BLOCK_S} s)"
        return Row(name=name, unit=unit, before=early, after=late, p=None, verdict=verdict)
    stats: Any = importlib.import_module("scipy.stats")
    p = float(stats.mannwhitneyu(before, after).pvalue)
    changed = p < ALPHA and abs(late - early) > CHANGE_LEAST * abs(early)
    verdict = ("higher" if late > early else "lower") if changed else SAME
    return Row(name=name, unit=unit, before=early, after=late, p=p, verdict=verdict)


def _single(name: str, unit: str, before: float, after: float) -> Row:
    verdict = "one figure each: not tested"
    return Row(name=name, unit=unit, before=before, after=after, p=None, verdict=verdict)


def cells(found: Sequence[Row]) -> list[Sequence[str]]:
    """The rows as a table shows them."""
    return [
        (
            f"{one.name} {one.unit}".strip(), f"{one.before:,.4g}", f"{one.after:,.4g}",
            f"{one.after / one.before - 1:+.0%}" if one.before else "",
            one.verdict + ("" if one.p is None else f" (p = {one.p:.2g})"),
        )
        for one in found
    ]  # fmt: skip


def differing(before: Result, after: Result) -> list[str]:
    """What was not the same from the start, and may be why."""
    pairs: dict[str, Callable[[Result], Any]] = {
        "scenario": lambda one: one.scenario, "seed": lambda one: one.seed,
        "settings": lambda one: one.settings, "window_ms": lambda one: one.window_ms,
        "machine": lambda one: (one.machine.cpus, one.machine.cpu),
        "versions": lambda one: one.versions,
        "load average before": lambda one: one.machine.load_before,
    }  # fmt: skip
    return [
        f"{name}: {get(before)} and {get(after)}"
        for name, get in pairs.items()
        if get(before) != get(after)
    ]


def write(
    folder: pathlib.Path, before: Result, after: Result, found: Sequence[Row]
) -> pathlib.Path:
    """comparison.html in a folder, or beside a file of it."""
    folder = folder.parent if folder.is_file() else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    path.write_text(page(before, after, found), encoding="utf-8")
    return path


def page(before: Result, after: Result, found: Sequence[Row]) -> str:
    """The page: what differed from the start, the table, and the courses of both."""
    listed = "".join(f"<li>{html.escape(one)}</li>" for one in differing(before, after))
    drawings = "".join(
        f"<h2>{html.escape(f'{name} {part}, ms')}</h2>{_overlaid(before, after, name, part)}"
        for name in _LATENCIES
        for part in _PARTS
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>bidplane load tests compared</title><style>{report.STYLE}</style>"
        "<h1>Two load tests compared</h1>"
        f"<p>A: <code>{html.escape(before.command)}</code></p>"
        f"<p>B: <code>{html.escape(after.command)}</code></p>"
        "<p>Different from the start:</p>"
        f"<ul>{listed or '<li>nothing that was noted</li>'}</ul>"
        + report.table("What changed", HEADS, cells(found))
        + drawings
        + "</html>\n"
    )


def _overlaid(before: Result, after: Result, name: str, part: str) -> str:
    def draw(axes: Any) -> None:
        for label, whole, colour in (
            ("A", before, canvas.GREY), ("B", after, canvas.COLOURS[0]),
        ):  # fmt: skip
            course = whole.course.latency_ms[name][part]
            points = [(float(at), one) for at, one in enumerate(course) if one is not None]
            canvas.line(axes, points, label, colour)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xlabel("seconds since the begin")
        axes.set_ylim(bottom=0)
        canvas.legend(axes)

    return canvas.svg(f"{name}{part}".replace("_", ""), draw, 2.4)
