"""A dashboard's JSON as the preview reads it: panels, queries, variables, annotations.

Decides which parts of Grafana's form count here. Refuses to ask a Prometheus or to draw.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, Final

from bidplane_agents.errors import BadInput

CHART: Final = pathlib.Path(__file__).parents[3] / "helm" / "bidplane" / "dashboards"
ALL: Final = "$__all"


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One expression; ``legend`` may name labels in double braces."""

    ref: str
    expr: str
    legend: str
    instant: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """One panel or row title, and its place on a grid of 24 columns.

    ``nothing`` is what it says where there is no data.
    """

    number: int
    kind: str
    title: str
    told: str
    unit: str
    place: tuple[int, int, int, int]
    stacked: bool
    warn: float | None
    queries: tuple[Query, ...]
    nothing: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """What a reader may choose: values of a label, or a text."""

    name: str
    label: str
    query: str
    multi: bool
    all_value: str
    default: str


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: a mark where its expression has samples."""

    name: str
    colour: str
    expr: str
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """A dashboard."""

    name: str
    title: str
    told: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    marks: tuple[Mark, ...]


def read_all(folder: pathlib.Path) -> dict[str, Board]:
    """Every dashboard of a folder, by file name without its end.

    Raises:
        BadInput: there is none, or a file holds no dashboard.
    """
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise BadInput(f"{folder}: no dashboards there: name a folder with --dashboards")
    return found


def _read(path: pathlib.Path) -> Board:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Board(
            name=path.stem,
            title=raw["title"],
            told=raw.get("description", ""),
            panels=tuple(_panel(one) for one in raw["panels"]),
            variables=tuple(
                _variable(one)
                for one in raw["templating"].get("list", ())
                if one["type"] != "datasource"
            ),
            marks=tuple(_mark(one) for one in raw["annotations"].get("list", ())),
        )
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: not JSON: {error.msg.lower()}") from error
    except KeyError as error:
        missing = error.args[0]
        raise BadInput(f"{path}: no dashboard of Grafana's: it lacks `{missing}`") from error
    except (TypeError, AttributeError, UnicodeDecodeError) as error:
        told = "a list, a text or an object stands where another belongs"
        raise BadInput(f"{path}: no dashboard of Grafana's: {told}") from error
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error


def _panel(raw: dict[str, Any]) -> Panel:
    defaults = raw.get("fieldConfig", {}).get("defaults", {})
    grid = raw["gridPos"]
    stacking = defaults.get("custom", {}).get("stacking", {}).get("mode", "none")
    steps = [one.get("value") for one in defaults.get("thresholds", {}).get("steps", ())]
    unit = raw.get("options", {}).get("yAxis", {}).get("unit") or defaults.get("unit", "")
    return Panel(
        number=raw["id"],
        kind=raw["type"],
        title=raw["title"],
        told=raw.get("description", ""),
        unit=unit,
        place=(grid["x"], grid["y"], grid["w"], grid["h"]),
        stacked=stacking == "normal",
        warn=next((one for one in steps if one is not None), None),
        queries=tuple(
            Query(one["refId"], one["expr"], one.get("legendFormat", ""), one.get("instant", False))
            for one in raw.get("targets", ())
        ),
        nothing=defaults.get("noValue", ""),
    )


def _variable(raw: dict[str, Any]) -> Variable:
    current = raw.get("current", {}).get("value", "")
    return Variable(
        name=raw["name"],
        label=raw.get("label") or raw["name"],
        query=raw["query"] if raw["type"] == "query" else "",
        multi=bool(raw.get("multi")),
        all_value=raw.get("allValue", ""),
        default=current if isinstance(current, str) else ALL,
    )


def _mark(raw: dict[str, Any]) -> Mark:
    return Mark(raw["name"], raw["iconColor"], raw["expr"], raw.get("titleFormat", raw["name"]))
