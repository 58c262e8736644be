"""What `up --prometheus` tells Prometheus to scrape, and by which rules."""

from __future__ import annotations

import json
import pathlib

import pytest

from bidplane_streams import watched
from bidplane_streams.embedded import errors, prometheus

CHART_RULES = ["alerts.yaml", "audit.yaml", "recording.yaml", "slo.yaml"]


def test_targets_carry_their_component(tmp_path: pathlib.Path) -> None:
    """Each process is a target with its component as the job and its name as the instance."""
    names = {"worker": 1, "worker-1": 2, "sink-claims-pool-b": 3}
    chosen = {name: (watched.component(name), port) for name, port in names.items()}
    prometheus.write_targets(tmp_path / "targets" / "system.json", chosen)
    (only,) = (tmp_path / "targets").iterdir()
    told = json.loads(only.read_text())
    assert [(one["labels"]["job"], one["targets"]) for one in told] == [
        ("worker", ["127.0.0.1:1"]), ("worker", ["127.0.0.1:2"]), ("sink-claims", ["127.0.0.1:3"]),
    ]  # fmt: skip
    assert told[2]["labels"]["instance"] == "sink-claims-pool-b"


def test_rules_are_the_charts_or_those_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a setting the chart's rules are loaded, and a folder without any is refused."""
    monkeypatch.delenv("BIDPLANE_RULES", raising=False)
    assert [one.name for one in watched.rules()] == CHART_RULES
    monkeypatch.setenv("BIDPLANE_RULES", str(tmp_path))
    with pytest.raises(errors.PrerequisiteMissing, match="name rule files"):
        watched.rules()
    (tmp_path / "mine.yaml").touch()
    assert watched.rules() == [tmp_path / "mine.yaml"]
