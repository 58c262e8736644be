"""Rights at Kafka: the rows cover what the code reads and writes; the chart has the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bidplane_streams.lanes import accounts, markets
from bidplane_topics import registry, rights

STREAMS = Path(__file__).parents[2] / "streams/bidplane_streams"
EXPORTED = Path(__file__).parents[2] / "helm/bidplane/files/acls.json"


def _allowed(component: str, operation: str) -> set[str]:
    rows = rights.COMPONENTS[component]
    return {row.name for row in rows if row.kind == "topic" and operation in row.operations}


def test_the_chart_has_the_rows_of_the_code() -> None:
    """`acls.json` is what `rights.exported()` says, written by `codec.pretty`."""
    assert json.loads(EXPORTED.read_text()) == rights.exported()


def test_a_worker_may_read_and_write_what_its_lanes_name() -> None:
    """Inputs, globals and changelogs are readable; outputs and changelogs are writable."""
    for lane in (accounts, markets):
        read = {topic.name for topic in (*lane.INPUTS, *lane.GLOBALS, lane.CHANGELOG)}
        assert read <= _allowed("worker", "Read")
        written = {topic.name for topic in (*lane.OUTPUTS, lane.CHANGELOG)}
        assert written <= _allowed("worker", "Write")


def test_only_the_accounts_lane_and_auditors_read_bids() -> None:
    """A sealed bid is closed to every other component."""
    readers = {name for name in rights.COMPONENTS if registry.BIDS.name in _allowed(name, "Read")}
    assert readers == {"worker", "operator", "auditor"}


def test_an_agent_has_no_right_by_prefix() -> None:
    """Its rows name topics in full, so that no tenant's name can be the beginning of another's."""
    assert {row.pattern for row in rights.agent("research")} == {"literal"}


def test_nobody_but_the_operator_declares_markets_or_money() -> None:
    """Markets, agents and accounts have one writer."""
    for topic in (registry.MARKETS, registry.AGENTS, registry.ACCOUNTS):
        writers = {name for name in rights.COMPONENTS if topic.name in _allowed(name, "Write")}
        assert writers == {"operator"}


@pytest.mark.parametrize(
    ("component", "modules"),
    [
        ("sink-claims", ("sinks/claims.py", "sinks/standing.py")),
        ("sink-clusters", ("sinks/clusters.py",)),
        ("sink-nodes", ("sinks/nodes.py",)),
        ("source-inventory", ("handover_wires.py",)),
    ],
)
def test_a_component_may_use_every_topic_that_its_code_names(
    component: str, modules: tuple[str, ...]
) -> None:
    """A table or report that is added to a sink needs its row here."""
    source = "".join((STREAMS / name).read_text() for name in modules)
    named = {getattr(registry, word).name for word in re.findall(r"registry\.([A-Z_]+)\b", source)}
    assert named <= _allowed(component, "Read") | _allowed(component, "Write")
