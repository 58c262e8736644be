"""Metrics of the inventory source alone; its loop's are those of every sink."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge

SUPPLY_NODES: Final = Gauge(
    "bidplane_supply_nodes",
    "Nodes of the host cluster that the market sells from, and those it does not.",
    ["market", "state"],
)
