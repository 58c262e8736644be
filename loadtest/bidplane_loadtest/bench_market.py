"""The market's benchmark: how fast a window clears with exact payments, and how near the optimum.

    python -m bidplane_loadtest.bench_market [--bids 1000]… [--workload mixed]… [--solvers] [--json]

Decides sizes, repeats, what is timed and what stands beside it in the same run: the pure path up to
10k bids; with ``--solvers`` the LP bound, HiGHS to a gap of 1 % and CP-SAT, with a time limit.
``kernel`` is sort, scan and payments from columns that were gathered on arrival; ``window`` adds
positions, records and the digest; ``clear`` starts from the bids' structs; ``pure`` does the same
in plain Python. Times are CPU milliseconds of this process, since the machine is shared.
"""

from __future__ import annotations

import binascii
import functools
import gc
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
import rich.console
import rich.table
import typer

from bidplane_loadtest import market_draws, market_solvers
from bidplane_loadtest.market_draws import Supply
from bidplane_loadtest.market_solvers import Solved
from bidplane_streams.fast import building, clearing
from bidplane_streams.fast.columns import Columns
from bidplane_streams.fast.native import RULES, Kernel
from bidplane_streams.market import clearing as pure
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import codec
from bidplane_topics.instances import Instance, Result

SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
PURE_MOST: Final = 10_000
LP_MOST: Final = 10_000
# Weights are learnt on windows of at most this size: larger ones cost minutes to draw.
LEARN_MOST: Final = 100_000
EARLIER_WINDOWS: Final = 6
_FRESH: Final = 0.3  # the share of the newest price in the moving average
_SOLD_OUT: Final = 0.98
_SEED: Final = 7


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """CPU milliseconds over ``runs`` runs."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    runs: int


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One workload at one size. Shares are of the LP bound's welfare."""

    workload: str
    bids: int
    devices: int
    winners: int
    scarcity_permille: tuple[int, ...]
    kernel: Times
    window: Times
    clear: Times
    pure: Times | None = None
    welfare_micros: int = 0
    lp: Solved | None = None
    mip: Solved | None = None
    cpsat: Solved | None = None
    limit_s: float = 0.0


def carried(workload: str, count: int) -> Supply:
    """The supply with the weights that earlier windows would have left (MECHANISM).

    Never this window's own draw: an average of what a unit cost, frozen where a pool was not sold
    out, kept within a twentieth of the dearest.
    """
    offer = market_draws.supply(count)
    averages: dict[str, float] = {}
    for number in range(EARLIER_WINDOWS):
        given = market_draws.window(workload, min(count, LEARN_MOST), offer, 1000 + number)
        result = clearing.clear(given)
        for pool in _sold_out(given, result):
            price = float(result.prices[pool])
            averages[pool] = averages.get(pool, price) * (1 - _FRESH) + price * _FRESH
        dearest = max(averages.values(), default=1.0) or 1.0
        weights = (averages.get(pool.name, 0.0) / dearest for pool in given.pools)
        permille = tuple(max(50, round(1000 * weight)) for weight in weights)
        offer = Supply(offer.nodes, permille if averages else offer.scarcity_permille)
    return offer


def _sold_out(given: Instance, result: Result) -> list[str]:
    bids = {bid.bid_id: bid for bid in given.bids}
    sold: dict[str, int] = {}
    for bid_id, award in result.awards.items():
        chosen = bids[bid_id].alternatives[award.alternative]
        sold[chosen.pool] = sold.get(chosen.pool, 0) + UNITS[chosen.shape] * award.level
    return [
        pool.name for pool in given.pools
        if sold.get(pool.name, 0) >= _SOLD_OUT * 7 * sum(pool.nodes)
    ]  # fmt: skip


def timed(work: Sequence[Callable[[], object]], runs: int) -> Times:
    """``runs`` runs, over different windows by turns; one more before them warms up."""
    work[0]()
    taken = []
    for number in range(runs):
        begun = time.process_time()
        work[number % len(work)]()
        taken.append((time.process_time() - begun) * 1000)
    taken.sort()
    return Times(
        p50_ms=round(taken[len(taken) // 2], 3),
        p99_ms=round(taken[min(len(taken) - 1, len(taken) * 99 // 100)], 3),
        max_ms=round(taken[-1], 3), runs=runs,
    )  # fmt: skip


def _kernel_run(kernel: Kernel, given: Instance, columns: Columns) -> Callable[[], object]:
    pools = {pool.name: pool for pool in given.pools}
    ordered = [pools[name] for name in columns.pools]
    beacon = binascii.unhexlify(given.beacon)
    return lambda: kernel.clear(columns, ordered, beacon, RULES["greedy"])


def measure(workload: str, count: int, kernel: Kernel) -> tuple[Line, Instance]:
    """Time one workload at one size; the instance is for the solvers."""
    offer = carried(workload, count)
    draws = 5 if count <= PURE_MOST else 1
    given = [market_draws.window(workload, count, offer, _SEED + draw) for draw in range(draws)]
    columns = [Columns.of(one.bids) for one in given]
    gc.collect()
    gc.freeze()  # the windows themselves are not what a collection should look at
    few = max(3, min(100, 200_000 // count))
    pairs = list(zip(given, columns, strict=True))
    result = clearing.clear(given[0])
    line = Line(
        workload=workload, bids=count, devices=8 * sum(offer.nodes), winners=len(result.awards),
        scarcity_permille=offer.scarcity_permille, welfare_micros=result.welfare_micros,
        kernel=timed([_kernel_run(kernel, *pair) for pair in pairs], max(5, min(300, 10 * few))),
        window=timed([functools.partial(clearing.clear_columns, *pair) for pair in pairs], few),
        clear=timed([functools.partial(clearing.clear, one) for one in given], few),
        pure=timed([functools.partial(pure.clear, one) for one in given], min(few, 10))
        if count <= PURE_MOST else None,
    )  # fmt: skip
    gc.unfreeze()
    return line, given[0]


def _share(solved: Solved | None, welfare_micros: int) -> str:
    if solved is None or not solved.welfare_micros:
        return "-"
    return f"{100 * welfare_micros / solved.welfare_micros:.2f} %"


def _ms(times: Times | None) -> str:
    if times is None:
        return "-"
    return f"{times.p50_ms:,.1f} / {times.p99_ms:,.1f} / {times.max_ms:,.1f}"


def _solver(solved: Solved | None, lp: Solved | None) -> str:
    if solved is None or lp is None or not lp.welfare_micros:
        return "-"
    if not solved.welfare_micros:
        return f"nothing in {solved.solve_s:.1f} s"
    share = 100 * solved.welfare_micros / lp.welfare_micros
    return f"{share:.2f} % in {solved.solve_s:.1f} s"


def show(lines: Sequence[Line]) -> None:
    """A table on stdout."""
    table = rich.table.Table(
        title="CPU ms, p50 / p99 / max; welfare as a share of the LP bound", box=None,
        title_justify="left", pad_edge=False,
    )  # fmt: skip
    names = ("workload", "bids", "devices", "winners", "kernel", "window", "clear", "pure",
             "market/LP", "LP s", "HiGHS 1 %/LP", "CP-SAT/LP")  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for one in lines:
        table.add_row(
            one.workload, f"{one.bids:,}", f"{one.devices:,}", f"{one.winners:,}", _ms(one.kernel),
            _ms(one.window), _ms(one.clear), _ms(one.pure), _share(one.lp, one.welfare_micros),
            "-" if one.lp is None else f"{one.lp.solve_s:.1f}", _solver(one.mip, one.lp),
            _solver(one.cpsat, one.lp),
        )  # fmt: skip
    rich.console.Console(width=240).print(table)


def main(
    count: Annotated[list[int] | None, typer.Option("--bids", min=1, help="Sizes.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="mixed, inference, training.")] = None,
    solvers: Annotated[bool, typer.Option("--solvers", help="LP, HiGHS and CP-SAT too.")] = False,
    limit_s: Annotated[float, typer.Option("--limit", help="Seconds a solver may take.")] = 20.0,
    lp_most: Annotated[int, typer.Option("--lp-most", help="Solve up to this size.")] = LP_MOST,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    missing = [name for name in ("highspy", "ortools") if importlib.util.find_spec(name) is None]
    if solvers and missing:
        raise typer.BadParameter(f"install {' and '.join(missing)} first", param_hint="--solvers")
    if not clearing.warm():
        sys.exit("bench_market: no kernel here; its log line says why")
    kernel, lines = Kernel(building.ensure()), []
    for size in count or SIZES:
        for name in workload or market_draws.WORKLOADS:
            line, given = measure(name, size, kernel)
            if solvers and size <= lp_most:
                found = {kind: market_solvers.solve(kind, given, limit_s)
                         for kind in ("mip", "cpsat")}  # fmt: skip
                # The bound is what all shares are of, so it may take as long as it needs.
                bound = market_solvers.solve("lp", given, 30 * limit_s)
                line = msgspec.structs.replace(line, lp=bound, limit_s=limit_s, **found)
            lines.append(line)
            sys.stderr.write(f"bench_market: {name} {size:,} done\n")
    if as_json:
        sys.stdout.write(codec.pretty(lines) + "\n")
    else:
        show(lines)


if __name__ == "__main__":
    typer.run(main)
