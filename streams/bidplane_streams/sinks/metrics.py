"""Metrics of sinks, and of the loop that runs sinks and sources; stages are in ``stages``.

Decides names, labels and buckets. Labels are few and bounded: never an agent, a bid or a lease.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_ACTIONS_S: Final = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

ACTIONS: Final = Counter(
    "bidplane_sink_actions", "Steps taken towards the desired state.", ["sink", "action", "outcome"]
)
ACTION_S: Final = Histogram(
    "bidplane_sink_action_seconds", "One step.", ["sink", "action"], buckets=_ACTIONS_S
)
PLAN_S: Final = Histogram("bidplane_sink_plan_seconds", "One plan.", ["sink"])
SYNCED: Final = Gauge(
    "bidplane_sink_synced", "1 while everything observed may be believed.", ["sink"]
)
WAITING: Final = Gauge("bidplane_sink_waiting", "Keys that wait for another try.", ["sink"])
PLANES: Final = Gauge(
    "bidplane_planes", "Agents' control planes: wanted, and of these ready, starting, failed.",
    ["state"],
)  # fmt: skip
VIRTUAL_NODES: Final = Gauge(
    "bidplane_virtual_nodes", "Nodes that stand in agents' clusters.", ["market"]
)
HOST_PODS: Final = Gauge(
    "bidplane_host_pods", "Agents' pods in the host cluster.", ["market", "state"]
)
