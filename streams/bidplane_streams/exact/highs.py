"""HiGHS: the only door to the solver.

Decides its options and the numbers that pass. Refuses to believe it: solving.py checks every
answer. The library is loaded on first use; it and ortools cannot live in one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bidplane_streams.exact.model import Model

_OPTIONS: Final = {
    "output_flag": False, "threads": 1, "mip_rel_gap": 0.0, "mip_abs_gap": 0.5, "random_seed": 1,
    # These cost more than they save on such small programs: a third of the time or more, measured.
    "presolve": "off", "mip_detect_symmetry": False, "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False, "mip_heuristic_run_root_reduced_cost": False,
    "mip_heuristic_run_feasibility_jump": False, "mip_heuristic_effort": 0.0,
}  # fmt: skip


class Found(NamedTuple):
    """Copies by column, and the bound, if the solver says that they are the optimum."""

    copies: list[float]
    bound: float


def load() -> Any:
    """The library: a tenth of a second, once."""
    import highspy  # noqa: PLC0415 - processes that never solve never load it

    return highspy


class Program:
    """A model in the solver, solved again and again with other bids forbidden."""

    def __init__(self, model: Model) -> None:
        """Hand the rows over."""
        self._library = load()
        self._model = model
        self._highs = self._library.Highs()
        for name, value in _OPTIONS.items():
            self._highs.setOptionValue(name, value)
        self._highs.passModel(self._linear())

    def _linear(self) -> Any:
        library, model = self._library, self._model
        linear = library.HighsLp()
        linear.num_col_, linear.num_row_ = len(model.most), len(model.rows)
        others = len(model.most) - len(model.ways)
        linear.col_cost_ = [float(way.gain) for way in model.ways] + [0.0] * others
        linear.col_lower_ = [0.0] * len(model.most)
        linear.col_upper_ = [float(most) for most in model.most]
        infinity = library.kHighsInf
        linear.row_lower_ = [
            -infinity if row.least is None else float(row.least) for row in model.rows
        ]
        linear.row_upper_ = [float(row.most) for row in model.rows]
        linear.sense_ = library.ObjSense.kMaximize
        starts, entries = [0], [entry for row in model.rows for entry in row.entries]
        for row in model.rows:
            starts.append(starts[-1] + len(row.entries))
        linear.a_matrix_.format_ = library.MatrixFormat.kRowwise
        linear.a_matrix_.start_ = starts
        linear.a_matrix_.index_ = [column for column, _ in entries]
        linear.a_matrix_.value_ = [float(number) for _, number in entries]
        kinds = library.HighsVarType
        linear.integrality_ = [
            kinds.kInteger if whole else kinds.kContinuous for whole in model.whole
        ]
        return linear

    def optimum(self, limit_s: float, without: Sequence[int] = ()) -> Found | None:
        """The best without these columns; None where it is not proven in time."""
        if limit_s <= 0:
            return None
        for column in without:
            self._highs.changeColBounds(column, 0.0, 0.0)
        self._highs.setOptionValue("time_limit", limit_s)
        self._highs.run()
        found = None
        if self._highs.getModelStatus() == self._library.HighsModelStatus.kOptimal:
            copies = list(self._highs.getSolution().col_value)
            found = Found(copies, self._highs.getInfo().mip_dual_bound)
        for column in without:  # forgets the answer
            self._highs.changeColBounds(column, 0.0, float(self._model.most[column]))
        return found

    def relaxed(self) -> float | None:
        """The LP's optimum, however long it takes; the program solves nothing else afterwards."""
        self._highs.setOptionValue("solve_relaxation", True)
        self._highs.run()
        if self._highs.getModelStatus() != self._library.HighsModelStatus.kOptimal:
            return None
        return float(self._highs.getInfo().objective_function_value)
