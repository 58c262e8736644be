"""Gunther's Universal Scalability Law through the steps of a capacity run, with intervals.

Decides when a fit means something: enough steps, and no interval wider than its value. Refuses to
predict beyond 1.5 times what was measured. Pure.

    X(N) = gamma N / (1 + sigma (N - 1) + kappa N (N - 1))

N is the mean number of bids between their intended send and their admission, by Little's law (rate
times latency); X is the rate achieved.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from bidplane_loadtest.load.figures import Floats, PhaseFigures

POINTS_LEAST: Final = 5
REACH: Final = 1.5
CONFIDENCE: Final = 0.95
_NAMES: Final = ("gamma", "sigma", "kappa")


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A fit: value, and half the width of its 95 % interval, by parameter.

    ``peak_n`` and ``peak_per_s`` are given where the curve bends down within reach (1.5 times the
    greatest N measured). ``meaningful`` is False where ``why`` says so.
    """

    meaningful: bool
    why: str = ""
    points: tuple[tuple[float, float], ...] = ()
    values: dict[str, float] = {}
    half_widths: dict[str, float | None] = {}
    reach_n: float = 0.0
    peak_n: float | None = None
    peak_per_s: float | None = None


def law(n: Any, gamma: float, sigma: float, kappa: float) -> Any:
    """The rate at a concurrency."""
    return gamma * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def points(phases: Sequence[PhaseFigures]) -> list[tuple[float, float]]:
    """(N, X) of each measured step: achieved rate times mean latency of admission."""
    return [
        (round(one.achieved_per_s * one.admitted.mean / 1000, 3), one.achieved_per_s)
        for one in phases
        if one.measured and one.whole and one.admitted.mean is not None and one.achieved_per_s
    ]


def fit(found: Sequence[tuple[float, float]]) -> Fit:
    """The law through (N, X)."""
    if len(found) < POINTS_LEAST:
        return Fit(
            meaningful=False, points=tuple(found),
            why=f"{len(found)} steps: three parameters want {POINTS_LEAST} or more",
        )  # fmt: skip
    n, x = (np.array(column, float) for column in zip(*found, strict=True))
    try:
        values, widths = _fitted(n, x)
    except RuntimeError as error:
        return Fit(meaningful=False, points=tuple(found), why=f"no fit: {error}")
    named = dict(zip(_NAMES, values, strict=True))
    halves = {k: v if math.isfinite(v) else None for k, v in zip(_NAMES, widths, strict=True)}
    wide = [
        name for name in _NAMES
        if (half := halves[name]) is None or 2 * half > abs(named[name])
    ]  # fmt: skip
    reach = REACH * float(n.max())
    peak = math.sqrt((1 - named["sigma"]) / named["kappa"]) if _bends(named) else math.inf
    within = not wide and peak <= reach
    return Fit(
        meaningful=not wide, points=tuple(found), values=named, half_widths=halves, reach_n=reach,
        why=f"the intervals of {', '.join(wide)} are wider than their values" if wide else "",
        peak_n=peak if within else None,
        peak_per_s=float(law(peak, *values)) if within else None,
    )  # fmt: skip


def _bends(named: dict[str, float]) -> bool:
    return named["kappa"] > 0 and named["sigma"] < 1


def _fitted(n: Floats, x: Floats) -> tuple[list[float], list[float]]:
    """Least squares of relative errors, since steps grow by factors; values and half widths."""
    optimize: Any = importlib.import_module("scipy.optimize")
    stats: Any = importlib.import_module("scipy.stats")
    start = (float(x[0] / n[0]) if n[0] else 1.0, 0.01, 1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a covariance that cannot be had comes as infinity
        values, covariance = optimize.curve_fit(
            law, n, x, p0=start, sigma=x, bounds=(0, np.inf), maxfev=20_000
        )
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(n) - len(_NAMES)))
    widths = [t * math.sqrt(one) if one >= 0 else math.inf for one in np.diag(covariance)]
    return [float(one) for one in values], widths
