"""The dashboard Budgets and chargeback: who has, holds and pays how much."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import market, parts
from bidplane_loadtest.dashboards.parts import COUNT, CREDITS, SHARE
from bidplane_loadtest.dashboards.wording import FIVE_MINUTES, MARKET, MICROS, rate, total

TENANT = 'tenant=~"$tenant"'
BOTH = f"{TENANT},{MARKET}"
CHARGED, REFUNDED = "bidplane_charged_micros_total", "bidplane_refunded_micros_total"
HOUR = f"3600 {MICROS} *"
NINETY_DAYS = 90 * 86_400
PACE = "At the pace of the last 5 min."
TENANTS = parts.choice(
    "tenant", "Tenant", "One or more tenants; beyond the 200 largest all are `other`.",
    "bidplane_balance_micros",
)  # fmt: skip


def build() -> models.Dashboard:
    """All its rows."""
    return parts.assembled(
        "bidplane-budgets", "bidplane: Budgets and chargeback",
        "What tenants have and pay. For bills use `bidplane audit` and the ledger: a counter"
        " starts anew with its process.",
        [TENANTS, market.MARKETS], [],
        [("Now", _now()), ("Balances", _balances()), ("Spending", _spending())],
    )  # fmt: skip


def _now() -> list[parts.Panel]:
    balance, held = _sum("bidplane_balance_micros"), _sum("bidplane_held_micros")
    return [
        parts.number("Tenants", "How many have an account.",
                     COUNT, f"count(bidplane_balance_micros{{{TENANT}}})"),
        parts.number("Free to bid", "What tenants and their agents may still bid.",
                     CREDITS, f"{balance} {MICROS}"),
        parts.number("Held", "What is held for orders.", CREDITS, f"{held} {MICROS}"),
        parts.number("Held share", "Held, of all that there is.",
                     SHARE, f"{held} / ({held} + {balance} > 0)"),
        parts.number("Charged per hour", PACE,
                     CREDITS, f"{HOUR} {total(CHARGED, BOTH, FIVE_MINUTES)}"),
        parts.number("Refunded per hour", PACE,
                     CREDITS, f"{HOUR} {total(REFUNDED, BOTH, FIVE_MINUTES)}"),
    ]  # fmt: skip


def _sum(metric: str) -> str:
    return f"sum({metric}{{{TENANT}}})"


def _balances() -> list[parts.Panel]:
    def by_tenant(metric: str) -> parts.Query:
        return f"sum by (tenant) ({metric}{{{TENANT}}}) {MICROS}", "{{tenant}}"

    spent = f"(sum by (tenant) (rate({CHARGED}{{{BOTH}}}[1h])) > 0)"
    lasts = f"sum by (tenant) (bidplane_balance_micros{{{TENANT}}}) / {spent}"
    return [
        parts.graph("Free to bid", "What each tenant and its agents may still bid.",
                    CREDITS, by_tenant("bidplane_balance_micros")),
        parts.graph("Held for orders", "Comes back when an order is lost.",
                    CREDITS, by_tenant("bidplane_held_micros")),
        parts.graph("Runway",
                    "How long the balance lasts at the last hour's charges; 90 days stand for more."
                    " Only tenants that were charged in that hour.",
                    "s", (f"clamp_max({lasts}, {NINETY_DAYS})", "{{tenant}}")),
    ]  # fmt: skip


def _spending() -> list[parts.Panel]:
    def over_range(metric: str) -> str:
        return f"sum by (tenant, market) (increase({metric}{{{BOTH}}}[$__range])) {MICROS}"

    hourly = f"{HOUR} {rate(CHARGED, BOTH, 'tenant', FIVE_MINUTES)}"
    returned = f"{HOUR} {rate(REFUNDED, BOTH, 'tenant', FIVE_MINUTES)}"
    granted = rate("bidplane_granted_micros_total", TENANT, "tenant", FIVE_MINUTES)
    limits = f"sum by (tenant) (bidplane_credit_limit_micros{{{TENANT}}}) {MICROS}"
    return [
        parts.graph("Charged per hour", f"By tenant, from its first charge on. {PACE}",
                    CREDITS, (hourly, "{{tenant}}")),
        parts.graph("Refunded per hour",
                    "What came back: early releases and faults. Nothing before the first.",
                    CREDITS, (returned, "{{tenant}}")),
        parts.graph("Granted per hour", f"Grants, refills, what an organisation gave. {PACE}",
                    CREDITS, (f"{HOUR} {granted}", "{{tenant}}")),
        parts.rows("Chargeback of the time shown", "By tenant and market.", CREDITS,
                   (over_range(CHARGED), "charged"), (over_range(REFUNDED), "refunded"),
                   width=16),
        parts.graph("What a period adds",
                    "Refills of tenants whose budgets have a schedule; nothing where none has.",
                    CREDITS, (limits, "{{tenant}}")),
    ]  # fmt: skip
