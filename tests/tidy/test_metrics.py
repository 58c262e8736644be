"""The table of metrics is that of the code, and its names keep the rules."""

from __future__ import annotations

import pathlib
import re
from collections import Counter

from bidplane_streams import instruments, metrics, metrics_table, stages
from bidplane_streams.sinks import metrics as sink_metrics
from bidplane_streams.sources import metrics as source_metrics

SOURCES = pathlib.Path(metrics_table.__file__).parent
UNIT = re.compile(r"_(seconds|micros|permille|records|units|info|total|partitions|samples)$")
WORD = re.compile(r"\b[A-Z][A-Z_]+\b")
# What is a plain number of things or a state, by the contract's own name.
PLAIN = {
    "bidplane_orders_resting", "bidplane_leases", "bidplane_sink_stale", "bidplane_sink_synced",
    "bidplane_sink_waiting", "bidplane_planes", "bidplane_virtual_nodes", "bidplane_host_pods",
    "bidplane_supply_nodes",
}  # fmt: skip


def test_the_table_is_that_of_the_code() -> None:
    """METRICS.md holds what `python -m bidplane_streams.metrics_table` would write."""
    told = metrics_table.FILE.read_text(encoding="utf-8")
    assert metrics_table.renewed(told) == told


def test_labels_are_few_and_bounded() -> None:
    """No metric has a label that is not on the list: never an agent, a bid or a lease."""
    wrong = {row.name: row.labels for row in metrics_table.every()
             if not metrics_table.LABELS.issuperset(row.labels)}  # fmt: skip
    assert wrong == {}


def test_names_say_what_they_count() -> None:
    """Every name has the prefix and ends with its unit, counters with `total`."""
    for row in metrics_table.every():
        assert row.name.startswith("bidplane_")
        assert UNIT.search(row.name) or row.name in PLAIN, row.name
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name


def test_every_stage_has_its_two_moments() -> None:
    """The table of stages is in the order of a bid and then of an ending, none left out."""
    assert tuple(metrics_table.MOMENTS) == (*stages.OF_A_BID, *stages.OF_AN_ENDING)


def test_what_is_declared_is_fed() -> None:
    """Every metric is named by the code beside its declaration."""
    words = Counter(WORD.findall("\n".join(one.read_text() for one in SOURCES.rglob("*.py"))))
    for home in (metrics, sink_metrics, source_metrics, stages):
        for name, one in vars(home).items():
            if isinstance(one, instruments.PartitionGauge) or hasattr(one, "_labelnames"):
                assert words[name] > 1, name
