"""How many nodes and pods the nodes sink keeps, for its gauges.

Decides what counts as which state. Refuses to change anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bidplane_streams.sinks import metrics, names

Object = dict[str, Any]
STATES: Final = ("pending", "running", "succeeded", "failed", "unknown", "ending")


def count(market: str, nodes: Iterable[Mapping[Any, Object]], host_pods: Iterable[Object]) -> None:
    """Set the gauges from every cluster's ``nodes`` and from the market's pods in the host."""
    standing = sum(
        (one["metadata"].get("labels") or {}).get(names.MARKET) == market
        for cluster in nodes
        for one in cluster.values()
    )
    metrics.VIRTUAL_NODES.labels(market).set(standing)
    found = Counter(map(state, host_pods))
    for name in STATES:
        metrics.HOST_PODS.labels(market, name).set(found[name])


def state(pod: Object) -> str:
    """The pod's phase in small letters, or that it is on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    phase = str((pod.get("status") or {}).get("phase") or "Pending").lower()
    return phase if phase in STATES else "unknown"
