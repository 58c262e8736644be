"""The openb node and pod lists (Alibaba cluster-trace-gpu-v2023) as nodes and pods.

Decides which columns count. Refuses to know time's scale: that is workload.py.
"""

from __future__ import annotations

import pathlib
from typing import Final, NamedTuple, get_args

from bidplane_loadtest.jobs import Qos
from bidplane_loadtest.simulator import rows
from bidplane_loadtest.simulator.cluster import WHOLE, Node, Request
from bidplane_loadtest.traces import TraceUnusable

NODE_COLUMNS: Final = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS: Final = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "creation_time",
    "deletion_time",
)  # fmt: skip
SPEC: Final = "gpu_spec"
GPUS_MAX: Final = 8
CLASSES: Final[tuple[Qos, ...]] = get_args(Qos)


class Pod(NamedTuple):
    """A line of the pod list; times in the trace's seconds."""

    name: str
    request: Request
    qos: Qos
    created_s: int
    duration_s: int


def nodes(path: pathlib.Path) -> tuple[Node, ...]:
    """Read a node list, in order of names.

    Raises:
        TraceUnusable: no such file, no such column, or a field that cannot be used.
    """
    found = []
    for row in rows.read(path, NODE_COLUMNS, "the openb node list"):
        gpus = row.integer("gpu")
        if gpus > GPUS_MAX:
            row.refuse("gpu", f"{gpus}: a node has at most {GPUS_MAX}")
        found.append(
            Node(
                row.text("sn"), row.integer("cpu_milli", 1), row.integer("memory_mib", 1), gpus,
                row.text("model"),
            )
        )  # fmt: skip
    if not any(node.gpus for node in found):
        raise TraceUnusable(f"{path}: no node with a GPU in it: give the openb node list")
    return tuple(sorted(found))


def pods(path: pathlib.Path) -> tuple[Pod, ...]:
    """Read a pod list, in the file's order; pods without a GPU are among them.

    Raises:
        TraceUnusable: no such file, no such column, or a field that cannot be used.
    """
    found = [_pod(row) for row in rows.read(path, POD_COLUMNS, "the openb pod list")]
    if not any(pod.request.gpus for pod in found):
        raise TraceUnusable(f"{path}: no pod with a GPU in it: give the openb pod list")
    return tuple(found)


def _pod(row: rows.Row) -> Pod:
    created_s, deleted_s = row.integer("creation_time"), row.integer("deletion_time")
    if deleted_s < created_s:
        row.refuse("deletion_time", f"{deleted_s} is before creation_time {created_s}")
    qos = next((one for one in CLASSES if one == row.text("qos")), None)
    if qos is None:
        row.refuse("qos", f"{row.text('qos')!r} is none of {', '.join(CLASSES)}")
    return Pod(row.text("name"), _request(row), qos, created_s, deleted_s - created_s)


def _request(row: rows.Row) -> Request:
    gpus, milli = row.integer("num_gpu"), row.integer("gpu_milli")
    if gpus > GPUS_MAX:
        row.refuse("num_gpu", f"{gpus}: more than the {GPUS_MAX} devices of a node")
    if gpus and not 1 <= milli <= WHOLE:
        row.refuse("gpu_milli", f"{milli}: a pod with a GPU wants 1 to {WHOLE} of each")
    return Request(
        row.integer("cpu_milli"), row.integer("memory_mib"), gpus, milli if gpus else 0,
        _models(row),
    )  # fmt: skip


def _models(row: rows.Row) -> tuple[str, ...]:
    """Models a pod insists on; a list without the column insists on none."""
    try:
        text = row.text(SPEC)
    except KeyError:
        return ()
    return tuple(sorted(part for part in text.split("|") if part))
