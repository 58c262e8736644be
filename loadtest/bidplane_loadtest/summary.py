"""The report of a demo: one JSON document, or the same as tables for a person.

Decides words and units. Refuses to compute: figures come from the tally, the players and the pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import rich.console
import rich.table

from bidplane_loadtest.tally import Tally
from bidplane_topics import money

# Beside the figures this fits a terminal of 80 columns; a pool's digest and rack are its tail.
NAME_WIDTH: Final = 26
_TAIL: Final = 14


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The auditor's word: its exit code, and what it printed."""

    exit_code: int
    verdict: str
    report: Any = None


class Report(msgspec.Struct, kw_only=True):
    """A demo's result. ``workload`` states every figure of the compression."""

    seed: int
    workload: dict[str, int | float | str]
    seconds: float
    ready_s: float
    agents: int
    tenants: int
    clusters_ready: int
    bids: dict[str, int]
    bid_to_bound_ms: dict[str, int]
    tally: Tally
    pods: dict[str, int]
    pod_running_ms: dict[str, int]
    unfinished: dict[str, int]
    short: bool = False
    failures: list[str]
    audit: Audit


def percentiles(values: Sequence[int]) -> dict[str, int]:
    """p50, p99 and max, and how many there are; empty without values."""
    if not values:
        return {}
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, len(ordered) * part // 100)] for part in (50, 99)]
    return {"count": len(ordered), "p50": at[0], "p99": at[1], "max": ordered[-1]}


def show(report: Report) -> None:
    """Print the tables on stdout."""
    console = rich.console.Console(width=None, highlight=False)
    console.print(_workload(report))
    console.print(_prices(report.tally))
    console.print(_budgets(report.tally))
    console.print(_counts("why bids, orders and leases ended so", report.tally.refusals))
    console.print(_result(report))


def _workload(report: Report) -> rich.table.Table:
    return _counts("workload", report.workload)


def _prices(tally: Tally) -> rich.table.Table:
    table = _grid("prices per unit (1/7 GPU) and second, in micro-credits")
    for name in ("pool", "rounds sold", "min", "mean", "max", "units sold", "utilisation"):
        table.add_column(
            name, justify="left" if name == "pool" else "right", no_wrap=name == "pool"
        )
    shown = short_names(tally.rounds.pools)
    for name, pool in tally.rounds.pools.items():
        figures = (pool.rounds_sold, pool.price_min_micros, pool.price_mean_micros,
                   pool.price_max_micros, pool.units_sold)  # fmt: skip
        table.add_row(shown[name], *map(str, figures), _percent(pool.utilisation_permille))
    return table


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names for a narrow table, cut in the middle: a pool's ends tell it apart, its digest surely.

    Whatever is cut, no two names look alike: where two would, all stay whole.
    """
    whole = list(names)
    short = {
        name: name if len(name) <= NAME_WIDTH
        else f"{name[: NAME_WIDTH - _TAIL - 1]}…{name[-_TAIL:]}"
        for name in whole
    }  # fmt: skip
    return short if len(set(short.values())) == len(whole) else {name: name for name in whole}


def _budgets(tally: Tally) -> rich.table.Table:
    table = _grid("budgets in credits")
    for name in ("agent", "granted", "spent", "refunded", "held", "left"):
        table.add_column(name, justify="left" if name == "agent" else "right")
    for name, purse in tally.purses.items():
        amounts = (purse.granted_micros, purse.spent_micros, purse.refunded_micros,
                   purse.held_micros, purse.left_micros)  # fmt: skip
        table.add_row(name, *(f"{micros / money.MICROS_PER_CREDIT:.2f}" for micros in amounts))
    return table


def _result(report: Report) -> rich.table.Table:
    tally, table = report.tally, _grid("result")
    rows: Iterable[tuple[str, str]] = (
        ("agents", f"{report.agents} in {report.tenants} tenants"),
        ("with a control plane of their own", str(report.clusters_ready)),
        ("rounds", str(tally.rounds.rounds)),
        ("longest pause between rounds", f"{tally.rounds.longest_pause_ms} ms"),
        ("bids", _words(report.bids)),
        ("outcomes", _words(tally.outcomes)),
        ("leases", _words(tally.leases)),
        ("leases ended", _words(tally.lease_ends)),
        ("bid to bound, ms", _words(report.bid_to_bound_ms)),
        ("utilisation", _percent(tally.rounds.utilisation_permille)),
        ("revenue", f"{tally.rounds.revenue_micros / money.MICROS_PER_CREDIT:.2f} credits"),
        ("pods", _words(report.pods)),
        ("bound to pod Running, ms", _words(report.pod_running_ms)),
        ("dead letters", _words(tally.dead_letters)),
        ("unfinished at the end", _words(report.unfinished)),
        ("failures", "; ".join(report.failures) or "none"),
        ("audit", report.audit.verdict),
        ("time", f"ready after {report.ready_s:.0f} s, bidding for {report.seconds:.0f} s"),
    )  # fmt: skip
    for name, text in rows:
        table.add_row(name, text)
    return table


def _counts(title: str, figures: Mapping[str, object]) -> rich.table.Table:
    table = _grid(title)
    for name, figure in figures.items():
        table.add_row(name, str(figure))
    return table


def _grid(title: str) -> rich.table.Table:
    header = title.startswith(("prices", "budgets"))
    return rich.table.Table(
        title=title, title_justify="left", box=None, show_header=header, pad_edge=False
    )


def _percent(permille: int) -> str:
    return f"{permille / 10:.1f} %"


def _words(figures: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {figure}" for name, figure in figures.items()) or "none"
