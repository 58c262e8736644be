"""Where charts are drawn: matplotlib, its plain look, and each chart as SVG text.

Decides colours and sizes. matplotlib comes with the `loadtest` extra and is loaded only here.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from bidplane_agents.errors import BadInput

WIDTH_IN: Final = 9.6
HEIGHT_IN: Final = 2.9
# Colours that people with the common colour blindnesses tell apart (Okabe and Ito).
COLOURS: Final = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#777777", "#F0E442",
    "#882255", "#44AA99",
)  # fmt: skip
GREY: Final = "#888888"
RED: Final = "#C2330A"
_STYLE: Final = {
    "font.size": 9, "font.family": "DejaVu Sans", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7, "axes.edgecolor": "#999999", "axes.titlesize": 10,
    "axes.titlelocation": "left", "legend.frameon": False, "legend.fontsize": 8,
    # Text stays text, so a page is small and can be searched; ids do not change between runs.
    "svg.fonttype": "none", "svg.hashsalt": "bidplane",
}  # fmt: skip
Draw = Callable[[Any], None]
_IDS: Final = re.compile(r'(id="|href="#|url\(#)')


def ready() -> Any:
    """pyplot, set up.

    Raises:
        BadInput: matplotlib is not installed.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise BadInput(
            "a report is drawn with matplotlib: run `pip install 'bidplane[loadtest]'`"
        ) from error
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    pyplot.rcParams.update(_STYLE)
    return pyplot


def svg(name: str, draw: Draw, height_in: float = HEIGHT_IN) -> str:
    """A chart with one pair of axes as SVG text; ``name`` makes its ids its own."""
    pyplot = ready()
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, height_in), layout="constrained")
    try:
        draw(axes)
        return written(figure, name)
    finally:
        pyplot.close(figure)


def written(figure: Any, name: str) -> str:
    """A figure as SVG text without its preamble."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # Several drawings share a page: their ids must differ.
    return _IDS.sub(lambda found: f"{found.group(1)}{name}-", text)


def legend(axes: Any, columns: int = 1) -> None:
    """Outside, to the right, so that it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=columns)


def nothing(axes: Any, words: str) -> None:
    """Say that there is nothing to draw, and why."""
    axes.text(0.5, 0.5, words, ha="center", va="center", color=GREY, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def line(axes: Any, points: Sequence[tuple[float, float]], label: str, colour: str) -> None:
    """A line through (seconds, value)."""
    axes.plot(
        [at_s for at_s, _ in points], [value for _, value in points], label=label, color=colour,
        linewidth=1.3,
    )  # fmt: skip


def plain_numbers(axis: Any) -> None:
    """Ticks of a log scale at 1, 2 and 5, as 1,000 and 0.5, never 10³."""
    ticker: Any = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
