"""Seeded nodes and pods of openb's shape, for when no trace is given.

Decides draws from written-down marginals (workload.py holds those of pods). Refuses to read files:
the figures below were counted once, from the 1,213 GPU nodes and 8,152 pods of openb.
"""

from __future__ import annotations

import random
from typing import Final

from bidplane_loadtest import workload
from bidplane_loadtest.simulator.cluster import Node, Request
from bidplane_loadtest.simulator.openb import Pod

# How many nodes there are of each kind: CPU in thousandths, MiB, GPUs, model.
NODES: Final[tuple[tuple[int, int, int, int, str], ...]] = (
    (549, 96_000, 393_216, 8, "G2"), (387, 104_000, 524_288, 2, "T4"),
    (107, 16_000, 122_880, 2, "P100"), (39, 128_000, 786_432, 8, "G3"),
    (28, 32_000, 131_072, 4, "V100M16"), (22, 64_000, 262_144, 2, "P100"),
    (21, 96_000, 786_432, 8, "V100M32"), (19, 8_000, 32_768, 1, "V100M16"),
    (17, 96_000, 393_216, 4, "T4"), (9, 48_000, 376_832, 4, "V100M32"),
    (8, 64_000, 262_144, 8, "V100M16"), (5, 8_000, 61_440, 2, "P100"),
    (2, 128_000, 1_048_576, 1, "A10"),
)  # fmt: skip
# Shape -> the most frequent requests: how many pods, CPU in thousandths, MiB, GPUs, thousandths.
REQUESTS: Final[dict[str, tuple[tuple[int, int, int, int, int], ...]]] = {
    "1": (
        (1047, 3152, 5600, 1, 810), (857, 11300, 49152, 1, 1000), (534, 11400, 48128, 1, 1000),
        (470, 3152, 5600, 1, 1000), (255, 18708, 64512, 1, 1000), (237, 11908, 47104, 1, 650),
        (195, 9810, 41560, 1, 1000), (158, 12000, 24576, 1, 1000), (158, 15700, 58368, 1, 1000),
        (153, 11908, 47104, 1, 1000), (108, 16000, 32768, 1, 1000), (104, 8000, 16384, 1, 1000),
        (104, 4000, 24576, 1, 1000), (99, 12000, 16384, 1, 1000), (93, 14200, 58368, 1, 1000),
        (84, 24200, 93184, 1, 1000),
    ),
    "4g": (
        (388, 11908, 47104, 1, 470), (360, 8000, 30517, 1, 470), (72, 4152, 10600, 1, 550),
        (51, 6000, 6144, 1, 460), (29, 6000, 12288, 1, 460), (18, 4000, 22888, 1, 480),
    ),
    "3g": (
        (111, 4000, 22888, 1, 320), (78, 4000, 15258, 1, 320), (72, 8000, 30517, 1, 320),
        (45, 4152, 10600, 1, 370),
    ),
    "2g": (
        (84, 4000, 30517, 1, 230), (53, 4000, 15258, 1, 160), (26, 4000, 22888, 1, 230),
        (24, 4000, 15258, 1, 220),
    ),
    "1g": (
        (9, 4000, 22888, 1, 110), (8, 4000, 15258, 1, 110), (4, 6000, 22888, 1, 110),
        (4, 6000, 22888, 1, 50),
    ),
    "8": (
        (18, 88000, 327680, 8, 1000), (18, 64200, 263168, 8, 1000), (3, 120000, 737280, 8, 1000),
        (3, 64000, 262144, 8, 1000),
    ),
    "2": (
        (7, 16200, 66560, 2, 1000), (3, 6000, 65536, 2, 1000), (3, 30200, 160768, 2, 1000),
        (2, 17400, 43008, 2, 1000),
    ),
    "4": (
        (9, 32200, 132096, 4, 1000), (3, 32000, 131072, 4, 1000), (3, 60200, 320512, 4, 1000),
    ),
    "": (
        (364, 12500, 57344, 0, 0), (284, 32000, 49152, 0, 0), (163, 8000, 30517, 0, 0),
        (120, 15400, 51200, 0, 0), (95, 16500, 51200, 0, 0),
    ),
}  # fmt: skip
NO_GPU: Final = ""
# For seven pods with a GPU there is one without.
CPU_ONE_IN: Final = 7


def nodes(keep_one_in: int = 1) -> tuple[Node, ...]:
    """The trace's mix of nodes, or every n-th of each kind, the first kinds at least once."""
    found = []
    for count, cpu_milli, memory_mib, gpus, model in NODES:
        wanted = max(1 if count * 4 >= keep_one_in else 0, count // keep_one_in)
        found += [(cpu_milli, memory_mib, gpus, model)] * wanted
    # Mixed, as in the trace: rules that fall back on names fare worse where kinds stand together.
    random.Random("nodes").shuffle(found)
    return tuple(Node(f"seeded-node-{number:04d}", *kind) for number, kind in enumerate(found))


def pods(seed: int, count: int) -> tuple[Pod, ...]:
    """``count`` pods, in order of arrival; the same seed gives the same pods on every machine."""
    dice = random.Random(f"pods {seed}")
    found = []
    for job in workload.draw(seed, count).jobs:
        request = _request(dice, job.shape)
        found.append(Pod(job.name, request, job.qos, job.created_s, job.duration_s))
        if dice.randrange(CPU_ONE_IN) == 0:
            bare = _request(dice, NO_GPU)
            found.append(Pod(f"{job.name}-cpu", bare, job.qos, job.created_s, job.duration_s))
    return tuple(found)


def _request(dice: random.Random, shape: str) -> Request:
    kinds = REQUESTS[shape]
    return Request(*dice.choices(kinds, [kind[0] for kind in kinds])[0][1:])
