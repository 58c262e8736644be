"""The report: one page that needs no network, and pictures where matplotlib is installed."""

from __future__ import annotations

import base64
import importlib.util
import pathlib
import re

import pytest

from bidplane_agents import cli
from bidplane_loadtest.simulator import metrics, play, plots, report
from simulator import scenes
from simulator.scenes import HOUR, job, scene


def played(policy: str = "fifo") -> play.Played:
    """A run of two jobs."""
    history = scenes.play(scene(job(0, 8), job(1, 4), hours=3), policy)
    return play.Played(metrics.result(policy, history, 0.5), history)


def test_the_page_needs_nothing_else() -> None:
    """The page holds its table and pictures, and refers to no other file or host."""
    page = report.page([played(), played("market-greedy")], {"prices": b"png", "table": b"t"})
    assert "market-greedy" in page
    assert base64.b64encode(b"png").decode() in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "//" not in page


def test_utilisation_is_the_mean_between_points() -> None:
    """One hour of eight GPUs, one of four and one of none, as percent held."""
    points = plots.busy_percent(played().history)
    held = {percent for _, percent in points}
    assert held == {100.0, 50.0, 0.0}
    assert sum(percent for _, percent in points) / len(points) == pytest.approx(50.0)
    assert points[-1][0] == 3 * HOUR / 3_600_000


def test_the_command_writes_a_report_or_says_what_is_missing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With matplotlib there are four pictures and a page; without it the mend is named."""
    folder = tmp_path / "out"
    asked = ["--jobs", "30", "--shrink", "400", "--policy", "best-fit", "--policy", "fifo"]
    code = cli.run(["simulate", *asked, "--report", str(folder)])
    if importlib.util.find_spec("matplotlib") is None:
        assert code == 2
        assert "pip install 'bidplane[loadtest]'" in capsys.readouterr().err
        return
    assert code == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["prices.png", "report.html", "table.png", "utilisation.png", "waits.png"]
