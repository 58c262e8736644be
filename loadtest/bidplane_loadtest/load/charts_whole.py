"""Charts of a whole run: heatmap, percentiles, stages, what became of bids, the capacity curve.

Decides what each shows. Refuses to compute figures.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import numpy as np

from bidplane_loadtest.load import canvas, charts_course, usl, words
from bidplane_loadtest.load.figures import STAGES
from bidplane_loadtest.load.result import Result

DISTRIBUTIONS: Final = ("acked", "admitted", "beyond_close", "binding")
STAGE_WORDS: Final = {
    "generator": "generator: intended → sent", "broker": "broker: sent → acknowledged",
    "admission": "accounts lane: → admitted", "waiting": "waiting for the window's close",
    "telling": "markets lane: close → told", "binding": "claims sink and its report: → bound",
}  # fmt: skip


def heat(whole: Result) -> str:
    """How many bids had which latency until admission, second by second."""

    def draw(axes: Any) -> None:
        colours: Any = importlib.import_module("matplotlib.colors")
        counts = np.array(whole.heat["counts"], float).T
        if not counts.size or not counts.any():
            canvas.nothing(axes, "no bid was admitted")
            return
        edges = np.array(whole.heat["edges_ms"], float)
        edges[0] = edges[1] / 1.5
        times = np.arange(counts.shape[1] + 1) * whole.heat["column_s"]
        shown = np.ma.masked_less(counts, 1)
        mesh = axes.pcolormesh(times, edges, shown, cmap="viridis_r", rasterized=True,
                               norm=colours.LogNorm(1, max(2, counts.max())))  # fmt: skip
        axes.set_yscale("log")
        canvas.plain_numbers(axes.yaxis)
        axes.set_ylabel("ms from intended to admitted")
        axes.grid(visible=False)
        charts_course.marked(axes, whole)
        top = edges[1:][counts.sum(axis=1) > 0].max()
        axes.set_ylim(edges[:-1][counts.sum(axis=1) > 0].min(), top)
        bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, label="bids")
        canvas.plain_numbers(bar.ax.yaxis)

    return canvas.svg("heat", draw, 3.4)


def percentiles(whole: Result) -> str:
    """The distribution up to its slowest, each nine as wide as the one before."""

    def draw(axes: Any) -> None:
        most = 10.0
        for number, name in enumerate(DISTRIBUTIONS):
            points = [one for one in whole.distribution_ms.get(name, ()) if one[0] < 100]
            if not points:
                continue
            nines = [100 / (100 - percent) for percent, _ in points]
            most = max(most, nines[-1])
            axes.plot(nines, [value for _, value in points], label=words.TITLES[name],
                      color=canvas.COLOURS[number], linewidth=1.5)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, most)
        canvas.plain_numbers(axes.yaxis)
        ticks = [nines for nines in (1, 2, 10, 100, 1000, 10_000, 100_000) if nines <= most]
        names = ["0", "50", "90", "99", "99.9", "99.99", "99.999"][: len(ticks)]
        axes.set_xticks(ticks, names)
        axes.minorticks_off()
        axes.set_xlabel("percentile")
        axes.set_ylabel("ms")
        canvas.legend(axes)

    return canvas.svg("percentiles", draw, 3.2)


def stages(whole: Result) -> str:
    """Mean time of each stage, one bar for each phase."""

    def draw(axes: Any) -> None:
        shown = [one for one in whole.phases if one.measured]
        left = np.zeros(len(shown))
        rows = np.arange(len(shown))
        for number, stage in enumerate(STAGES):
            widths = np.array([max(0.0, one.stage_means_ms.get(stage, 0.0)) for one in shown])
            axes.barh(rows, widths, left=left, height=0.62, color=canvas.COLOURS[number],
                      label=STAGE_WORDS[stage])  # fmt: skip
            left += widths
        axes.set_yticks(rows, [one.name for one in shown])
        axes.invert_yaxis()
        axes.set_xlabel("mean milliseconds; `bound` over the winners alone")
        axes.grid(visible=False, axis="y")
        canvas.legend(axes)

    count = sum(one.measured for one in whole.phases)
    return canvas.svg("stages", draw, max(1.9, 0.9 + 0.32 * count))


def fates(whole: Result) -> str:
    """What became of bids, and why."""

    def draw(axes: Any) -> None:
        rows = [(name, count, canvas.COLOURS[0]) for name, count in whole.kinds.items()]
        rows += [
            (f"why: {name}", count, canvas.COLOURS[3]) for name, count in whole.reasons.items()
        ]
        if not rows:
            canvas.nothing(axes, "nothing was sent")
            return
        bars = axes.barh([row[0] for row in rows], [row[1] for row in rows], height=0.62,
                         color=[row[2] for row in rows])  # fmt: skip
        axes.bar_label(bars, [f"{row[1]:,}" for row in rows], padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("bids")
        axes.margins(x=0.1)
        axes.grid(visible=False, axis="y")

    count = len(whole.kinds) + len(whole.reasons)
    return canvas.svg("fates", draw, max(1.6, 0.8 + 0.28 * count))


def capacity(whole: Result) -> str:
    """Achieved against offered, the knee, and the law where it means something."""

    def draw(axes: Any) -> None:
        assert whole.knee is not None, "only runs with steps have this chart"
        steps = whole.knee.steps
        offered = [one.offered_per_s for one in steps]
        most = max(*offered, 1.0)
        axes.plot([0, most], [0, most], color=canvas.GREY, linewidth=0.9, linestyle="--",
                  label="all that is offered")  # fmt: skip
        for kept, colour, label in ((True, canvas.COLOURS[2], "kept up"),
                                    (False, canvas.COLOURS[3], "did not")):  # fmt: skip
            chosen = [one for one in steps if (not one.missed) is kept]
            axes.plot([one.offered_per_s for one in chosen],
                      [one.achieved_per_s for one in chosen], "o", color=colour,
                      label=label)  # fmt: skip
        if whole.knee.broken and whole.knee.rate_per_s:
            axes.axhline(whole.knee.rate_per_s, color=canvas.COLOURS[2], linewidth=0.9,
                         label=f"knee: {whole.knee.rate_per_s:,.0f}/s")  # fmt: skip
        axes.set_xlim(0, most * 1.03)
        axes.set_ylim(0, most * 1.03)
        axes.set_xlabel("offered, bids a second")
        axes.set_ylabel("answered")
        canvas.legend(axes)

    return canvas.svg("capacity", draw, 3.2)


def scalability(whole: Result) -> str:
    """Rate against bids at once: the points, and the law up to 1.5 times what was measured."""

    def draw(axes: Any) -> None:
        fit = whole.usl
        if fit is None or not fit.points:
            canvas.nothing(axes, "no step to draw")
            return
        axes.plot(*zip(*fit.points, strict=True), "o", color=canvas.COLOURS[0], label="steps")
        if fit.meaningful:
            n = np.linspace(0.01, fit.reach_n, 200)
            axes.plot(n, usl.law(n, **fit.values), color=canvas.COLOURS[1], label="the law")
        else:
            axes.set_title(f"no meaningful fit: {fit.why}", fontsize=8, color=canvas.GREY)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("bids between intended send and admission (rate times latency)")
        axes.set_ylabel("answered a second")
        canvas.legend(axes)

    return canvas.svg("scalability", draw, 3.0)
