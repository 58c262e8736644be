"""Every metric of bidplane's own, beside those of Faust.

Decides names, labels and buckets. Labels are few and bounded: never an agent, a bid or a lease.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_FAST_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
_SLOW_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30)

LANE_RECORDS: Final = Counter(
    "bidplane_lane_records", "Records applied and committed.", ["lane", "topic"]
)
LANE_TRANSACTION_S: Final = Histogram(
    "bidplane_lane_transaction_seconds", "From begin to commit.", ["lane"], buckets=_FAST_S
)
LANE_DECIDE_S: Final = Histogram(
    "bidplane_lane_decide_seconds", "One decision over one batch.", ["lane"], buckets=_FAST_S
)
LANE_OPEN_S: Final = Histogram(
    "bidplane_lane_open_seconds", "Fence, restore and seek of a partition.", ["lane"],
    buckets=_SLOW_S,
)  # fmt: skip
LANE_PARTITIONS: Final = Gauge("bidplane_lane_partitions", "Partitions open.", ["lane"])
LANE_LAG_RECORDS: Final = Gauge(
    "bidplane_lane_lag_records", "Records not yet applied.", ["lane", "topic", "partition"]
)
DEAD_LETTERS: Final = Counter(
    "bidplane_dead_letters", "Records that nobody could believe.", ["topic", "reason"]
)
EMITTED: Final = Counter("bidplane_events", "Events written by lanes.", ["lane", "topic"])
OUTCOMES: Final = Counter("bidplane_outcomes", "What agents were told.", ["outcome", "reason"])
ROUTED: Final = Counter("bidplane_routed_records", "Outcomes copied to tenants.", ["partition"])
USAGE_SAMPLES: Final = Counter("bidplane_usage_samples", "Telemetry readings taken in.", ["state"])
