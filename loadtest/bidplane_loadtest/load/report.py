"""One HTML page that needs nothing else: charts inline, tables, what was run and where.

Decides the page's form and captions. Refuses to compute and to draw.
"""

from __future__ import annotations

import html
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from bidplane_loadtest.load import charts_course, charts_whole, words
from bidplane_loadtest.load.result import Result

PAGE: Final = "report.html"
STYLE: Final = (
    "body{font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;color:#222;margin:2rem auto;"
    "max-width:62rem;padding:0 1rem}h1{font-size:1.5rem;margin-bottom:.2rem}"
    "h2{font-size:1.1rem;margin:2rem 0 .2rem}p{margin:.3rem 0}"
    "table{border-collapse:collapse;font-size:13px;margin:.5rem 0}"
    "td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:left;"
    "vertical-align:top;white-space:nowrap}td.n,th.n{text-align:right}td.w{white-space:normal}"
    ".c{color:#666;font-size:13px;max-width:52rem}.bad{color:#C2330A;font-weight:600}"
    ".good{color:#00734f;font-weight:600}svg{width:100%;height:auto;display:block}"
    "div.t{overflow-x:auto}code{font-size:12px;overflow-wrap:anywhere}"
)
ADMITTED: Final = "ms from intended to admitted"
BEYOND: Final = "ms beyond the close"
# Of a bid, then of an ending, as the processes' own histogram names them.
ORDER: Final = (
    "sent", "acked", "admitted", "closed", "awarded", "allocated", "ready", "notice", "evicted",
    "deallocated", "on_sale",
)  # fmt: skip


def write(folder: pathlib.Path, whole: Result) -> pathlib.Path:
    """Write the page; its path.

    Raises:
        BadInput: matplotlib is not installed.
    """
    path = folder / PAGE
    path.write_text(page(whole), encoding="utf-8")
    return path


def page(whole: Result) -> str:
    """The page."""
    begun = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(whole.begun_at_ms / 1000))
    title = f"bidplane load test: {whole.scenario}"
    bad = any(not one.kept for one in whole.ranges)
    body = "".join(_sections(whole))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
        f'<p class="c">{begun}, market {html.escape(whole.market)}, windows of '
        f"{whole.window_ms:,} ms, {whole.seconds:,.0f} s of load</p>"
        f'<p class="{"bad" if bad else "good"}">{html.escape(words.last_line(whole))}</p>'
        f"{body}</html>\n"
    )


def _sections(whole: Result) -> Iterator[str]:
    yield "".join(f"<p>{html.escape(line)}</p>" for line in words.notes(whole))
    yield table("Ranges", words.RANGE_HEADS, words.range_cells(whole.ranges))
    yield table("Phases", words.PHASE_HEADS, words.phase_cells(whole))
    yield table("Latency, of the measured phases", words.LATENCY_HEADS, words.latency_cells(whole))
    yield _caption(
        "Latencies count from the moment at which a bid was due, sent late or not: a slow system "
        "cannot hide behind a generator that waits for it; two rows name another begin."
    )
    for title, caption, drawing in _charts(whole):
        yield f"<h2>{html.escape(title)}</h2>{_caption(caption)}{drawing}"
    yield _run(whole)


class Chart(NamedTuple):
    """A chart's place in the page."""

    title: str
    caption: str
    draw: Callable[[Result], str]


_CHARTS: Final = (
    Chart(
        "Offered and achieved", "Dotted lines begin phases; red bands are faults.",
        charts_course.rates,
    ),
    Chart(
        "Generator",
        "Each second's latest send, and bids unsent. If these are not small, they are the limit.",
        charts_course.lateness,
    ),
    Chart(
        "Latency until admission",
        "By the second in which bids were due. With few bids in a second the upper three are one.",
        lambda whole: charts_course.latencies(whole, "admitted", ADMITTED),
    ),
    Chart(
        "Told won or lost, beyond the close of the window in which a bid was due",
        "A bid that is due shortly before a close is decided one window (dashed) later.",
        lambda whole: charts_course.latencies(whole, "beyond_close", BEYOND),
    ),
    Chart("Heatmap", "Bids by latency until admission.", charts_whole.heat),
    Chart("Percentiles", "From the fastest to the slowest.", charts_whole.percentiles),
    Chart(
        "Stages", "Mean time in each since the one before: together from intended to bound.",
        charts_whole.stages,
    ),
    Chart("Lag", "Records that lanes have not applied, by their own metrics.", charts_course.lag),
    Chart(
        "Clearing against the window", "Mean of a clearing between two looks at the metrics.",
        charts_course.clearing,
    ),
    Chart("Rounds", "Orders that took part, and those that won.", charts_course.rounds),
    Chart("What became of bids", "And why, of those that did not win.", charts_whole.fates),
    Chart("CPU", "The processes that use most.", charts_course.cores),
    Chart("Memory", "The processes that have most.", charts_course.memory),
)  # fmt: skip


def _charts(whole: Result) -> Iterator[tuple[str, str, str]]:
    if whole.knee is not None:
        yield "Capacity", "Each point is a step.", charts_whole.capacity(whole)
    for one in _CHARTS:
        more = _own_stages(whole) if one.title == "Stages" else ""
        yield one.title, one.caption + more, one.draw(whole)
    if whole.usl is not None:
        title = "Universal Scalability Law"
        yield title, words.usl_words(whole.usl), charts_whole.scalability(whole)


def _own_stages(whole: Result) -> str:
    """What the processes' own histograms say, where they could be read."""
    found = whole.beside.stages_ms
    if not found:
        return ""
    names = [*(name for name in ORDER if name in found), *sorted(set(found) - set(ORDER))]
    listed = ", ".join(f"{name} {found[name]:,.0f}" for name in names)
    return f" By the processes' own metrics, in ms: {listed}."


def _run(whole: Result) -> str:
    one = whole.machine
    machine = f"{one.cpus} cores, {one.cpu}, {one.memory_gib:g} GiB, Linux {one.kernel}"
    rows = [
        ("command", whole.command), ("seed", str(whole.seed)), ("machine", machine),
        ("load average before", f"{one.load_before:g}"),
        ("settings", _pairs(whole.settings)), ("versions", _pairs(whole.versions)),
        *((name, str(value)) for name, value in whole.stated.items()),
    ]  # fmt: skip
    cells = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="w"><code>{html.escape(text)}</code></td></tr>'
        for name, text in rows
    )
    return f'<h2>The run</h2><div class="t"><table>{cells}</table></div>'


def _pairs(values: dict[str, object] | dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _caption(text: str) -> str:
    return f'<p class="c">{html.escape(text)}</p>'


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Heads that begin with > belong to numbers."""
    marks = [' class="n"' if head.startswith(">") else "" for head in heads]
    top = "".join(
        f"<th{mark}>{html.escape(head.removeprefix('>'))}</th>"
        for mark, head in zip(marks, heads, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_mark(mark, cell)}>{html.escape(cell)}</td>"
            for mark, cell in zip(marks, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<h2>{html.escape(title)}</h2><div class="t"><table><tr>{top}</tr>{body}</table></div>'


def _mark(mark: str, cell: str) -> str:
    return {"MISSED": ' class="bad"', "kept": ' class="good"'}.get(cell, mark)
