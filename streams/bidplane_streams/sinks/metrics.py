"""Metrics of sinks and sources. Labels are few and bounded: never an agent, a bid or a lease."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_STAGES_S: Final = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

ACTIONS: Final = Counter(
    "bidplane_sink_actions", "Steps taken towards the desired state.", ["sink", "action", "outcome"]
)
ACTION_S: Final = Histogram(
    "bidplane_sink_action_seconds", "One step.", ["sink", "action"], buckets=_STAGES_S
)
PLAN_S: Final = Histogram("bidplane_sink_plan_seconds", "One plan.", ["sink"])
SYNCED: Final = Gauge(
    "bidplane_sink_synced", "1 while everything observed may be believed.", ["sink"]
)
WAITING: Final = Gauge("bidplane_sink_waiting", "Keys that wait for another try.", ["sink"])
STAGE_S: Final = Histogram(
    "bidplane_stage_seconds",
    "allocated and ready: since the award; evicted and deallocated: since the sink saw the ending.",
    ["stage"],
    buckets=_STAGES_S,
)
