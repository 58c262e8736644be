"""The dashboard Market: prices, rounds, what bids hear, what is on sale."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import parts, wording
from bidplane_loadtest.dashboards.parts import COUNT, CREDITS, PER_SECOND, SECONDS, SHARE
from bidplane_loadtest.dashboards.wording import (
    FIVE_MINUTES,
    MARKET,
    MICROS,
    quantile,
    rate,
    total,
)


def build() -> models.Dashboard:
    """All its rows."""
    return parts.assembled(
        "bidplane-market", "bidplane: Market",
        "What devices cost, how rounds go, and what bids are told.",
        [MARKETS], [],
        [
            ("Now", _now()), ("Prices", _prices()), ("Rounds", _rounds()), ("Bids", _bids()),
            ("Supply and objectives", _supply()),
        ],
    )  # fmt: skip


MARKETS = parts.choice(
    "market", "Market", "One or more markets; all by default.", "bidplane_window_seconds"
)


def _now() -> list[parts.Panel]:
    won = total("bidplane_round_awarded_total", MARKET, FIVE_MINUTES)
    took_part = f"({total('bidplane_round_orders_total', MARKET, FIVE_MINUTES)} > 0)"
    revenue = total("bidplane_revenue_micros_total", MARKET, FIVE_MINUTES)
    units = f"sum(bidplane_units{{{MARKET},state="
    return [
        parts.number("Orders in the book", "Orders that rest after the last round.",
                     COUNT, f"sum(bidplane_orders_resting{{{MARKET}}})"),
        parts.number("Rounds per minute",
                     "Windows with nothing to do are not counted: an idle market has 0.",
                     COUNT, f"60 * {total('bidplane_rounds_total', MARKET)}"),
        parts.number("Orders that win",
                     "Share of the orders in a round that won it, over the last 5 min.",
                     SHARE, f"{won} / {took_part}", nothing="no rounds"),
        parts.number("Revenue per hour",
                     "What winners are charged, at the pace of the last 5 min.",
                     CREDITS, f"3600 * {revenue} {MICROS}"),
        parts.number("Units leased", "Sevenths of devices that are leased, of those offered.",
                     SHARE, f'{units}"leased"}}) / ({units}"offered"}}) > 0)'),
        parts.number("Claims sink silent", "1: its heartbeat is too old, so nothing is sold.",
                     COUNT, f"max(bidplane_sink_stale{{{MARKET}}})", warn=1),
    ]  # fmt: skip


def _prices() -> list[parts.Panel]:
    def by_pool(metric: str, scale: str) -> parts.Query:
        return f"max by (market, pool) ({metric}{{{MARKET}}}) {scale}", "{{pool}}"

    return [
        parts.graph("Price of a unit for a slot",
                    "Mean critical price in the last round that sold some of the pool.",
                    CREDITS, by_pool("bidplane_price_micros", MICROS), width=12),
        parts.graph("Reserve of a unit for a slot", "The least price; it may drift with use.",
                    CREDITS, by_pool("bidplane_reserve_micros", MICROS), width=6),
        parts.graph("Scarcity", "How much a pool's units count, of the dearest pool's.",
                    SHARE, by_pool("bidplane_scarcity_permille", "/ 1000"), width=6),
    ]  # fmt: skip


def _rounds() -> list[parts.Panel]:
    clearing = [
        (quantile(share, "bidplane_clearing_seconds", MARKET, "market"), f"p{share * 100:g} {name}")
        for share, name in ((0.5, "{{market}}"), (0.99, "{{market}}"))
    ]
    half = f"max by (market) (bidplane_window_seconds{{{MARKET}}}) / 2"
    late = [
        (quantile(share, "bidplane_round_lateness_seconds", MARKET, "market"),
         f"p{share * 100:g} {{{{market}}}}")
        for share in (0.5, 0.99)
    ]  # fmt: skip
    return [
        parts.graph("Orders and awards", "Orders that take part in rounds, and those that win.",
                    PER_SECOND,
                    (rate("bidplane_round_orders_total", MARKET, "market"), "orders {{market}}"),
                    (rate("bidplane_round_awarded_total", MARKET, "market"), "won {{market}}")),
        parts.graph("Clearing against half the window",
                    "Above the half for long, rounds will be late: an alert says so.",
                    SECONDS, *clearing, (half, "half a window {{market}}")),
        parts.graph("Rounds late", "How much later a window closed than it was due.",
                    SECONDS, *late),
    ]  # fmt: skip


def _bids() -> list[parts.Panel]:
    told = rate("bidplane_outcomes_total", "", "outcome")
    why = rate("bidplane_outcomes_total", 'reason!=""', "outcome, reason")
    return [
        parts.graph("What agents are told", "Outcomes by kind, over all markets.",
                    PER_SECOND, (told, "{{outcome}}")),
        parts.graph("Reasons", "Outcomes that carry a reason: refusals, losses, endings.",
                    PER_SECOND, (why, "{{outcome}}: {{reason}}")),
        parts.graph("Where a bid's time goes",
                    "Mean of each stage since the one before; stacked, they are the whole way.",
                    SECONDS, *wording.stages(wording.OF_A_BID), stacked=True),
    ]  # fmt: skip


def _supply() -> list[parts.Panel]:
    states = f'sum by (state) (bidplane_units{{{MARKET},state!="offered"}})'
    missed = [
        (f"max by (market) (bidplane:{name}_errors:ratio_rate5m{{{MARKET}}})",
         f"{name} {{{{market}}}}")
        for name in ("admission", "clearing", "binding", "revocation")
    ]  # fmt: skip
    return [
        parts.graph("Units by state", "Sevenths of devices: free, leased, being given back.",
                    COUNT, (states, "{{state}}"), stacked=True),
        parts.graph("Nodes", "Nodes of the host cluster that are sold from, and those not.",
                    COUNT, (f"sum by (market, state) (bidplane_supply_nodes{{{MARKET}}})",
                            "{{market}} {{state}}")),
        parts.graph("Objectives missed", "Share of events outside each objective, over 5 min"
                    " (recording rules; the objective is 1 %).",
                    SHARE, *missed),
    ]  # fmt: skip
