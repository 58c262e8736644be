"""The stages of a bid and of a lease's ending, each since the one before it: one histogram for all.

Decides their names and buckets, and what a process says of its build. Who observes which stage, and
between which moments, is told in METRICS.md; means of a bid's stages add up to its whole way.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

import prometheus_client

from bidplane_streams import instruments

# From what a broker does in a millisecond to what a pod's image may take.
BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300,
)  # fmt: skip
OF_A_BID: Final = ("sent", "acked", "admitted", "closed", "awarded", "allocated", "ready")
OF_AN_ENDING: Final = ("notice", "evicted", "deallocated", "on_sale")

STAGE_S: Final = instruments.Histogram(
    "bidplane_stage_seconds",
    "One stage of a bid or of an ending, since the stage before it.",
    ["stage", "market"],
    buckets=BUCKETS_S,
)
BUILD_INFO: Final = prometheus_client.Gauge(
    "bidplane_build_info", "1, with the version that runs.", ["version", "component"]
)


def says_its_build(component: str) -> None:
    """Name this process's component and version."""
    BUILD_INFO.labels(importlib.metadata.version("bidplane"), component).set(1)
