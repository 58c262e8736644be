"""Expressions that more than one dashboard asks: quantiles, means, stages.

Decides their form. Refuses to know panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bidplane_loadtest.dashboards.parts import RATE, Query

MARKET: Final = 'market=~"$market"'
# Until its order is admitted nobody knows the market of a bid.
MARKET_OR_NONE: Final = 'market=~"$market|"'
OURS: Final = 'job=~"worker|sink-.*|source-.*|loadtest"'
OF_A_BID: Final = ("sent", "acked", "admitted", "closed", "awarded", "allocated", "ready")
OF_AN_ENDING: Final = ("notice", "evicted", "deallocated", "on_sale")
MICROS: Final = "/ 1e6"
# What happens a few times a minute has no quantile between two scrapes.
FIVE_MINUTES: Final = "[5m]"


def quantile(share: float, metric: str, select: str, by: str = "", over: str = RATE) -> str:
    """The quantile of a classic histogram, for each value of the labels ``by``."""
    labels = f"{by}, le" if by else "le"
    rate = f"rate({metric}_bucket{{{select}}}{over})"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate}))"


def quantiles(metric: str, select: str, *shares: float, over: str = RATE) -> list[Query]:
    """Several quantiles over everything selected."""
    return [(quantile(share, metric, select, over=over), _named(share)) for share in shares]


def _named(share: float) -> str:
    return "max (its bucket's edge)" if share == 1 else f"p{share * 100:g}"


def mean(metric: str, select: str, by: str, over: str = RATE) -> str:
    """The mean of a histogram, for each value of the labels ``by``."""
    total = f"sum by ({by}) (rate({metric}_sum{{{select}}}{over}))"
    return f"{total} / (sum by ({by}) (rate({metric}_count{{{select}}}{over})) > 0)"


def rate(metric: str, select: str, by: str, over: str = RATE) -> str:
    """Events a second, for each value of the labels ``by``."""
    return f"sum by ({by}) (rate({metric}{{{select}}}{over}))"


def total(metric: str, select: str, over: str = RATE) -> str:
    """Events a second in all."""
    return f"sum(rate({metric}{{{select}}}{over}))"


def stages(names: Sequence[str], market: str = MARKET_OR_NONE) -> list[Query]:
    """The mean of each stage since the one before it: stacked in order, they are the whole way."""
    return [
        (mean("bidplane_stage_seconds", f'stage="{name}",{market}', "stage", "[1m]"), name)
        for name in names
    ]
