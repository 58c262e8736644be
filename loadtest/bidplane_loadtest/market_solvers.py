"""The same windows for solvers: the LP bound and a MIP by HiGHS, and CP-SAT.

Decides the model, which describes the market's feasibility exactly: market/feasibility.py in linear
rows. Each solver runs in a process of its own, since highspy and ortools cannot share one, and
neither is needed by anything else here.

    python -m bidplane_loadtest.market_solvers lp|mip|cpsat SECONDS < instance.json
"""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
import time
from typing import Any, Final, NamedTuple

import msgspec

from bidplane_streams.market.feasibility import SIZES, Counters
from bidplane_streams.market.shapes import GANGS, MIG, UNITS
from bidplane_topics.instances import Instance, InstancePool, decode_instance

MIP_GAP: Final = 0.01
_MICROS: Final = 1e6
_GRACE_S: Final = 120.0  # to read the window, build the model and start
# A solver that wants more ends without an answer: beside the benchmark it must fit 16 GiB.
_MEMORY_BYTES: Final = 12 * 2**30
# Slices per kind and shared devices: row · (n1, n2, n3, n4, s) <= 0; see feasibility.mig_fits.
_SLICES: Final = (
    (0, 0, 0, 1, -1), (0, 0, 1, 1, -2), (0, 1, 1, 2, -3), (0, 1, 2, 2, -4), (1, 2, 3, 4, -7),
    (1, 2, 4, 4, -8),
)  # fmt: skip


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """What a solver found: welfare and its upper bound, and its own seconds."""

    status: str
    welfare_micros: int
    bound_micros: int
    solve_s: float
    build_s: float


class Row(NamedTuple):
    """Σ coefficient · variable <= most."""

    columns: list[int]
    coefficients: list[int]
    most: int


class Model(NamedTuple):
    """Pairs first, then one variable per pool: its devices shared by slices."""

    values: list[int]
    highest: list[int]
    rows: list[Row]


def solve(kind: str, raw: bytes, limit_s: float) -> Solved | None:
    """Solve an instance's JSON in a process of its own; None where it ended without an answer."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", __spec__.name, kind, str(limit_s)],
            input=raw, stdout=subprocess.PIPE, check=True,
            timeout=limit_s + _GRACE_S,
        )  # fmt: skip
    except subprocess.SubprocessError:
        return None
    return msgspec.json.decode(ran.stdout, type=Solved)


def model(instance: Instance) -> Model:
    """The window's linear rows.

    Raises:
        AssertionError: an elastic bid that must have more than one level: no row says so here.
    """
    values: list[int] = []
    highest: list[int] = []
    rows: list[Row] = []
    by_pool: dict[str, list[tuple[int, str]]] = {pool.name: [] for pool in instance.pools}
    for bid in instance.bids:
        assert bid.level_min == 1, "the benchmark's draws start at one level"
        first = len(values)
        for alternative in bid.alternatives:
            by_pool[alternative.pool].append((len(values), alternative.shape))
            values.append(bid.value_micros)
            highest.append(bid.level_max)
        if len(bid.alternatives) > 1:
            ways = list(range(first, len(values)))
            rows.append(Row(ways, [1] * len(ways), 1))
    for shared, pool in enumerate(instance.pools, len(values)):
        rows += _pool_rows(pool, shared, by_pool[pool.name])
        highest.append(sum(pool.nodes))
    return Model(values + [0] * len(instance.pools), highest, rows)


def _pool_rows(pool: InstancePool, shared: int, pairs: list[tuple[int, str]]) -> list[Row]:
    rows = []
    for *slices, devices in _SLICES:
        cut = [(column, slices[MIG.index(shape)]) for column, shape in pairs if shape in MIG]
        rows.append(_row([(shared, devices), *cut], 0))
    for size, most in zip(SIZES, Counters(pool.nodes).capacity, strict=True):
        whole = [
            (column, UNITS[shape] // 7)
            for column, shape in pairs
            if shape not in MIG and (shape in GANGS or int(shape) >= size)
        ]
        rows.append(_row([(shared, 1 if size == 1 else 0), *whole], most))
    return rows


def _row(entries: list[tuple[int, int]], most: int) -> Row:
    kept = [(column, number) for column, number in entries if number]
    return Row([column for column, _ in kept], [number for _, number in kept], most)


def _by_highs(given: Model, limit_s: float, *, whole: bool) -> Solved:
    """One thread; the LP by its default, the MIP to a gap of one per cent."""
    begun = time.perf_counter()
    highspy: Any = importlib.import_module("highspy")
    highs = highspy.Highs()
    options = {"output_flag": False, "threads": 1, "time_limit": limit_s, "mip_rel_gap": MIP_GAP}
    for name, value in options.items():
        highs.setOptionValue(name, value)
    linear = highspy.HighsLp()
    linear.num_col_, linear.num_row_ = len(given.values), len(given.rows)
    linear.col_cost_ = [value / _MICROS for value in given.values]
    linear.col_lower_ = [0.0] * len(given.values)
    linear.col_upper_ = [float(most) for most in given.highest]
    linear.row_lower_ = [-highspy.kHighsInf] * len(given.rows)
    linear.row_upper_ = [float(row.most) for row in given.rows]
    linear.sense_ = highspy.ObjSense.kMaximize
    starts = [0]
    for row in given.rows:
        starts.append(starts[-1] + len(row.columns))
    linear.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    linear.a_matrix_.start_ = starts
    linear.a_matrix_.index_ = [column for row in given.rows for column in row.columns]
    linear.a_matrix_.value_ = [float(one) for row in given.rows for one in row.coefficients]
    if whole:
        linear.integrality_ = [highspy.HighsVarType.kInteger] * len(given.values)
    highs.passModel(linear)
    built = time.perf_counter()
    highs.run()
    info = highs.getInfo()
    bound = info.mip_dual_bound if whole else info.objective_function_value
    return Solved(
        status=highs.modelStatusToString(highs.getModelStatus()),
        welfare_micros=_micros(info.objective_function_value), bound_micros=_micros(bound),
        solve_s=time.perf_counter() - built, build_s=built - begun,
    )  # fmt: skip


def _micros(credits_: float) -> int:
    """Solvers speak of infinity where they found nothing."""
    return round(credits_ * _MICROS) if abs(credits_) < 1e15 else 0


def _by_cpsat(given: Model, limit_s: float) -> Solved:
    """One worker, a gap of one per cent."""
    begun = time.perf_counter()
    cp: Any = importlib.import_module("ortools.sat.python.cp_model")
    problem = cp.CpModel()
    variables = [problem.NewIntVar(0, most, "") for most in given.highest]
    for row in given.rows:
        terms = [variables[column] for column in row.columns]
        problem.Add(cp.LinearExpr.WeightedSum(terms, row.coefficients) <= row.most)
    problem.Maximize(cp.LinearExpr.WeightedSum(variables, given.values))
    solver = cp.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.relative_gap_limit = MIP_GAP
    built = time.perf_counter()
    status = solver.Solve(problem)
    found = status in {cp.OPTIMAL, cp.FEASIBLE}
    return Solved(
        status=solver.StatusName(status),
        welfare_micros=round(solver.ObjectiveValue()) if found else 0,
        bound_micros=round(solver.BestObjectiveBound()) if found else 0,
        solve_s=time.perf_counter() - built, build_s=built - begun,
    )  # fmt: skip


def main() -> None:
    """Read an instance, answer one JSON object."""
    kind, limit_s = sys.argv[1], float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    given = model(decode_instance(sys.stdin.buffer.read()))
    if kind == "cpsat":
        solved = _by_cpsat(given, limit_s)
    else:
        solved = _by_highs(given, limit_s, whole=kind == "mip")
    sys.stdout.buffer.write(msgspec.json.encode(solved))


if __name__ == "__main__":
    main()
