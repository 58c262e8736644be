"""The dashboard Leases and devices: from the award to the device, and back on sale."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import market, parts, wording
from bidplane_loadtest.dashboards.parts import COUNT, PER_SECOND, SECONDS, SHARE
from bidplane_loadtest.dashboards.wording import (
    FIVE_MINUTES,
    MARKET,
    quantile,
    quantiles,
    rate,
    total,
)

STAGE = "bidplane_stage_seconds"


def build() -> models.Dashboard:
    """All its rows."""
    return parts.assembled(
        "bidplane-leases", "bidplane: Leases and devices",
        "How leases become claims and nodes, and how devices come back.",
        [market.MARKETS], [],
        [
            ("Now", _now()), ("Stock", _stock()), ("Binding", _binding()),
            ("Revocation", _revocation()),
        ],
    )  # fmt: skip


def _now() -> list[parts.Panel]:
    def leases(state: str) -> str:
        return f'sum(bidplane_leases{{{MARKET},state=~"{state}"}})'

    faults = f'{MARKET},reason=~"bind_timeout|bind_failed|node_lost"'
    bound = f'{STAGE}_bucket{{{MARKET},stage="allocated",le="30.0"}}'
    count = f'{STAGE}_count{{{MARKET},stage="allocated"}}'
    endings = "bidplane_lease_endings_total"
    return [
        parts.number("Bound", "Leases that stand.", COUNT, leases("bound")),
        parts.number("Not yet bound", "Awarded, or waiting for devices of others.",
                     COUNT, leases("pending|awarded")),
        parts.number("Ending", "In notice, or being revoked.", COUNT, leases("notice|ending")),
        parts.number("Bound within 30 s", "Of the leases bound in the time shown.",
                     SHARE, f"sum(increase({bound}[$__range]))"
                            f" / (sum(increase({count}[$__range])) > 0)",
                     nothing="none bound"),
        parts.number("Endings per minute", "Leases that begin to end.",
                     COUNT, f"60 * {total(endings, MARKET)}"),
        parts.number("Ended by a fault", "In the time shown: not bound, or a node was lost.",
                     COUNT, f"sum(increase({endings}{{{faults}}}[$__range])) or vector(0)", warn=1),
    ]  # fmt: skip


def _stock() -> list[parts.Panel]:
    return [
        parts.graph("Leases by state", "Leases that have not ended.", COUNT,
                    (f"sum by (state) (bidplane_leases{{{MARKET}}})", "{{state}}"), stacked=True),
        parts.graph("Units by state", "Sevenths of devices.", COUNT,
                    (f'sum by (state) (bidplane_units{{{MARKET},state!="offered"}})', "{{state}}"),
                    stacked=True),
        parts.graph("Units leased by pool", "Of those offered.", SHARE,
                    ((f'sum by (pool) (bidplane_units{{{MARKET},state="leased"}}) / '
                     f'(sum by (pool) (bidplane_units{{{MARKET},state="offered"}}) > 0)'),
                     "{{pool}}")),
    ]  # fmt: skip


def _binding() -> list[parts.Panel]:
    allocated = quantiles(STAGE, f'{MARKET},stage="allocated"', 0.5, 0.99, over=FIVE_MINUTES)
    ready = quantiles(STAGE, f'{MARKET},stage="ready"', 0.5, 0.99, over=FIVE_MINUTES)
    done = rate("bidplane_sink_actions_total", 'sink="claims"', "action, outcome")
    return [
        parts.graph("Award to claim",
                    "Until the claim is allocated, over 5 min: there while leases are bound.",
                    SECONDS, *allocated),
        parts.graph("Claim to device", "Until the first pod on it is ready in the agent's cluster,"
                    " over 5 min: there while agents with a cluster start pods on leases.",
                    SECONDS, *ready),
        parts.graph("Claims sink", "Its steps, by outcome.",
                    PER_SECOND, (done, "{{action}}: {{outcome}}")),
    ]  # fmt: skip


def _revocation() -> list[parts.Panel]:
    endings = "|".join(wording.OF_AN_ENDING)
    by_stage = f'{MARKET},stage=~"{endings}"'
    worst = quantile(0.99, STAGE, by_stage, "stage", FIVE_MINUTES)
    why = rate("bidplane_lease_endings_total", MARKET, "reason")
    slow = quantile(0.99, "bidplane_sink_action_seconds", 'sink="claims"', "action", FIVE_MINUTES)
    samples = rate("bidplane_usage_samples_total", "", "state")
    return [
        parts.graph("Where an ending's time goes",
                    "Mean of each stage since the one before: told, evicted, deallocated, sold."
                    " There while leases end.",
                    SECONDS, *wording.stages(wording.OF_AN_ENDING, MARKET), stacked=True),
        parts.graph("Slowest endings",
                    "The 99th percentile of each stage, over 5 min: there while leases end.",
                    SECONDS, (worst, "{{stage}}")),
        parts.graph("Endings by reason", "Why leases begin to end. Nothing before the first ends.",
                    PER_SECOND, (why, "{{reason}}")),
        parts.graph("Claims sink, slowest steps", "The 99th percentile of each step.",
                    SECONDS, (slow, "{{action}}"), width=12),
        parts.graph("Usage samples",
                    "Telemetry of leased devices that was taken in; nothing while none is sent.",
                    PER_SECOND, (samples, "{{state}}"), width=12),
    ]  # fmt: skip
