"""Larger windows than clearing_instances.py draws: thousands of bids, all features, all ties."""

from __future__ import annotations

import random
from typing import Final

from bidplane_streams.fast.columns import SHAPES
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

# Ids of one, two and three blocks of SHA-256, one of them beyond ASCII.
NAMES: Final = ("b", "team/agent/9f3c:", "Ünï-団/", "x" * 70, "long-" * 25)
BEACONS: Final = ("", "9f", "ab" * 32, "cd" * 63)


def windows(count: int, most: int, seed: int) -> list[Instance]:
    """Seeded windows of up to ``most`` bids: the same in every run."""
    dice = random.Random(f"fast {seed}")
    return [_window(dice, dice.randint(most // 3, most)) for _ in range(count)]


def _window(dice: random.Random, size: int) -> Instance:
    count = dice.choice((1, 2, 4, 9))
    # From plenty to a hundredth of what is asked for.
    nodes = max(1, int(size * dice.choice((0.005, 0.02, 0.1, 0.5)) / count))
    pools = tuple(
        InstancePool(
            name=f"p{number}", device_class="gpu",
            nodes=tuple(dice.choice((0, 1, 3, 7, 8, 8, 8, 16)) for _ in range(nodes)),
            scarcity_permille=dice.choice((1000, 500, 1730, 1)),
            reserve_micros=dice.choice((0, 0, 3, 40)),
        )
        for number in range(count)
    )  # fmt: skip
    wanted = dice.sample(SHAPES, dice.randint(1, len(SHAPES)))
    coarse = dice.choice((1, 20, 1000))
    return Instance(
        market="märket", window=dice.randrange(2**40), beacon=dice.choice(BEACONS), slot_ms=1000,
        pools=pools,
        bids=tuple(_bid(dice, number, count, wanted, coarse) for number in range(size)),
    )  # fmt: skip


def _bid(
    dice: random.Random, number: int, pools: int, wanted: list[Shape], coarse: int
) -> InstanceBid:
    elastic = dice.random() < 0.25
    low = dice.choice((1, 1, 2, 5)) if elastic else 1
    first = dice.choice(wanted)
    worth = dice.randint(0, 4000) // coarse * coarse
    ways = 1 if elastic else dice.choice((1, 1, 1, 2, 2, 3, 5))
    return InstanceBid(
        bid_id=f"{dice.choice(NAMES)}{number}", agent="a", sequence=number,
        mode="elastic" if elastic else "rigid", value_micros=worth * UNITS[first],
        boost_micros=dice.choice((0, 0, 0, 0, 777)), weight=dice.choice((1, 1, 1, 1, 3)),
        tier=dice.choice((1, 1, 1, 1, 1, 1, 0, 7)), level_min=low,
        level_max=low + dice.choice((0, 1, 3, 40)) if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(
                pool=f"p{dice.randrange(pools)}",
                shape=first if dice.random() < 0.6 else dice.choice(wanted),
                slots=dice.choice((1, 1, 1, 2, 60)),
            )
            for _ in range(ways)
        ),
    )  # fmt: skip
