"""The chart's rules: Prometheus takes them, every alert fires, and every alert is silent."""

from __future__ import annotations

import pathlib
import re
import subprocess
from typing import Any

import pytest

import chart_rules
from bidplane_streams.embedded import assets

METRIC = re.compile(r"\b(?:bidplane_[a-z_]+|kube_[a-z_]+|process_[a-z_]+|up\b)")


def promtool(*words: str) -> str:
    """What promtool says; it must succeed."""
    done = subprocess.run(
        [str(assets.program("promtool")), *words],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_every_rule() -> None:
    """`promtool check rules` finds nothing to say against any file."""
    files = sorted(chart_rules.RULES.glob("*.yaml"))
    told = promtool("check", "rules", *(str(one) for one in files))
    print(told)
    assert told.count("SUCCESS") == len(files)


@pytest.mark.parametrize(
    "file", sorted(chart_rules.CASES.glob("*.yaml")), ids=lambda one: str(one.stem)
)
def test_alerts_do_what_their_cases_say(file: pathlib.Path) -> None:
    """`promtool test rules` finds every case true."""
    print(promtool("test", "rules", str(file)))


def test_every_alert_has_cases_both_ways() -> None:
    """Every alert has a case in which it fires and one with its metrics in which it is silent."""
    fires: set[str] = set()
    silent: set[str] = set()
    for case in chart_rules.cases():
        given = " ".join(one["series"] for one in case["input_series"])
        for asked in case["alert_rule_test"]:
            name = asked["alertname"]
            assert case["name"].startswith(name), case["name"]
            if asked["exp_alerts"]:
                fires.add(name)
            elif any(metric in given for metric in METRIC.findall(_expression(name))):
                silent.add(name)
    assert fires == set(chart_rules.alerts())
    assert silent == set(chart_rules.alerts())


def _expression(alert: str) -> str:
    """The alert's expression with those of the recorded series that it names."""
    known = chart_rules.recorded()
    expr = str(chart_rules.alerts()[alert]["expr"])
    for _ in range(2):  # a recorded series may stand on another one
        expr += "\n".join(known.get(name, "") for name in re.findall(r"bidplane:[\w:]+", expr))
    return expr


def test_every_rule_is_in_the_list_of_queries() -> None:
    """QUERIES.md of the dashboards has one line for each rule, and none for another."""
    text = (chart_rules.RULES.parent / "dashboards" / "QUERIES.md").read_text()
    told = re.findall(r"^ +rules/\w+ +((?:alert|record) \S+) +\d+$", text, re.MULTILINE)
    wanted = [f"{kind} {rule[kind]}" for rule in chart_rules.rules() for kind in _kinds(rule)]
    assert sorted(told) == sorted(wanted)


def _kinds(rule: dict[str, Any]) -> list[str]:
    return [kind for kind in ("alert", "record") if kind in rule]


def test_every_alert_says_what_to_do() -> None:
    """Every alert has a severity, a summary, a description and a section in the runbook."""
    book = (chart_rules.RULES / "README.md").read_text()
    for name, rule in chart_rules.alerts().items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook"}, name
        assert notes["runbook"] == f"helm/bidplane/rules/README.md#{name.lower()}"
    assert set(re.findall(r"^### (\w+)$", book, re.MULTILINE)) == set(chart_rules.alerts())
