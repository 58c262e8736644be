"""The dashboard Load test: what was offered, how long it took from the intended moment, and why."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import market, parts, wording
from bidplane_loadtest.dashboards.parts import BYTES, COUNT, PER_SECOND, RATE, SECONDS, SHARE
from bidplane_loadtest.dashboards.wording import MARKET, OURS, quantile, quantiles, rate

RUN = 'scenario=~"$scenario"'
LATENCY = "bidplane_loadtest_latency_seconds"
DECIDED = f'{RUN},stage="decided"'
SCENARIOS = parts.choice(
    "scenario", "Scenario", "The load test's scenario.", "bidplane_loadtest_offered_total"
)
BEFORE = parts.typed(
    "before", "Compare with", "How long ago the other run was, such as 20m or 1d.", "1h"
)


def build() -> models.Dashboard:
    """All its rows."""
    phase = f"bidplane_loadtest_phase{{{RUN}}} == 1"
    return parts.assembled(
        "bidplane-loadtest", "bidplane: Load test",
        "An open-loop run: latencies count from the moment at which a bid was due, sent late or"
        " not. Exact percentiles are in the run's report: here they are read off buckets.",
        [SCENARIOS, market.MARKETS, BEFORE],
        [parts.mark("Phases", "purple", phase, "{{scenario}}: {{phase}}")],
        [
            ("The run", _run()), ("Rates", _rates()), ("Latency from the intended moment",
            _latency()), ("Where the time goes", _stages()), ("What else", _rest()),
            ("Before and after", _compared()),
        ],
    )  # fmt: skip


def _run() -> list[parts.Panel]:
    offered, sent = _sum("offered_total"), _sum("sent_total")
    return [
        parts.number("Offered", "Bids that were due so far.", COUNT, offered),
        parts.number("Sent", "Bids handed to the producer.", COUNT, sent),
        parts.number("Unsent", "Due, and not sent yet.", COUNT, _sum("unsent"), warn=1),
        parts.number("Answered", "Of those offered.", SHARE,
                     f"{_sum('answered_total')} / ({offered} > 0)"),
        parts.number("p99 until decided", "From the intended moment, over the time shown.",
                     SECONDS, "histogram_quantile(0.99, sum by (le) "
                              f"(increase({LATENCY}_bucket{{{DECIDED}}}[$__range])))"),
        parts.number("Generator late", "How late the next send is.",
                     SECONDS, f"max(bidplane_loadtest_lag_seconds{{{RUN}}})", warn=1),
    ]  # fmt: skip


def _sum(name: str, more: str = "") -> str:
    return f"sum(bidplane_loadtest_{name}{{{RUN}{more}}})"


def _per_second(name: str, offset: str = "") -> str:
    return f"sum(rate(bidplane_loadtest_{name}{{{RUN}}}{RATE}{offset}))"


def _rates() -> list[parts.Panel]:
    outcomes = rate("bidplane_loadtest_answered_total", RUN, "outcome")
    return [
        parts.graph("Offered and achieved", "Bids a second: due, sent, answered.", PER_SECOND,
                    (_per_second("offered_total"), "offered"), (_per_second("sent_total"), "sent"),
                    (_per_second("answered_total"), "answered")),
        parts.graph("Generator", "If it is late or holds bids back, the figures below are its own.",
                    SECONDS,
                    (f"max by (scenario) (bidplane_loadtest_lag_seconds{{{RUN}}})",
                     "late {{scenario}}"), width=4),
        parts.graph("Unsent", "Bids that were due and are not sent.", COUNT,
                    (f"sum by (scenario) (bidplane_loadtest_unsent{{{RUN}}})", "{{scenario}}"),
                    width=4),
        parts.graph("Answers", "What bids were told.", PER_SECOND, (outcomes, "{{outcome}}")),
    ]  # fmt: skip


def _latency() -> list[parts.Panel]:
    beyond = "bidplane_loadtest_beyond_close_seconds"
    by_stage = quantile(0.99, LATENCY, RUN, "stage")
    return [
        parts.graph("Until decided", "From the intended moment; windows count.", SECONDS,
                    *quantiles(LATENCY, DECIDED, 0.5, 0.99, 0.999, 1)),
        parts.graph("Beyond the close", "Decided later than the close of the window in which the"
                    " bid was due.", SECONDS, *quantiles(beyond, RUN, 0.5, 0.99, 0.999, 1)),
        parts.graph("p99 by stage", "Acknowledged, admitted, decided, bound: each from the"
                    " intended moment.", SECONDS, (by_stage, "{{stage}}")),
        parts.heat("Until decided", "How many bids took how long.",
                   f"sum by (le) (rate({LATENCY}_bucket{{{DECIDED}}}{RATE}))"),
        parts.heat("Beyond the close", "How many bids were decided how much later.",
                   f"sum by (le) (rate({beyond}_bucket{{{RUN}}}{RATE}))"),
    ]  # fmt: skip


def _stages() -> list[parts.Panel]:
    clearing = quantile(0.99, "bidplane_clearing_seconds", MARKET, "market")
    lag = "sum by (lane, topic) (bidplane_lane_lag_records)"
    return [
        parts.graph("Stages", "Mean of each stage since the one before, as the system saw them.",
                    SECONDS, *wording.stages(wording.OF_A_BID), stacked=True),
        parts.graph("Lag", "Records not yet applied.", COUNT, (lag, "{{lane}} {{topic}}")),
        parts.graph("Clearing against the window", "p99 of the clearing, and the window.", SECONDS,
                    (clearing, "p99 {{market}}"),
                    (f"max by (scenario) (bidplane_loadtest_window_seconds{{{RUN}}})", "window")),
    ]  # fmt: skip


def _rest() -> list[parts.Panel]:
    refused = rate("bidplane_outcomes_total", 'reason!=""', "outcome, reason")
    cpu = f"sum by (instance) (rate(process_cpu_seconds_total{{{OURS}}}{RATE}))"
    memory = f"sum by (instance) (process_resident_memory_bytes{{{OURS}}})"
    return [
        parts.graph("Reasons", "Outcomes that carry a reason.", PER_SECOND,
                    (refused, "{{outcome}}: {{reason}}")),
        parts.graph("CPU", "Cores in use, by process.", COUNT, (cpu, "{{instance}}")),
        parts.graph("Memory", "Resident, by process.", BYTES, (memory, "{{instance}}")),
    ]  # fmt: skip


def _compared() -> list[parts.Panel]:
    ago = " offset $before"

    def p99(offset: str) -> str:
        counts = f"rate({LATENCY}_bucket{{{DECIDED}}}{RATE}{offset})"
        return f"histogram_quantile(0.99, sum by (le) ({counts}))"

    def cpu(offset: str) -> str:
        return f'sum(rate(process_cpu_seconds_total{{job="worker"}}{RATE}{offset}))'

    return [
        parts.graph("Answered", "Now, and the time named by `Compare with` before.", PER_SECOND,
                    (_per_second("answered_total"), "now"),
                    (_per_second("answered_total", ago), "before")),
        parts.graph("p99 until decided", "Now and before.", SECONDS,
                    (p99(""), "now"), (p99(ago), "before")),
        parts.graph("CPU of the workers", "Cores, now and before.", COUNT,
                    (cpu(""), "now"), (cpu(ago), "before")),
    ]  # fmt: skip
