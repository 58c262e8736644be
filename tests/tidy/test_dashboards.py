"""The dashboards that the chart ships are what their code makes, and tell their readers enough."""

from __future__ import annotations

import json
import pathlib

from bidplane_loadtest.dashboards import export

CHART = pathlib.Path(__file__).parents[2] / "helm" / "bidplane" / "dashboards"


def test_the_chart_has_what_the_code_makes() -> None:
    """The JSON in the chart is that of `bidplane dashboards export`, byte for byte."""
    there = {path.name: path.read_text(encoding="utf-8") for path in CHART.glob("*.json")}
    assert there == export.texts()


def test_every_panel_tells_what_it_shows() -> None:
    """Every panel has a title, a description, a unit and queries, and no two share an id."""
    uids = set()
    for name, text in export.texts().items():
        board = json.loads(text)
        uids.add(board["uid"])
        assert board["description"], name
        numbers = [panel["id"] for panel in board["panels"]]
        assert numbers == list(range(1, len(numbers) + 1)), name
        for panel in board["panels"]:
            assert panel["title"], (name, panel["id"])
            if panel["type"] == "row":
                continue
            assert panel["description"], (name, panel["title"])
            assert panel["targets"], (name, panel["title"])
            unit = panel["fieldConfig"]["defaults"].get("unit")
            assert unit or panel["options"]["yAxis"]["unit"], (name, panel["title"])
    assert len(uids) == len(export.DASHBOARDS)


def test_no_panel_lies_over_another() -> None:
    """Panels fill the grid of 24 columns without overlap."""
    for name, text in export.texts().items():
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(text)["panels"]:
            grid = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not cells & taken, (name, panel["title"])
            assert max(x for x, _ in cells) < 24, (name, panel["title"])
            taken |= cells
