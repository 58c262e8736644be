"""Figures as people read them, by the names that Grafana has for units."""

from __future__ import annotations

import math
from typing import Final

_BIG: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_CLOCK: Final = (
    15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0,
    172_800.0, 432_000.0, 864_000.0, 2_592_000.0, 8_640_000.0,
)  # fmt: skip
TICKS: Final = 6
_BYTES: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def shown(value: float, unit: str) -> str:
    """The value with its unit."""
    match unit:
        case "s":
            return _scaled(value, _TIMES, "µs", 1e-6)
        case "bytes":
            return _scaled(value, _BYTES, "B", 1)
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "ops":
            return f"{_short(value)}/s"
        case _ if unit.startswith("suffix:"):
            return f"{_short(value)} {unit.removeprefix('suffix:').strip()}"
        case _:
            return _short(value)


def tick(top: float, unit: str) -> float:
    """How far apart marks on an axis stand whose figures are no decimals; 0: as for decimals."""
    if unit == "bytes" and top > 0:
        return float(2 ** max(0, math.ceil(math.log2(top / TICKS))))
    if unit == "s" and top > 60:
        return next((one for one in _CLOCK if top / one <= TICKS), 0.0)
    return 0.0


def _scaled(value: float, scales: tuple[tuple[float, str], ...], least: str, one: float) -> str:
    if value == 0:
        return "0"
    for size, name in scales:
        if abs(value) >= size:
            return f"{_digits(value / size)} {name}"
    return f"{_digits(value / one)} {least}"


def _short(value: float) -> str:
    if 0 < abs(value) < 1e-3:
        return f"{value * 1e6:.3g} µ"
    for size, name in _BIG:
        if abs(value) >= size:
            return f"{_digits(value / size)} {name}"
    return _digits(value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
