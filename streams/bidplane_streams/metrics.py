"""The metrics of a worker, beside those of Faust.

Decides names, labels and buckets. Labels are few and bounded: never an agent, a bid or a lease.
Stages are in ``stages``; what sinks and sources count is beside them. METRICS.md is made from all.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from bidplane_streams.instruments import PartitionGauge

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
LANE_TOPIC_PARTITIONS: Final = Gauge(
    "bidplane_lane_topic_partitions", "Partitions that the lane's topics have.", ["lane"]
)
LANE_LAG_RECORDS: Final = PartitionGauge(
    "bidplane_lane_lag_records", "Records not yet applied.", ("lane", "topic", "partition")
)
DEAD_LETTERS: Final = Counter(
    "bidplane_dead_letters", "Records that nobody could believe.", ["topic", "reason"]
)
EMITTED: Final = Counter("bidplane_events", "Events written by lanes.", ["lane", "topic"])
OUTCOMES: Final = Counter("bidplane_outcomes", "What agents were told.", ["outcome", "reason"])
ROUTED: Final = Counter("bidplane_routed_records", "Outcomes copied to tenants.", ["partition"])
USAGE_SAMPLES: Final = Counter("bidplane_usage_samples", "Telemetry readings taken in.", ["state"])

# -- rounds: fed by lanes/market_measures ----------------------------------------------------------

CLEARING_S: Final = Histogram(
    "bidplane_clearing_seconds", "The clearing of one round alone, as a pure function.", ["market"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)  # fmt: skip
ROUND_LATENESS_S: Final = Histogram(
    "bidplane_round_lateness_seconds", "How much later a window closed than it was due.",
    ["market"], buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)  # fmt: skip
ROUNDS: Final = Counter("bidplane_rounds", "Rounds closed.", ["market"])
ROUND_ORDERS: Final = Counter(
    "bidplane_round_orders", "Orders that took part in a round, in each anew.", ["market"]
)
ROUND_AWARDED: Final = Counter("bidplane_round_awarded", "Orders that won.", ["market"])
REVENUE: Final = Counter("bidplane_revenue_micros", "What winners were charged.", ["market"])
WINDOW_S: Final = PartitionGauge("bidplane_window_seconds", "A window's length.", ("market",))
ROUND_CLOSED_AT_S: Final = PartitionGauge(
    "bidplane_round_closed_timestamp_seconds", "When the last round closed, since 1970.",
    ("market",),
)  # fmt: skip
ORDERS_RESTING: Final = PartitionGauge(
    "bidplane_orders_resting", "Orders in the book after the last round.", ("market",)
)
PRICE: Final = PartitionGauge(
    "bidplane_price_micros",
    "Mean critical price per unit and slot, in the last round that sold some of the pool.",
    ("market", "pool"),
)
RESERVE: Final = PartitionGauge(
    "bidplane_reserve_micros", "Least price per unit and slot in the last round.",
    ("market", "pool"),
)  # fmt: skip
SCARCITY: Final = PartitionGauge(
    "bidplane_scarcity_permille", "Scarcity of the pool in the last round.", ("market", "pool")
)
UNITS: Final = PartitionGauge(
    "bidplane_units",
    "Sevenths of devices: offered, of these free; leased; occupied by leases that end.",
    ("market", "pool", "state"),
)
LEASES: Final = PartitionGauge(
    "bidplane_leases", "Leases that have not ended.", ("market", "state")
)
LEASE_ENDINGS: Final = Counter(
    "bidplane_lease_endings", "Leases that began to end.", ["market", "reason"]
)
SINK_STALE: Final = PartitionGauge(
    "bidplane_sink_stale",
    "1 while the claims sink's last word is too old, by more than a window: nothing is sold.",
    ("market",),
)  # fmt: skip

# -- money: fed by lanes/account_measures ---------------------------------------------------------

BALANCE: Final = PartitionGauge(
    "bidplane_balance_micros", "What the tenant and its agents may still bid.", ("tenant",)
)
HELD: Final = PartitionGauge(
    "bidplane_held_micros", "What is held for the tenant's orders.", ("tenant",)
)
CREDIT_LIMIT: Final = PartitionGauge(
    "bidplane_credit_limit_micros", "What a period of the tenant's budgets adds, where it has any.",
    ("tenant",),
)  # fmt: skip
GRANTED: Final = Counter(
    "bidplane_granted_micros", "Grants, refills and what an organisation gave.", ["tenant"]
)
CHARGED: Final = Counter(
    "bidplane_charged_micros", "What the tenant's winners were charged.", ["tenant", "market"]
)
REFUNDED: Final = Counter(
    "bidplane_refunded_micros", "What the tenant's leases gave back.", ["tenant", "market"]
)
