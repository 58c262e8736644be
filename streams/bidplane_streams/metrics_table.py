"""METRICS.md, made from the metrics themselves: ``python -m bidplane_streams.metrics_table``.

Decides the table's form, between which moments each stage lies, and which labels may be used at
all. Refuses to name a metric: those stand where they are fed.
"""

from __future__ import annotations

import pathlib
from types import ModuleType
from typing import Final, NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from bidplane_streams import instruments, metrics, stages
from bidplane_streams.sinks import metrics as sink_metrics
from bidplane_streams.sources import metrics as source_metrics

FILE: Final = pathlib.Path(__file__).with_name("METRICS.md")
# Few and bounded: never an agent, a bid or a lease.
LABELS: Final = frozenset(
    {
        "market", "pool", "tenant", "lane", "state", "reason", "outcome", "stage", "topic",
        "partition", "sink", "action", "scenario", "phase", "version", "component",
    }
)  # fmt: skip
HOMES: Final[tuple[tuple[str, ModuleType], ...]] = (
    ("Every process", stages),
    ("Worker", metrics),
    ("Sinks, and the source, whose loop is the same", sink_metrics),
    ("Inventory source", source_metrics),
)
MOMENTS: Final[dict[str, tuple[str, str, str]]] = {
    "sent": ("the moment it was due (header)", "sent by its agent (header)", "worker"),
    "acked": ("sent (header)", "appended by the broker", "worker"),
    "admitted": ("its record's append time", "committed by the accounts lane", "worker"),
    "closed": (
        "its order's append time", "the window that took the order closed", "worker",
    ),
    "awarded": ("the close", "the round that it won is committed", "worker"),
    "allocated": ("its lease's `awarded` record", "its claims stand", "sink-claims"),
    "ready": (
        "bound, or the pod's creation if that is later", "its first pod is ready", "sink-nodes",
    ),
    "notice": (
        "it was due: the lease's end, or the request or report that ends it",
        "the round that tells it is committed", "worker",
    ),
    "evicted": ("its lease's `ending` record", "no pod uses the lease", "sink-claims"),
    "deallocated": ("evicted", "its claims and its anchor are gone", "sink-claims"),
    "on_sale": (
        "the sink's report", "the round that takes it is committed: the next one sells", "worker",
    ),
}  # fmt: skip
_BEGIN: Final = "<!-- made by metrics_table.py: begin -->\n"
_END: Final = "<!-- made by metrics_table.py: end -->\n"


class Row(NamedTuple):
    """One metric as it is exposed."""

    name: str
    kind: str
    labels: tuple[str, ...]
    said: str


def rows(home: ModuleType) -> list[Row]:
    """The metrics of one module, in its order."""
    found = []
    for one in vars(home).values():
        if isinstance(one, instruments.PartitionGauge):
            found.append(Row(one.name, "gauge", one.labelnames, one.documentation))
        elif isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = tuple(one._labelnames)  # noqa: SLF001 - no other way to ask
            found.append(Row(name, family.type, labels, family.documentation))
    return found


def every() -> list[Row]:
    """All metrics of all processes."""
    return [row for _, home in HOMES for row in rows(home)]


def tables() -> str:
    """What is made: a table for each home of metrics, one of stages, and the labels."""
    parts = [f"Labels: {', '.join(sorted(LABELS))}.\n"]
    for title, home in HOMES:
        lines = [f"| `{r.name}` | {r.kind} | {' '.join(r.labels)} | {r.said} |" for r in rows(home)]
        parts.append(f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n")
        parts.append("\n".join(lines) + "\n")
    staged = [f"| `{name}` | {' | '.join(said)} |" for name, said in MOMENTS.items()]
    parts.append("\n## Stages\n\n| stage | from | to | seen by |\n|---|---|---|---|\n")
    parts.append("\n".join(staged) + "\n")
    bounds = " ".join(f"{bound:g}" for bound in stages.BUCKETS_S)
    parts.append(f"\nBuckets in seconds: {bounds}.\n")
    return "".join(parts)


def renewed(text: str) -> str:
    """The file's text with the tables as they must be; the rest is written by hand."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + tables() + _END + after


if __name__ == "__main__":
    FILE.write_text(renewed(FILE.read_text(encoding="utf-8")), encoding="utf-8")
