"""The page: a grid of panels, a form with the variables, and plainly no Grafana.

Decides HTML and what is said where nothing was answered. No script: the browser loads it anew.
"""

from __future__ import annotations

import datetime as dt
import html
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bidplane_loadtest.preview import answers, asking, boards, drawing, filling, units

COLUMN_PX: Final = 60
LINE_PX: Final = 36
LEGEND_MAX: Final = 14
LETTER_PX: Final = 6
REFRESHES_S: Final = (0, 5, 15, 60)
MINUTES: Final = (2, 5, 15, 30, 60, 180, 720)
STYLE: Final = pathlib.Path(__file__).with_suffix(".css")
_KNOWN: Final = {"purple": "#8a63b8", "blue": "#3b7dd8", "red": "#c8443d"}


def whole(found: answers.Answered, names: Sequence[str], url: str, refresh_s: int) -> str:
    """The page of a dashboard."""
    board = found.board
    again = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    marks = _marks(found)
    panels = "\n".join(_panel(found, panel, marks) for panel in board.panels)
    when = dt.datetime.fromtimestamp(found.span.end_s, tz=dt.UTC)
    links = " ".join(
        f"<b>{_e(name)}</b>" if name == board.name else f'<a href="/{_e(name)}">{_e(name)}</a>'
        for name in names
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
        f"<title>{_e(board.title)} (preview)</title><style>{STYLE.read_text()}"
        f"</style></head><body><header>"
        f'<h1>{_e(board.title)}<span class="not">a preview, not Grafana</span></h1>'
        f"<p>{_e(board.told)}</p><nav>{links}</nav>{_form(found, refresh_s)}"
        f"<p>{_e(url)} at {when:%Y-%m-%d %H:%M:%S} UTC, a point every "
        f"{units.shown(found.span.step_s, 's')}, rates over "
        f"{units.shown(found.span.rate_s, 's')}</p>{_told_marks(found)}</header>"
        f"<main>{panels}</main></body></html>\n"
    )


def _e(text: str) -> str:
    return html.escape(str(text))


def _form(found: answers.Answered, refresh_s: int) -> str:
    fields = [_field(found, one) for one in found.board.variables]
    minutes = round((found.span.end_s - found.span.begin_s) / 60)
    shown = [("minutes", "Time shown (min)", sorted({*MINUTES, minutes}), minutes)]
    shown.append(("refresh", "Load anew (s)", list(REFRESHES_S), refresh_s))
    for name, label, values, now in shown:
        options = _options((str(one) for one in values), [str(now)])
        fields.append(f'<label>{label}<select name="{name}">{options}</select></label>')
    return f'<form method="get">{"".join(fields)}<button>Show</button></form>'


def _field(found: answers.Answered, variable: boards.Variable) -> str:
    name, label = _e(variable.name), _e(variable.label)
    chosen = [one for one in found.chosen.get(variable.name, ()) if one]
    if said := found.refused.get(variable.name):
        return f'<label>{label}<span class="error">{_e(said)}</span></label>'
    if not variable.query:
        value = _e(chosen[0] if chosen else variable.default)
        return f'<label>{label}<input name="{name}" value="{value}"></label>'
    values = [boards.ALL, *found.options[variable.name]]
    options = _options(values, chosen or [boards.ALL])
    multi = " multiple size=2" if variable.multi else ""
    return f'<label>{label}<select name="{name}"{multi}>{options}</select></label>'


def _options(values: Iterable[str], chosen: Sequence[str]) -> str:
    return "".join(
        f'<option value="{_e(one)}"{" selected" * (one in chosen)}>'
        f"{'All' if one == boards.ALL else _e(one)}</option>"
        for one in values
    )


def _marks(found: answers.Answered) -> list[tuple[float, str]]:
    return sorted(
        (begun, _KNOWN.get(mark.colour, mark.colour))
        for mark in found.board.marks
        for one in found.marks[mark.name].series
        for begun in _begins(one, found.span)
    )


def _begins(one: asking.Series, span: filling.Span) -> list[float]:
    """Where samples begin after a time without."""
    seconds = [at for at, _ in one.points]
    before = [float("-inf"), *seconds]
    return [at for at, last in zip(seconds, before, strict=False) if at - last > 1.5 * span.step_s]


def _told_marks(found: answers.Answered) -> str:
    told = []
    for mark in found.board.marks:
        said = found.marks[mark.name]
        if said.refusal:
            told.append((0.0, f'<span class="error">{_e(mark.name)}: {_e(said.refusal)}</span>'))
        for one in said.series:
            name = _e(filling.legend(mark.title, one.labels))
            swatch = f'<i style="background:{_KNOWN.get(mark.colour, mark.colour)}"></i>'
            for begun in _begins(one, found.span):
                at = dt.datetime.fromtimestamp(begun, tz=dt.UTC)
                told.append((begun, f"<li>{swatch}{at:%H:%M:%S} {name}</li>"))
    return f"<ul>{''.join(text for _, text in sorted(told))}</ul>" if told else ""


def _panel(found: answers.Answered, panel: boards.Panel, marks: drawing.Lines) -> str:
    x, y, w, h = panel.place
    where = f"grid-column:{x + 1}/span {w};grid-row:{y + 1}/span {h}"
    if panel.kind == "row":
        return f'<h2 style="{where}">{_e(panel.title)}</h2>'
    said = found.panels[panel.number]
    refusals = [one.refusal for one in said if one.refusal]
    if refusals:
        inside = f'<div class="error">query failed: {_e("; ".join(refusals))}</div>'
    elif not any(one.series for one in said):
        inside = _nothing(panel)
    else:
        draw = _KINDS.get(panel.kind)
        inside = draw(found, panel, marks) if draw else _unknown(panel)
    head = f'<h3 title="{_e(panel.told)}">{_e(panel.title)}</h3>'
    return f'<section id="panel-{panel.number}" style="{where}">{head}{inside}</section>'


def _nothing(panel: boards.Panel) -> str:
    if panel.nothing:
        return f'<div class="none">{_e(panel.nothing)}</div>'
    told = f"<small>{_e(panel.told)}</small>" if panel.kind != "stat" else ""
    return f'<div class="none">no data{told}</div>'


def _unknown(panel: boards.Panel) -> str:
    return f'<div class="error">the preview does not draw panels of type {_e(panel.kind)}</div>'


def _named(found: answers.Answered, panel: boards.Panel) -> list[drawing.Named]:
    named = [
        (filling.legend(query.legend, one.labels), one)
        for query, said in zip(panel.queries, found.panels[panel.number], strict=True)
        for one in said.series
    ]
    return sorted(named, key=lambda one: one[0]) if len(panel.queries) == 1 else named


def _size(panel: boards.Panel, legend_px: int) -> tuple[int, int]:
    return panel.place[2] * COLUMN_PX - 8, panel.place[3] * LINE_PX - 28 - legend_px


def _graph(found: answers.Answered, panel: boards.Panel, marks: drawing.Lines) -> str:
    named = _named(found, panel)
    told = [(name, units.shown(one.points[-1][1], panel.unit)) for name, one in named[:LEGEND_MAX]]
    more = len(named) - LEGEND_MAX
    last = [f"and {more} more"] if more > 0 else []
    legend_px = _legend_px([*(f"{name} {value}" for name, value in told), *last], panel.place)
    drawn = drawing.lines(
        named, found.span, panel.unit, _size(panel, legend_px), marks, stacked=panel.stacked
    )
    rows = [
        f'<li><i style="background:{drawing.colour(at)}"></i>{_e(name)} <b>{_e(value)}</b></li>'
        for at, (name, value) in enumerate(told)
    ]
    rows += [f"<li>{one}</li>" for one in last]
    return f'{drawn}<ul style="max-height:{legend_px - 4}px">{"".join(rows)}</ul>'


def _legend_px(entries: Iterable[str], place: tuple[int, int, int, int]) -> int:
    """The height that a legend needs, at most half the panel's: a picture cannot be scrolled."""
    _x, _y, columns, height = place
    wide = columns * COLUMN_PX - 24
    lines, taken = 1, 0
    for one in entries:
        needs = min(wide, 24 + LETTER_PX * len(one))
        if taken + needs > wide:
            lines, taken = lines + 1, 0
        taken += needs
    return min(max(48, 15 * lines + 8), height * LINE_PX // 2)


def _number(found: answers.Answered, panel: boards.Panel, _: drawing.Lines) -> str:
    shown = []
    for _name, one in _named(found, panel):
        value = one.points[-1][1]
        bad = panel.warn is not None and value >= panel.warn
        told = _e(units.shown(value, panel.unit))
        shown.append(f'<div class="big{" bad" * bad}">{told}</div>')
    return "".join(shown)


def _heat(found: answers.Answered, panel: boards.Panel, _: drawing.Lines) -> str:
    series = [one for said in found.panels[panel.number] for one in said.series]
    bounds = [(float(one.labels["le"]), one) for one in series]
    return drawing.heat(bounds, found.span, panel.unit, _size(panel, 8))


def _table(found: answers.Answered, panel: boards.Panel, _: drawing.Lines) -> str:
    rows: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
    for at, said in enumerate(found.panels[panel.number]):
        for one in said.series:
            labels = tuple(sorted((k, v) for k, v in one.labels.items() if k != "__name__"))
            rows.setdefault(labels, {})[at] = one.points[-1][1]
    names = sorted({name for labels in rows for name, _ in labels})
    head = [*names, *(query.legend for query in panel.queries)]
    body = ""
    for labels, values in sorted(rows.items()):
        cells = "".join(f"<td>{_e(dict(labels).get(name, ''))}</td>" for name in names)
        for at in range(len(panel.queries)):
            told = units.shown(values[at], panel.unit) if at in values else ""
            cells += f'<td class="n">{_e(told)}</td>'
        body += f"<tr>{cells}</tr>"
    titles = "".join(f"<th>{_e(one)}</th>" for one in head)
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'


_KINDS: Final[dict[str, Callable[[answers.Answered, boards.Panel, drawing.Lines], str]]] = {
    "timeseries": _graph,
    "stat": _number,
    "heatmap": _heat,
    "table": _table,
}
