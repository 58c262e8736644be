"""What the dashboards' preview says and draws where there is little to show, or little room."""

from __future__ import annotations

import itertools
import pathlib
import re

import pytest

from bidplane_agents.errors import BadInput
from bidplane_loadtest.preview import answers, asking, boards, choosing, drawing, filling, page

SPAN = filling.Span(0.0, 1800.0, 5.0)
GOOD = '{"title": "x", "panels": [], "templating": {}, "annotations": {}}'


def board(*panels: boards.Panel) -> boards.Board:
    """A dashboard with the variable market."""
    market = boards.Variable("market", "Market", "label_values(m, market)", True, ".*", boards.ALL)
    return boards.Board("x", "X", "", panels, (market,), ())


def panel(kind: str, width: int = 6, nothing: str = "") -> boards.Panel:
    """A panel of one question."""
    asked = (boards.Query("A", "m", "{{lane}}", instant=False),)
    place = (0, 0, width, 8)
    return boards.Panel(1, kind, "P", "Of bids.", "bytes", place, False, None, asked, nothing)


def told(shown: boards.Panel, *series: asking.Series) -> answers.Answered:
    """A dashboard of one panel with these answers; Prometheus has the market `pool-a` alone."""
    chosen = {"market": ["zzz", "pool-a", boards.ALL]}
    said = {1: (answers.Answer(tuple(series)),)}
    return answers.Answered(board(shown), SPAN, {"market": ["pool-a"]}, {}, chosen, said, {})


def test_a_value_that_nothing_has_is_noted() -> None:
    """A chosen value that Prometheus does not have is named, with those that it has."""
    (note,) = choosing.strange_values(told(panel("stat")))
    assert "market=zzz" in note
    assert "there are pool-a" in note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title":\n "x",\n}', ", line 3: not JSON"),
        ('{"title": "x"}', "it lacks `panels`"),
        ("[]", "where another belongs"),
        (GOOD.replace("[]", '["x"]'), "where another belongs"),
    ],
)
def test_a_file_that_is_no_dashboard_is_told_in_plain_words(
    tmp_path: pathlib.Path, text: str, said: str
) -> None:
    """A file that is no dashboard is refused with what it lacks and where, in no Python words."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadInput) as refused:
        boards.read_all(tmp_path)
    assert said in str(refused.value)
    assert "Error" not in str(refused.value)


def test_a_panel_without_data_says_what_would_be_there() -> None:
    """Without data a figure says its own word, and a graph what it shows."""
    figure = page.whole(told(panel("stat", nothing="no rounds")), ["x"], "http://p", 0)
    graph = page.whole(told(panel("timeseries")), ["x"], "http://p", 0)
    assert '<div class="none">no rounds</div>' in figure
    assert '<div class="none">no data<small>Of bids.</small></div>' in graph


def test_a_legend_has_the_room_that_it_needs() -> None:
    """The legend of many series with long names is as high as its lines, at most half the panel."""
    series = [
        asking.Series({"lane": f"accounts bidplane.bids.v{at}"}, ((0.0, 1.0), (60.0, 2.0)))
        for at in range(9)
    ]
    wide, narrow = (
        page.whole(told(panel("timeseries", width), *series), ["x"], "http://p", 0)
        for width in (24, 6)
    )
    heights = [int(re.findall(r'max-height:(\d+)px">', text)[0]) for text in (wide, narrow)]
    assert heights[0] == 44
    assert 100 < heights[1] <= 8 * page.LINE_PX // 2


@pytest.mark.parametrize("columns", [4, 6, 8, 12])
def test_times_below_a_narrow_panel_stand_apart(columns: int) -> None:
    """Times on the axis of a panel of any width are several where they fit, and never touch."""
    width = columns * page.COLUMN_PX - 8
    for seconds in (300.0, 600.0, 1800.0, 10_800.0):
        span = filling.Span(1e9, 1e9 + seconds, 5.0)
        series = asking.Series({}, ((1e9, 1.0), (1e9 + seconds, 3.0)))
        text = drawing.lines([("a", series)], span, "short", (width, 200), [], stacked=False)
        axis = text[text.index('id="matplotlib.axis_1"') : text.index('id="matplotlib.axis_2"')]
        places = [float(one) for one in re.findall(r'<use [^>]*x="([\d.]+)"', axis)]
        pixels = [place * drawing.DOTS_AN_INCH / 72 for place in dict.fromkeys(places)]
        gaps = [b - a for a, b in itertools.pairwise(pixels)]
        assert len(pixels) >= (2 if columns >= 6 else 1), (seconds, pixels)
        assert min(gaps, default=99.0) > 50.0, (seconds, pixels)


def test_long_figures_push_the_axis_to_the_right() -> None:
    """An axis with long figures begins further right than one with short ones."""
    drawn = [
        drawing.lines(
            [("a", asking.Series({}, ((0.0, 0.5), (60.0, 1.0))))], SPAN, unit, (400, 200), [],
            stacked=False,
        )
        for unit in ("short", "suffix: credits a slot")
    ]  # fmt: skip
    first, second = (
        float(re.findall(r'id="patch_2">\s*<path d="M ([\d.]+)', one)[0]) for one in drawn
    )
    assert second > first + 20
