"""What the rule `exact` should find, by trying everything: for windows of a few bids.

Packs by the auditor's own search, so that neither the solver's rows nor the core's counters are
believed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import msgspec

from bidplane_agents.audit import mechanism
from bidplane_streams.market.optimum import gain
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

SHAPES: tuple[Shape, ...] = ("1g", "2g", "3g", "4g", "1", "2", "4", "8", "16")
UNITS = mechanism.UNITS
# By bid id: alternative and level.
Awards = dict[str, tuple[int, int]]


def plain(instance: Instance) -> Instance:
    """The same window without what always falls back: tiers, boosts and pins."""
    bids = tuple(
        msgspec.structs.replace(
            bid, tier=1, boost_micros=0,
            alternatives=tuple(
                msgspec.structs.replace(one, tier=None, pinned=None) for one in bid.alternatives
            ),
        )
        for bid in instance.bids
    )  # fmt: skip
    return msgspec.structs.replace(instance, bids=bids)


def window(seed: int, bids: int = 6) -> Instance:
    """A small contested window of any shapes, partly used devices and reserves."""
    dice = random.Random(f"exact {seed}")
    pools = tuple(_pool(dice, index) for index in range(dice.choice((1, 1, 2, 3))))
    shapes = dice.sample(SHAPES, dice.randint(2, len(SHAPES)))
    return Instance(
        market="m", window=1, beacon="9f", slot_ms=1000, pools=pools,
        bids=tuple(_bid(dice, index, len(pools), shapes) for index in range(bids)),
    )  # fmt: skip


def _pool(dice: random.Random, index: int) -> InstancePool:
    partial = tuple(
        (0, tuple(sorted(dice.sample(range(7), dice.randint(1, 6)))))
        for _ in range(dice.choice((0, 0, 1, 2)))
    )
    return InstancePool(
        name=f"p{index}", device_class="gpu",
        nodes=tuple(dice.choice((1, 1, 2, 3, 5, 8, 16)) for _ in range(dice.randint(1, 2))),
        reserve_micros=dice.choice((0, 0, 3, 11)), partial=partial or msgspec.UNSET,
    )  # fmt: skip


def _bid(dice: random.Random, index: int, pools: int, shapes: list[Shape]) -> InstanceBid:
    elastic = dice.random() < 0.3
    low = dice.randint(1, 2) if elastic else 1
    shape = dice.choice(shapes)
    ways = 1 if elastic else dice.choice((1, 1, 2, 3))
    return InstanceBid(
        bid_id=f"b{index}", agent=f"a{index % 4}", mode="elastic" if elastic else "rigid",
        value_micros=dice.randint(0, 40) * UNITS[shape] + dice.randint(0, 5),
        weight=dice.choice((1, 1, 1, 2, 5)), level_min=low,
        level_max=low + dice.randint(0, 2) if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(
                pool=f"p{dice.randrange(pools)}", slots=dice.choice((1, 1, 2)),
                shape=shape if dice.random() < 0.7 else dice.choice(shapes),
            )
            for _ in range(ways)
        ),
    )  # fmt: skip


def feasible(instance: Instance, awards: Awards) -> bool:
    """Whether everything awarded can be packed."""
    sold: dict[str, mechanism.Sold] = {pool.name: () for pool in instance.pools}
    bids = {bid.bid_id: bid for bid in instance.bids}
    for bid_id, (index, level) in awards.items():
        chosen = bids[bid_id].alternatives[index]
        sold[chosen.pool] = mechanism.with_more(sold[chosen.pool], chosen.shape, level)
    return all(
        mechanism.packs(mechanism.stock_of(pool), sold[pool.name]) for pool in instance.pools
    )


def optimum(instance: Instance) -> int:
    """The greatest surplus of any awards that can be packed."""
    pools = {pool.name: pool for pool in instance.pools}
    bids = {bid.bid_id: bid for bid in instance.bids}
    best = 0
    for awards in every(instance):
        surplus = sum(gain(bids[one], index, pools) * k for one, (index, k) in awards.items())
        if surplus > best and feasible(instance, awards):
            best = surplus
    return best


def every(instance: Instance) -> Iterator[Awards]:
    """All awards that bids ask for, whether or not they fit."""
    choices: list[list[tuple[int, int] | None]] = [
        [None, *((index, level) for index in range(len(bid.alternatives))
                 for level in range(bid.level_min, bid.level_max + 1))]
        for bid in instance.bids
    ]  # fmt: skip
    for chosen in itertools.product(*choices):
        yield {
            bid.bid_id: one
            for bid, one in zip(instance.bids, chosen, strict=True)
            if one is not None
        }
