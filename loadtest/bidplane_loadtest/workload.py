"""A seeded workload of the openb trace's shape, for when no trace is given; and the gangs it lacks.

Decides draws from written-down marginals. Refuses to read files: the figures below were counted
once, from the 7,064 GPU pods of openb_pod_list_default.csv (Alibaba cluster-trace-gpu-v2023).
"""

from __future__ import annotations

import bisect
import math
import random
from typing import Final

from bidplane_loadtest.jobs import Job, Qos, Workload
from bidplane_topics.bids import Shape

PODS: Final = 7064
# Shape -> how many pods of each QoS class.
COUNTS: Final[dict[Shape, dict[Qos, int]]] = {
    "1": {"LS": 3437, "BE": 1798, "Burstable": 76, "Guaranteed": 6},
    "4g": {"LS": 519, "BE": 452},
    "3g": {"LS": 2, "BE": 387},
    "2g": {"BE": 280},
    "8": {"LS": 23, "Burstable": 21},
    "1g": {"LS": 1, "BE": 31},
    "2": {"LS": 15, "Burstable": 1},
    "4": {"LS": 14, "Burstable": 1},
}
QUANTILES: Final = (0.01, 0.10, 0.25, 0.50, 0.75, 0.90, 0.99)
# Shape -> durations in seconds at QUANTILES.
DURATIONS_S: Final[dict[Shape, tuple[int, ...]]] = {
    "1": (12, 80, 186, 539, 1860, 4903, 112_601),
    "4g": (6, 53, 113, 378, 1200, 3879, 193_496),
    "3g": (5, 84, 366, 1166, 5411, 15_004, 55_746),
    "2g": (2, 67, 204, 994, 5871, 18_296, 72_698),
    "8": (58, 137, 259, 553, 17_759, 101_998, 1_332_357),
    "1g": (8, 15, 1063, 4177, 22_724, 43_010, 521_660),
    "2": (41, 55, 450, 2268, 13_054, 27_404, 912_664),
    "4": (23, 23, 36, 542, 5078, 23_925, 44_259),
}
# Pauses between arrivals in seconds at QUANTILES; the first percentile is 0, written as 1.
GAPS_S: Final = (1, 10, 53, 187, 502, 1115, 3780)
# Training gangs: no pod of the trace spans nodes, so these are ours  and fill what the trace lacks.
GANG_SHAPES: Final[tuple[Shape, ...]] = ("8", "8", "16")
GANG_DURATION_S: Final = (900, 2400)


def draw(seed: int, count: int = PODS) -> Workload:
    """``count`` jobs of the trace's shape; the same seed gives the same jobs on every machine."""
    dice = random.Random(seed)
    kinds = [(shape, qos) for shape, by_qos in COUNTS.items() for qos in by_qos]
    weights = [COUNTS[shape][qos] for shape, qos in kinds]
    jobs: list[Job] = []
    at_s = 0
    for number in range(count):
        shape, qos = dice.choices(kinds, weights)[0]
        jobs.append(
            Job(
                name=f"seeded-{number:05d}", shape=shape, qos=qos, created_s=at_s,
                duration_s=quantile(DURATIONS_S[shape], dice.random()),
            )
        )  # fmt: skip
        at_s += quantile(GAPS_S, dice.random())
    return Workload(source=f"a seeded draw of openb's shape (seed {seed})", jobs=tuple(jobs))


def gangs(seed: int, count: int, span_s: int) -> tuple[Job, ...]:
    """``count`` training jobs on 8 or 16 GPUs, spread over ``span_s`` trace seconds."""
    dice = random.Random(f"gangs {seed}")
    return tuple(
        Job(
            name=f"gang-{number:03d}", shape=dice.choice(GANG_SHAPES), qos="Guaranteed",
            created_s=number * span_s // max(1, count), duration_s=dice.randint(*GANG_DURATION_S),
        )
        for number in range(count)
    )  # fmt: skip


def quantile(values: tuple[int, ...], at: float) -> int:
    """The value at ``at`` in [0, 1): straight between logarithms at QUANTILES, flat outside."""
    place = bisect.bisect_left(QUANTILES, at)
    if place == 0:
        return values[0]
    if place == len(QUANTILES):
        return values[-1]
    low, high = QUANTILES[place - 1], QUANTILES[place]
    share = (at - low) / (high - low)
    logarithm = math.log(values[place - 1]) * (1 - share) + math.log(values[place]) * share
    return round(math.exp(logarithm))
