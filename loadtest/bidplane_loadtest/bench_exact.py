"""The rule `exact` at its sizes: how often a window is proven in time, and what it gains on greedy.

    python -m bidplane_loadtest.bench_exact [--bids 100]… [--workload mixed]… [--draws 5] [--json]

Decides the windows (market_draws, on four pools that alternatives connect, and on one), the
deadlines and what is counted: CPU seconds, since the machine is shared, to the optimum and to all
payments; and greedy's surplus as a share of the optimum. A window falls back at a deadline that its
CPU seconds exceed, and then reaches what greedy does. Refuses to solve otherwise than a worker.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import rich.console
import rich.table
import typer

from bidplane_loadtest import market_draws
from bidplane_loadtest.market_draws import Supply
from bidplane_streams.exact import highs, solving
from bidplane_streams.exact.model import Model
from bidplane_streams.market import clearing, optimum
from bidplane_topics import codec
from bidplane_topics.instances import Result

SIZES: Final = (50, 100, 200)
DEADLINES_MS: Final = (50, 250, 1000, 2000)
DEVICES: Final = 100
# What is not proven by then is shown as such, and counts for no share of an optimum.
PATIENT_MS: Final = 120_000
ONE_POOL: Final = Supply((8,), (1000,))


class At(msgspec.Struct, frozen=True, kw_only=True):
    """One deadline: shares of the windows that fell back, and of the optimum that was reached."""

    limit_ms: int
    fell_back: float
    reached: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One workload at one size, over all draws. Seconds are means, ``longest_s`` the most."""

    workload: str
    bids: int
    pools: int
    winners: float
    greedy: float
    optimum_s: float
    payments_s: float
    longest_s: float
    proven: float
    at: tuple[At, ...]


class _Draw(msgspec.Struct, frozen=True):
    best: Result
    greedy: float
    optimum_s: float
    whole_s: float


def _drawn(workload: str, count: int, offer: Supply, seed: int) -> _Draw:
    given = market_draws.window(workload, count, offer, seed)
    begun = time.process_time()
    highs.Program(Model(given)).optimum(PATIENT_MS / 1000)
    first = time.process_time()
    best = solving.clear(given, PATIENT_MS)
    spent_s = time.process_time() - first
    # As `exact` without a solver is greedy, it tells greedy's surplus too.
    greedy = clearing.clear(given, optimum.RULE)
    assert best.surplus_micros
    assert greedy.surplus_micros is not None
    return _Draw(best, greedy.surplus_micros / best.surplus_micros, first - begun, spent_s)


def _at(draws: Sequence[_Draw], limit_ms: int) -> At:
    late = [draw.whole_s * 1000 > limit_ms or bool(draw.best.fell_back) for draw in draws]
    reached = [
        draw.greedy if fell else 1.0
        for draw, fell in zip(draws, late, strict=True)
        if not draw.best.fell_back
    ]
    return At(
        limit_ms=limit_ms, fell_back=statistics.fmean(late),
        reached=statistics.fmean(reached or [0.0]),
    )  # fmt: skip


def measure(workload: str, count: int, offer: Supply, draws: int) -> Line:
    """One workload at one size."""
    drawn = [_drawn(workload, count, offer, seed) for seed in range(draws)]
    return Line(
        workload=workload, bids=count, pools=len(offer.nodes),
        winners=statistics.fmean(len(one.best.awards) for one in drawn),
        greedy=statistics.fmean([one.greedy for one in drawn if not one.best.fell_back] or [0.0]),
        optimum_s=round(statistics.fmean(one.optimum_s for one in drawn), 3),
        payments_s=round(statistics.fmean(one.whole_s for one in drawn), 3),
        longest_s=round(max(one.whole_s for one in drawn), 3),
        proven=sum(not one.best.fell_back for one in drawn) / draws,
        at=tuple(_at(drawn, limit_ms) for limit_ms in DEADLINES_MS),
    )  # fmt: skip


def show(lines: Sequence[Line]) -> None:
    """A table on stdout."""
    title = "the rule exact: CPU seconds, shares of the optimum's surplus"
    table = rich.table.Table(title=title, box=None, title_justify="left", pad_edge=False)
    names = ("workload", "bids", "pools", "winners", "optimum s", "with payments s", "longest s",
             "proven")  # fmt: skip
    for name in (*names, "greedy %", *(f"at {limit} ms: fell, %" for limit in DEADLINES_MS)):
        table.add_column(name, justify="left" if name == "workload" else "right")
    for one in lines:
        table.add_row(
            one.workload, str(one.bids), str(one.pools), f"{one.winners:.0f}",
            f"{one.optimum_s:.3f}", f"{one.payments_s:.2f}", f"{one.longest_s:.2f}",
            f"{100 * one.proven:.0f} %",
            f"{100 * one.greedy:.2f}",
            *(f"{100 * at.fell_back:.0f} %, {100 * at.reached:.2f}" for at in one.at),
        )  # fmt: skip
    rich.console.Console(width=200).print(table)


def main(
    count: Annotated[list[int] | None, typer.Option("--bids", min=1, help="Sizes.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="mixed, inference, training.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Windows of each kind.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    if not solving.is_there():
        sys.exit("bench_exact: highspy cannot be loaded")
    lines = []
    for size in count or SIZES:
        for name in workload or market_draws.WORKLOADS:
            for offer in (market_draws.supply(DEVICES), ONE_POOL):
                lines.append(measure(name, size, offer, draws))
                sys.stderr.write(f"bench_exact: {name} {size}, {len(offer.nodes)} pools done\n")
    if as_json:
        sys.stdout.write(codec.pretty(lines) + "\n")
    else:
        show(lines)


if __name__ == "__main__":
    typer.run(main)
