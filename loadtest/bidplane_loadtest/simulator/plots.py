"""Runs as pictures: prices, utilisation, waits and the table, each as the bytes of a PNG.

Decides what is drawn. matplotlib comes with the `loadtest` extra and is loaded only here.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any, Final

from bidplane_agents.errors import BadInput
from bidplane_loadtest.simulator import play
from bidplane_loadtest.simulator.engine import History

HOUR_MS: Final = 3_600_000
DPI: Final = 110
# Colours that people with the common colour blindnesses tell apart (Okabe and Ito).
COLOURS: Final = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#777777", "#882255",
)  # fmt: skip
CLASSES: Final = ("LS", "Guaranteed", "Burstable", "BE")
# Points along a line of utilisation: enough to see, few enough to read.
STEPS: Final = 150


def draw(played: Sequence[play.Played]) -> dict[str, bytes]:
    """Pictures of the first scenario by name, and the table of all.

    Raises:
        BadInput: matplotlib is not installed.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise BadInput(
            "--report draws with matplotlib: run `pip install 'bidplane[loadtest]'`"
        ) from error
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    first = played[0].result
    shown = [
        one
        for one in played
        if (one.result.seed, one.result.load_percent) == (first.seed, first.load_percent)
    ]
    return {
        "utilisation": _utilisation(pyplot, shown),
        "waits": _waits(pyplot, shown),
        "prices": _prices(pyplot, shown),
        "table": _table(pyplot, played),
    }


def busy_percent(history: History) -> list[tuple[float, float]]:
    """(hour, mean percent of GPUs held since the point before), at STEPS even points."""
    capacity, horizon_ms = history.scene.capacity_milli, history.scene.horizon_ms
    ends = [horizon_ms * step // STEPS for step in range(1, STEPS + 1)]
    found, frame, held, last_ms, begin_ms = [], 0, 0, 0, 0
    for end_ms in ends:
        area = 0
        while frame < len(history.frames) and history.frames[frame].at_ms <= end_ms:
            area += held * (history.frames[frame].at_ms - last_ms)
            last_ms, held = history.frames[frame].at_ms, history.frames[frame].held
            frame += 1
        area += held * (end_ms - last_ms)
        last_ms = end_ms
        span = max(1, capacity * (end_ms - begin_ms))
        found.append((end_ms / HOUR_MS, area * 100 / span))
        begin_ms = end_ms
    return found


def _utilisation(pyplot: Any, shown: Sequence[play.Played]) -> bytes:
    figure, axes = pyplot.subplots(figsize=(9, 4.2))
    for number, one in enumerate(shown):
        hours, percents = zip(*busy_percent(one.history), strict=True)
        colour, style = COLOURS[number % len(COLOURS)], "-" if number % 2 == 0 else "--"
        axes.plot(hours, percents, label=one.result.policy, color=colour, linestyle=style, lw=1.3)
    axes.set(xlabel="simulated hours", ylabel="GPUs held, %", ylim=(0, 102))
    axes.set_title("Utilisation: what is held, be it used or not")
    return _png(pyplot, figure, axes)


def _waits(pyplot: Any, shown: Sequence[play.Played]) -> bytes:
    figure, both = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    classes = [name for name in CLASSES if any(name in one.result.wait_s for one in shown)]
    longest = max(wait.p99 for one in shown for wait in one.result.wait_s.values())
    for axes, field in zip(both, ("p50", "p99"), strict=True):
        for number, one in enumerate(shown):
            width = 0.8 / len(shown)
            places = [at + (number + 0.5) * width - 0.4 for at in range(len(classes))]
            waits = [one.result.wait_s.get(name) for name in classes]
            seconds = [0.0 if wait is None else float(getattr(wait, field)) for wait in waits]
            heights = [max(1.0, second) for second in seconds]
            colour = COLOURS[number % len(COLOURS)]
            axes.bar(places, heights, width, label=one.result.policy, color=colour)
        axes.set(yscale="log", ylim=(1, max(10.0, 2 * longest)), xlabel="QoS class")
        axes.set_xticks(range(len(classes)), classes)
        axes.set_title(f"Wait, {field}: never served counts until the end")
    both[0].set_ylabel("seconds, at least 1")
    return _png(pyplot, figure, both[1])


def _prices(pyplot: Any, shown: Sequence[play.Played]) -> bytes:
    figure, axes = pyplot.subplots(figsize=(9, 4.2))
    for number, one in enumerate(shown):
        if one.history.prices:
            hours = [at_ms / HOUR_MS for at_ms, _ in one.history.prices]
            credit = [micros / 1_000_000 for _, micros in one.history.prices]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(hours, credit, ".", ms=3, label=one.result.policy, color=colour)
    axes.set(xlabel="simulated hours", ylabel="credits for a GPU-hour")
    axes.set_title("What was paid in each window that sold something")
    return _png(pyplot, figure, axes)


def _table(pyplot: Any, played: Sequence[play.Played]) -> bytes:
    heads, rows = play.table([one.result for one in played])
    figure, axes = pyplot.subplots(figsize=(15, 0.6 + 0.28 * len(rows)))
    axes.axis("off")
    drawn = axes.table(cellText=rows, colLabels=heads, loc="center", cellLoc="right")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.auto_set_column_width(list(range(len(heads))))
    return _png(pyplot, figure, None)


def _png(pyplot: Any, figure: Any, legend: Any) -> bytes:
    """The figure's bytes; it is closed, or a long report would keep all of them."""
    if legend is not None:
        handles, _ = legend.get_legend_handles_labels()
        if handles:
            legend.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return out.getvalue()
