"""What work is worth: a draw per GPU-hour, independent of size, times how urgent its class is.

Decides three shapes of that draw, with the same mean. Refuses to know policies.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

from bidplane_loadtest.jobs import Qos

# Micro-credits for one GPU for one hour, in the mean, of best-effort work.
MEAN_MICROS: Final = 1_000_000
SIGMA: Final = 0.8
ALPHA: Final = 2.5
URGENCY: Final[dict[Qos, int]] = {"LS": 4, "Guaranteed": 2, "Burstable": 2, "BE": 1}
# Thousandths of a GPU times milliseconds in a GPU-hour.
GPU_HOUR: Final = 1000 * 3_600_000

Draw = Callable[[random.Random], float]


def lognormal(dice: random.Random) -> float:
    """Mean 1, a median of 0.73: most are alike, some are worth several times as much."""
    return dice.lognormvariate(-SIGMA * SIGMA / 2, SIGMA)


def pareto(dice: random.Random) -> float:
    """Mean 1, at least 0.6: a heavy tail."""
    return dice.paretovariate(ALPHA) * (ALPHA - 1) / ALPHA


def uniform(dice: random.Random) -> float:
    """Mean 1, from 0.2 to 1.8."""
    return dice.uniform(0.2, 1.8)


DRAWS: Final[dict[str, Draw]] = {"lognormal": lognormal, "pareto": pareto, "uniform": uniform}


def worth_micros(per_hour: float, qos: Qos, size: int) -> int:
    """Micro-credits of a job of ``size`` (thousandths of a GPU times milliseconds), at least 1."""
    return max(1, math.floor(per_hour * MEAN_MICROS * URGENCY[qos] * size / GPU_HOUR))
