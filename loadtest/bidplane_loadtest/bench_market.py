"""The market's benchmark: how fast a window clears with exact payments, and how near the optimum.

    python -m bidplane_loadtest.bench_market [--bids 1000]… [--workload mixed]… [--solvers] [--json]

Decides sizes, repeats, what is timed and what stands beside it in the same run: the pure path up to
10k bids; with ``--solvers`` the LP bound, HiGHS to a gap of 1 % and CP-SAT, with a time limit.
``arrival`` is what a bid costs before the close, a record decoded and columns made; ``kernel`` is
sort, scan and payments from such columns; ``window`` adds positions, records and the digest, and is
what is left at the close beside ``receipts``; ``clear`` starts from the bids' structs; ``pure``
does the same in plain Python. Times are CPU, since the machine is shared. Each line is measured by
a process of its own, so that the memory of one is never that of the next.
"""

from __future__ import annotations

import binascii
import functools
import gc
import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
import rich.console
import rich.table
import typer

from bidplane_loadtest import market_arrival, market_draws, market_solvers
from bidplane_loadtest.market_arrival import Arrival
from bidplane_loadtest.market_draws import Supply
from bidplane_loadtest.market_solvers import Solved
from bidplane_streams.fast import building, clearing
from bidplane_streams.fast.columns import Columns
from bidplane_streams.fast.native import RULES, Kernel
from bidplane_streams.market import clearing as pure
from bidplane_streams.market import drift
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import codec
from bidplane_topics.instances import Instance, Result
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound

SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
PURE_MOST: Final = 10_000
# Weights are learnt on windows of at most this size: larger ones cost minutes to draw.
LEARN_MOST: Final = 100_000
EARLIER_WINDOWS: Final = 6
_DRIFTS: Final = MarketDeclared(market="bench", partition=0, scarcity_rate_permille=300)
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
    arrival: Arrival
    receipts_ms: float
    peak_mib: int
    kernel: Times
    window: Times
    clear: Times
    pure: Times | None = None
    welfare_micros: int = 0
    even_welfare_micros: int = 0
    lp: Solved | None = None
    mip: Solved | None = None
    cpsat: Solved | None = None
    limit_s: float = 0.0


def carried(workload: str, count: int) -> Supply:
    """The supply with the weights that earlier windows would have left, by the market's own drift.

    Never this window's own draw: the earlier ones are cleared in their turn, each by the weights
    that the one before it left.
    """
    offer, means = market_draws.supply(count), dict[str, int]()
    for number in range(EARLIER_WINDOWS):
        given = market_draws.window(workload, min(count, LEARN_MOST), offer, 1000 + number)
        drifted = drift.after(_DRIFTS, means, _published(given, clearing.clear(given)))
        means = drifted.means
        weights = (drifted.rules.scarcity.get(pool.name, 1000) for pool in given.pools)
        offer = Supply(offer.nodes, tuple(weights))
    return offer


def _published(given: Instance, result: Result) -> dict[str, PoolRound]:
    """What the round would say of its pools."""
    bids = {bid.bid_id: bid for bid in given.bids}
    sold = {pool.name: 0 for pool in given.pools}
    for bid_id, award in result.awards.items():
        chosen = bids[bid_id].alternatives[award.alternative]
        sold[chosen.pool] += UNITS[chosen.shape] * award.level
    return {
        pool.name: PoolRound(
            units_offered=7 * sum(pool.nodes), units_sold=sold[pool.name],
            units_total=7 * sum(pool.nodes), price_micros=result.prices.get(pool.name, 0),
            reserve_micros=0, scarcity_permille=pool.scarcity_permille,
        )
        for pool in given.pools
    }  # fmt: skip


def _even(given: Instance) -> Instance:
    """The same window with constant weights."""
    even = tuple(msgspec.structs.replace(pool, scarcity_permille=1000) for pool in given.pools)
    return msgspec.structs.replace(given, pools=even)


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
    few = max(5, min(100, 200_000 // count))
    pairs = list(zip(given, columns, strict=True))
    kernel_ms = timed([_kernel_run(kernel, *pair) for pair in pairs], min(300, 10 * few))
    window_ms = timed([functools.partial(clearing.clear_columns, *pair) for pair in pairs], few)
    del columns, pairs  # a million of them are a gigabyte
    gc.unfreeze()
    gc.collect()
    result = clearing.clear(given[0])
    line = Line(
        workload=workload, bids=count, devices=8 * sum(offer.nodes), winners=len(result.awards),
        scarcity_permille=offer.scarcity_permille, welfare_micros=result.welfare_micros,
        even_welfare_micros=clearing.clear(_even(given[0])).welfare_micros,
        arrival=market_arrival.arrival(given[0]), kernel=kernel_ms, window=window_ms,
        clear=timed([functools.partial(clearing.clear, one) for one in given], few),
        pure=timed([functools.partial(pure.clear, one) for one in given], min(few, 10))
        if count <= PURE_MOST else None,
        receipts_ms=market_arrival.receipts_ms(given[0], result),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )  # fmt: skip
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
    names = (
        "workload", "bids", "devices", "winners", "arrival us", "kernel", "window", "receipts",
        "clear", "pure", "MiB", "weights", "market/LP", "even/LP", "LP s", "HiGHS 1 %/LP",
        "CP-SAT/LP",
    )  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for one in lines:
        table.add_row(
            one.workload, f"{one.bids:,}", f"{one.devices:,}", f"{one.winners:,}",
            f"{one.arrival.decode_us} + {one.arrival.columns_us}", _ms(one.kernel),
            _ms(one.window), f"{one.receipts_ms:,.0f}", _ms(one.clear), _ms(one.pure),
            f"{one.peak_mib:,}", " ".join(map(str, one.scarcity_permille)),
            _share(one.lp, one.welfare_micros), _share(one.lp, one.even_welfare_micros),
            "-" if one.lp is None else f"{one.lp.solve_s:.1f}", _solver(one.mip, one.lp),
            _solver(one.cpsat, one.lp),
        )  # fmt: skip
    rich.console.Console(width=280).print(table)


def one_line(workload: str, size: int, limit_s: float, lp_limit_s: float) -> Line:
    """Measure one line here; ``limit_s`` 0 asks no solver."""
    line, given = measure(workload, size, Kernel(building.ensure()))
    if not limit_s:
        return line
    raw = msgspec.json.encode(given)
    del given
    gc.collect()
    found = {kind: market_solvers.solve(kind, raw, limit_s) for kind in ("mip", "cpsat")}
    # The bound is what all shares are of, so it may take longer.
    bound = market_solvers.solve("lp", raw, lp_limit_s)
    if bound is not None and bound.status != "Optimal":
        bound = None  # what it has by then bounds nothing
    return msgspec.structs.replace(line, lp=bound, limit_s=limit_s, **found)


def _elsewhere(workload: str, size: int, limit_s: float, lp_limit_s: float) -> list[Line]:
    """One line, by a process of its own."""
    command = [
        sys.executable, "-m", __spec__.name, "--bids", str(size), "--workload", workload, "--json",
        "--limit", str(limit_s), "--lp-limit", str(lp_limit_s), *(["--solvers"] if limit_s else []),
    ]  # fmt: skip
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    sys.stderr.write(f"bench_market: {workload} {size:,} done\n")
    return msgspec.json.decode(ran.stdout, type=list[Line])


def main(
    count: Annotated[list[int] | None, typer.Option("--bids", min=1, help="Sizes.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="mixed, inference, training.")] = None,
    solvers: Annotated[bool, typer.Option("--solvers", help="LP, HiGHS and CP-SAT too.")] = False,
    limit_s: Annotated[float, typer.Option("--limit", help="Seconds a solver may take.")] = 20.0,
    lp_limit_s: Annotated[float, typer.Option("--lp-limit", help="Seconds of the LP.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    missing = [name for name in ("highspy", "ortools") if importlib.util.find_spec(name) is None]
    if solvers and missing:
        raise typer.BadParameter(f"install {' and '.join(missing)} first", param_hint="--solvers")
    if not clearing.warm():
        sys.exit("bench_market: no kernel here; its log line says why")
    wanted = [
        (name, size) for size in count or SIZES for name in workload or market_draws.WORKLOADS
    ]
    limits = (limit_s if solvers else 0.0, lp_limit_s)
    lines = [one_line(*wanted[0], *limits)] if len(wanted) == 1 else [
        line for name, size in wanted for line in _elsewhere(name, size, *limits)
    ]  # fmt: skip
    if as_json:
        sys.stdout.write(codec.pretty(lines) + "\n")
    else:
        show(lines)


if __name__ == "__main__":
    typer.run(main)
