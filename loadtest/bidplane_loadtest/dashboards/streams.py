"""The dashboard Streams: lanes, lag, dead letters, sinks, and the processes themselves."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import parts
from bidplane_loadtest.dashboards.parts import BYTES, COUNT, PER_SECOND, RATE, SECONDS
from bidplane_loadtest.dashboards.wording import OURS, quantile, rate

LANE_S = "bidplane_lane_transaction_seconds"


def build() -> models.Dashboard:
    """All its rows."""
    return parts.assembled(
        "bidplane-streams", "bidplane: Streams",
        "The lanes between Kafka and Kafka, the sinks, and what their processes use.",
        [], [],
        [
            ("Now", _now()), ("Lanes", _lanes()), ("Transactions", _transactions()),
            ("Sinks", _sinks()), ("Processes", _processes()),
        ],
    )  # fmt: skip


def _now() -> list[parts.Panel]:
    dead = "sum(bidplane_dead_letters_total) or vector(0)"
    firing = 'count(ALERTS{alertname=~"Bidplane.*",alertstate="firing"}) or vector(0)'
    return [
        parts.number("Processes that answer", "Of all that are scraped.",
                     COUNT, f"sum(up{{{OURS}}})"),
        parts.number("Processes that do not", "Scraped in vain.",
                     COUNT, f"count(up{{{OURS}}} == 0) or vector(0)", warn=1),
        parts.number("Partitions open", "Over all lanes and workers.",
                     COUNT, "sum(bidplane_lane_partitions)"),
        parts.number("Lag", "Records that no lane has applied yet.",
                     COUNT, "sum(bidplane_lane_lag_records)"),
        parts.number("Dead letters", "Since the workers started.", COUNT, dead, warn=1),
        parts.number("Alerts that fire", "By bidplane's own rules.", COUNT, firing, warn=1),
    ]  # fmt: skip


def _lanes() -> list[parts.Panel]:
    lag = "sum by (lane, topic) (bidplane_lane_lag_records)"
    dead = "sum by (topic, reason) (bidplane_dead_letters_total)"
    return [
        parts.graph("Records applied", "By lane and topic.", PER_SECOND,
                    (rate("bidplane_lane_records_total", "", "lane, topic"), "{{lane}} {{topic}}")),
        parts.graph("Events written", "By lane and topic.", PER_SECOND,
                    (rate("bidplane_events_total", "", "lane, topic"), "{{lane}} {{topic}}")),
        parts.graph("Lag", "Records not yet applied.", COUNT, (lag, "{{lane}} {{topic}}")),
        parts.graph("Partitions open", "By lane and worker.", COUNT,
                    ("sum by (lane, instance) (bidplane_lane_partitions)",
                     "{{lane}} {{instance}}"), stacked=True),
        parts.graph("Outcomes routed", "Copied to the tenants' own topics.", PER_SECOND,
                    ("sum(rate(bidplane_routed_records_total" + RATE + "))", "records")),
        parts.graph("Dead letters", "Records that could not be verified or decoded.", COUNT,
                    (dead, "{{topic}}: {{reason}}")),
    ]  # fmt: skip


def _transactions() -> list[parts.Panel]:
    return [
        parts.graph("Transactions", "Begin to commit, by lane: p50.", SECONDS,
                    (quantile(0.5, LANE_S, "", "lane"), "{{lane}}"), width=6),
        parts.graph("Slowest transactions", "Begin to commit, by lane: p99.", SECONDS,
                    (quantile(0.99, LANE_S, "", "lane"), "{{lane}}"), width=6),
        parts.graph("Decisions", "One decision over one batch: p99.", SECONDS,
                    (quantile(0.99, "bidplane_lane_decide_seconds", "", "lane"), "{{lane}}"),
                    width=6),
        parts.graph("Partitions taken over",
                    "Mean time to fence, restore and seek a partition, since the start.",
                    SECONDS,
                    (("sum by (lane) (bidplane_lane_open_seconds_sum)"
                     " / (sum by (lane) (bidplane_lane_open_seconds_count) > 0)"), "{{lane}}"),
                    width=6),
    ]  # fmt: skip


def _sinks() -> list[parts.Panel]:
    return [
        parts.graph("In sync", "1 while a sink believes what it sees.", COUNT,
                    ("min by (sink) (bidplane_sink_synced)", "{{sink}}")),
        parts.graph("Waiting", "Objects that wait for another try.", COUNT,
                    ("sum by (sink) (bidplane_sink_waiting)", "{{sink}}")),
        parts.graph("Planning", "The 99th percentile of one plan.", SECONDS,
                    (quantile(0.99, "bidplane_sink_plan_seconds", "", "sink"), "{{sink}}")),
    ]  # fmt: skip


def _processes() -> list[parts.Panel]:
    cpu = f"rate(process_cpu_seconds_total{{{OURS}}}{RATE})"
    age = f"time() - process_start_time_seconds{{{OURS}}}"
    running = "max by (component, version) (bidplane_build_info)"
    return [
        parts.graph("CPU", "Cores in use.", COUNT, (cpu, "{{instance}}")),
        parts.graph("Memory", "Resident.", BYTES,
                    (f"process_resident_memory_bytes{{{OURS}}}", "{{instance}}")),
        parts.graph("Files open", "Descriptors.", COUNT,
                    (f"process_open_fds{{{OURS}}}", "{{instance}}")),
        parts.rows("Running since", "How long each process runs.", SECONDS,
                   (f"sum by (job, instance) ({age})", "age")),
        parts.rows("Versions", "What runs; two versions mean an upgrade stands half done.",
                   COUNT, (running, "processes")),
    ]  # fmt: skip
