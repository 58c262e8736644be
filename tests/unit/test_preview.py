"""The dashboards' preview: variables, units, and what it says where it cannot work."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from bidplane_loadtest.preview import boards, filling, units

SPAN = filling.Span(0.0, 2400.0, 1.0)
MANY = boards.Variable("market", "Market", "label_values(m, market)", True, ".*", boards.ALL)
TEXT = boards.Variable("before", "Before", "", False, "", "1h")


@pytest.mark.parametrize(
    ("variable", "values", "filled"),
    [
        (MANY, [], ".*"),
        (MANY, [boards.ALL], ".*"),
        (MANY, ["pool-a"], "pool-a"),
        (MANY, ["a", "b.c"], "(a|b\\\\.c)"),
        (TEXT, [], "1h"),
        (TEXT, ["5m"], "5m"),
    ],
)
def test_chosen_values_become_a_pattern(
    variable: boards.Variable, values: list[str], filled: str
) -> None:
    """All, one and several values, and a typed text, stand in expressions as Grafana puts them."""
    assert filling.chosen_value(variable, values) == filled


def test_intervals_are_wide_enough_for_rates() -> None:
    """The rate's interval holds four scrapes at least, and a step and a scrape."""
    expr = 'rate(a{m=~"$market"}[$__rate_interval]) + b[$__range:${__interval}] + $unknown'
    asked = filling.filled(expr, SPAN, {"market": "x"})
    assert asked == 'rate(a{m=~"x"}[11000ms]) + b[2400000ms:10000ms] + $unknown'
    assert filling.Span(0.0, 60.0, 5.0).rate_s == 20.0


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.0031, "s", "3.1 ms"), (90.0, "s", "1.5 min"), (2e-5, "s", "20 µs"), (0.0, "s", "0"),
        (0.254, "percentunit", "25.4 %"), (3 * 2**20, "bytes", "3 MiB"),
        (1250.0, "ops", "1.25 k/s"), (0.000001, "suffix: cr", "1 µ cr"), (12.0, "short", "12"),
        (-2_000_000.0, "short", "-2 M"),
    ],
)  # fmt: skip
def test_figures_read_well(value: float, unit: str, told: str) -> None:
    """Figures have the unit of their size."""
    assert units.shown(value, unit) == told


def test_marks_on_an_axis_are_round_in_their_unit() -> None:
    """Bytes are marked at powers of two, longer times as a clock has them, the rest by tens."""
    assert units.tick(130 * 2**20, "bytes") == 32 * 2**20
    assert units.tick(3 * 86400.0, "s") == 43_200.0
    assert units.tick(3.0, "s") == units.tick(1e6, "short") == 0.0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("preview", "--dashboard", "none"), 2, "there are budgets"),
        (("check", "--prometheus", "http://127.0.0.1:9"), 4, "is it up?"),
        (("check", "--dir", "nowhere"), 2, "up --prometheus"),
        (("check", "--prometheus", "http://127.0.0.1:9", "--var", "x"), 2, "NAME=VALUE"),
        (("preview", "--dashboards", "."), 2, "no dashboards"),
        (("preview", "--prometheus", "http://127.0.0.1:9"), 4, "is it up?"),
        (("preview", "--prometheus", "garbage"), 2, "give a URL such as"),
        (("preview", "--png", "nope/x.png"), 2, "no folder nope"),
        (("check", "--var", "bogus=zzz"), 2, "there are before, market, scenario, tenant"),
        (("preview", "--var", "tenant=zzz"), 2, "there are market"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: pathlib.Path, words: tuple[str, ...], code: int, said: str
) -> None:
    """Bad input and a server out of reach give one line and their exit code, at once."""
    done = subprocess.run(
        [sys.executable, "-m", "bidplane_agents.cli", "dashboards", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    said_so = [one for one in done.stderr.splitlines() if not one.startswith("asking Prometheus")]
    assert len(said_so) == 1, done.stderr
    assert "http://127.0.0.1" not in done.stdout
