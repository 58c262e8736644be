"""The dashboard Virtual clusters: agents' control planes, their nodes and pods."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import market, parts
from bidplane_loadtest.dashboards.parts import BYTES, COUNT, PER_SECOND, SECONDS
from bidplane_loadtest.dashboards.wording import FIVE_MINUTES, MARKET, quantile, quantiles, rate

SINKS = 'sink=~"clusters|nodes.*"'


def build() -> models.Dashboard:
    """All its rows."""
    return parts.assembled(
        "bidplane-clusters", "bidplane: Virtual clusters",
        "Control planes of agents, the nodes that leases give them, and their pods.",
        [market.MARKETS], [],
        [("Now", _now()), ("Planes, nodes, pods", _stock()), ("Sinks", _sinks())],
    )  # fmt: skip


def _now() -> list[parts.Panel]:
    def planes(state: str) -> str:
        return f'sum(bidplane_planes{{state="{state}"}})'

    pods = f'sum(bidplane_host_pods{{{MARKET},state="running"}})'
    return [
        parts.number("Planes wanted", "Agents with a cluster.", COUNT, planes("wanted")),
        parts.number("Ready", "Planes that serve.", COUNT, planes("ready")),
        parts.number("Starting", "Planes that come up.", COUNT, planes("starting")),
        parts.number("Failed", "Planes that do not.", COUNT, planes("failed"), warn=1),
        parts.number("Nodes", "Nodes that leases give to agents' clusters.",
                     COUNT, f"sum(bidplane_virtual_nodes{{{MARKET}}})"),
        parts.number("Pods that run", "Agents' pods in the host cluster.", COUNT, pods),
    ]  # fmt: skip


def _stock() -> list[parts.Panel]:
    ready = quantiles(
        "bidplane_stage_seconds", f'{MARKET},stage="ready"', 0.5, 0.99, over=FIVE_MINUTES
    )
    return [
        parts.graph("Planes", "By state; `wanted` is their sum.", COUNT,
                    ("sum by (state) (bidplane_planes)", "{{state}}"), width=6),
        parts.graph("Nodes", "By market.", COUNT,
                    (f"sum by (market) (bidplane_virtual_nodes{{{MARKET}}})", "{{market}}"),
                    width=6),
        parts.graph("Pods", "Agents' pods in the host cluster, by state.", COUNT,
                    (f"sum by (state) (bidplane_host_pods{{{MARKET}}})", "{{state}}"),
                    stacked=True, width=6),
        parts.graph("Claim to device",
                    "From the claim's allocation until the first pod on it is ready,"
                    " over 5 min.", SECONDS, *ready, width=6),
    ]  # fmt: skip


def _sinks() -> list[parts.Panel]:
    done = rate("bidplane_sink_actions_total", SINKS, "sink, action, outcome")
    slow = quantile(0.99, "bidplane_sink_action_seconds", SINKS, "sink, action", FIVE_MINUTES)
    memory = 'process_resident_memory_bytes{job=~"sink-clusters|sink-nodes"}'
    return [
        parts.graph("Steps", "Of the sinks for clusters and nodes, by outcome.",
                    PER_SECOND, (done, "{{sink}} {{action}}: {{outcome}}")),
        parts.graph("Slowest steps", "The 99th percentile of each.",
                    SECONDS, (slow, "{{sink}} {{action}}")),
        parts.graph("Waiting", "Objects that wait for another try.",
                    COUNT, (f"sum by (sink) (bidplane_sink_waiting{{{SINKS}}})", "{{sink}}"),
                    width=4),
        parts.graph("Memory", "Of the sinks; planes are processes or pods of their own.",
                    BYTES, (memory, "{{instance}}"), width=4),
    ]  # fmt: skip
