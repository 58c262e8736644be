"""Seeded windows for the market's benchmark: three workloads on four pools, at any size.

Decides shapes, values, alternatives and supply. Refuses durations: every bid asks for one slot,
since a bound on one window's welfare knows no time. Amounts are micro-credits.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from bidplane_streams.market.shapes import UNITS
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

WORKLOADS: Final = ("mixed", "inference", "training")
# The devices that a size of window is cleared on.
DEVICES: Final = ((100, 64), (1_000, 512), (10_000, 4_096), (100_000, 10_000), (10**9, 10_000))
_SHAPES: Final[tuple[Shape, ...]] = (
    "1g", "2g", "3g", "4g", "1", "2", "4", "8", "16", "32", "64"
)  # fmt: skip
_MIX: Final = {
    "mixed": (14, 10, 7, 7, 22, 12, 10, 10, 4, 3, 1),
    "inference": (40, 20, 12, 8, 15, 3, 1, 1, 0, 0, 0),
    "training": (0, 0, 0, 0, 15, 15, 20, 30, 10, 7, 3),
}
_ELASTIC_PERCENT: Final = {"mixed": 10, "inference": 20, "training": 0}
_NODE: Final = 8
# Four generations of devices: their share of the supply, and what a device's slot is worth there.
_SHARES: Final = (0.4, 0.3, 0.2, 0.1)
_WORTH_MICROS: Final = (3_000_000, 1_800_000, 1_200_000, 700_000)


class Supply(NamedTuple):
    """Nodes of eight devices per pool, and each pool's scarcity weight."""

    nodes: tuple[int, ...]
    scarcity_permille: tuple[int, ...]


def supply(bids: int) -> Supply:
    """The devices for a window of this size, no pool scarcer than another."""
    devices = next(devices for most, devices in DEVICES if bids <= most)
    nodes = tuple(max(1, round(share * devices / _NODE)) for share in _SHARES)
    return Supply(nodes, (1000,) * len(nodes))


def window(workload: str, count: int, offer: Supply, seed: int) -> Instance:
    """``count`` bids for the offer."""
    dice = random.Random(f"market {workload} {count} {seed}")
    whole = max(offer.nodes) * _NODE
    weights = [
        0 if shape.isdigit() and int(shape) > whole else weight
        for shape, weight in zip(_SHAPES, _MIX[workload], strict=True)
    ]
    shapes = dice.choices(_SHAPES, weights, k=count)
    homes = dice.choices(range(len(offer.nodes)), offer.nodes, k=count)
    elastic = _ELASTIC_PERCENT[workload]
    return Instance(
        market="bench", window=1, beacon=f"{dice.getrandbits(256):064x}", slot_ms=60_000,
        pools=tuple(
            InstancePool(name=f"p{pool}", device_class="gpu", nodes=(_NODE,) * nodes,
                         scarcity_permille=offer.scarcity_permille[pool])
            for pool, nodes in enumerate(offer.nodes)
        ),
        bids=tuple(
            _bid(dice, number, shape, home, len(offer.nodes), elastic)
            for number, (shape, home) in enumerate(zip(shapes, homes, strict=True))
        ),
    )  # fmt: skip


def _bid(
    dice: random.Random, number: int, shape: Shape, home: int, pools: int, elastic_percent: int
) -> InstanceBid:
    """A lognormal value per unit, a little less for large shapes; often other pools will do."""
    elastic = dice.random() * 100 < elastic_percent and shape in {"1g", "2g", "1", "2", "4"}
    worth = dice.lognormvariate(0.0, 0.6) * _WORTH_MICROS[home] / 7
    ways = [home]
    if not elastic:
        others = [pool for pool in range(pools) if pool != home]
        ways += others[: (dice.random() < 0.5) + (dice.random() < 0.2)]
    return InstanceBid(
        bid_id=f"team-{number % 50:02d}/agent/{number:08d}", agent=f"team-{number % 50:02d}/agent",
        sequence=number, mode="elastic" if elastic else "rigid",
        value_micros=1 + int(worth * UNITS[shape] ** 0.95),
        level_max=dice.choice((2, 3, 4)) if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(pool=f"p{pool}", shape=_smaller(dice, shape, pool == home), slots=1)
            for pool in ways
        ),
    )  # fmt: skip


def _smaller(dice: random.Random, shape: Shape, at_home: bool) -> Shape:
    """Elsewhere one fifth of the larger bids would do with half as much."""
    index = _SHAPES.index(shape)
    if at_home or index < _SHAPES.index("2") or dice.random() >= 0.2:
        return shape
    return _SHAPES[index - 1]
