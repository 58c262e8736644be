"""Random clearing instances: small enough to check by definition, odd enough to hurt."""

from __future__ import annotations

import random

from hypothesis import strategies as st
from msgspec import UNSET

from bidplane_topics.bids import Shape
from bidplane_topics.instances import (
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    PartialDevice,
)

SHAPES: tuple[Shape, ...] = ("1g", "2g", "3g", "4g", "1", "2", "4", "8", "16")
UNITS = {"1g": 1, "2g": 2, "3g": 3, "4g": 4, "1": 7, "2": 14, "4": 28, "8": 56, "16": 112}
# Few distinct values, so that equal keys (ties) are common.
VALUES = st.one_of(st.integers(0, 12).map(lambda n: n * 70), st.integers(0, 3000))


@st.composite
def alternatives(draw: st.DrawFn, pools: int) -> InstanceAlternative:
    """One alternative in a random pool."""
    return InstanceAlternative(
        pool=f"p{draw(st.integers(0, pools - 1))}",
        shape=draw(st.sampled_from(SHAPES)),
        slots=draw(st.integers(1, 3)),
    )


@st.composite
def bids(draw: st.DrawFn, index: int, pools: int) -> InstanceBid:
    """A rigid bid with up to three alternatives, or an elastic one."""
    elastic = draw(st.booleans())
    low = draw(st.integers(1, 3)) if elastic else 1
    return InstanceBid(
        bid_id=f"b{index}",
        agent=f"a{index % 3}",
        mode="elastic" if elastic else "rigid",
        value_micros=draw(VALUES),
        boost_micros=draw(st.sampled_from((0, 0, 0, 35, 400))),
        weight=draw(st.sampled_from((1, 1, 2, 5))),
        tier=draw(st.sampled_from((1, 1, 1, 0))),
        level_min=low,
        level_max=low + draw(st.integers(0, 3)) if elastic else 1,
        alternatives=tuple(
            draw(st.lists(alternatives(pools), min_size=1, max_size=1 if elastic else 3))
        ),
    )


def partly_used(nodes: int, most: int = 3) -> st.SearchStrategy[tuple[PartialDevice, ...]]:
    """Up to ``most`` devices of which slices have a part, on that many nodes."""
    slots = st.sets(st.integers(0, 6), min_size=1, max_size=6).map(lambda some: tuple(sorted(some)))
    return st.lists(st.tuples(st.integers(0, nodes - 1), slots), max_size=most).map(tuple)


@st.composite
def pools_of(draw: st.DrawFn, index: int) -> InstancePool:
    """A small pool, sometimes with partly used devices."""
    nodes = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    return InstancePool(
        name=f"p{index}",
        device_class="gpu.example.com",
        nodes=nodes,
        scarcity_permille=draw(st.sampled_from((1000, 1000, 500, 1730))),
        reserve_micros=draw(st.sampled_from((0, 0, 3, 11))),
        partial=draw(st.one_of(st.just(()), partly_used(len(nodes)))) or UNSET,
    )


@st.composite
def instances(draw: st.DrawFn, most: int = 12) -> Instance:
    """Up to ``most`` bids on one or two small pools."""
    count = draw(st.integers(1, 2))
    pools = tuple(draw(pools_of(index)) for index in range(count))
    size = draw(st.integers(0, most))
    return Instance(
        market="m",
        window=1,
        beacon=draw(st.sampled_from(("00", "9f", "abcdef"))),
        slot_ms=1000,
        pools=pools,
        bids=tuple(draw(bids(index, count)) for index in range(size)),
    )


def corpus(count: int, sizes: tuple[int, ...] = (5, 12, 30), seed: int = 7) -> list[Instance]:
    """Seeded, contested instances of up to four pools: the same in every run."""
    source = random.Random(seed)
    return [_contested(source, source.choice(sizes)) for _ in range(count)]


def _contested(source: random.Random, size: int) -> Instance:
    pools = tuple(_stocked(source, index) for index in range(source.randint(1, 4)))
    shapes = source.sample(SHAPES, source.randint(1, len(SHAPES)))
    coarse = source.random() < 0.6
    bids = tuple(
        _contender(source, index, len(pools), shapes, coarse=coarse) for index in range(size)
    )
    return Instance(market="m", window=1, beacon="9f", slot_ms=1000, pools=pools, bids=bids)


def _stocked(source: random.Random, index: int) -> InstancePool:
    """A pool; one in two has devices that slices use in part."""
    nodes = tuple(source.choice((0, 1, 2, 3, 5, 8, 8, 9, 12)) for _ in range(source.randint(1, 5)))
    partial = tuple(
        (source.randrange(len(nodes)), tuple(sorted(source.sample(range(7), source.randint(1, 6)))))
        for _ in range(source.choice((0, 0, 0, 1, 3, 6)))
    )
    return InstancePool(
        name=f"p{index}", device_class="gpu.example.com", nodes=nodes,
        scarcity_permille=source.choice((1000, 500, 1730)),
        reserve_micros=source.choice((0, 0, 3, 40)), partial=partial or UNSET,
    )  # fmt: skip


def _contender(
    source: random.Random, index: int, pools: int, shapes: list[Shape], *, coarse: bool
) -> InstanceBid:
    """A bid; coarse values per unit make equal keys common."""
    elastic = source.random() < 0.3
    low = source.randint(1, 3) if elastic else 1
    first = source.choice(shapes)
    value = source.randint(0, 6) * 20 if coarse else source.randint(0, 200)
    return InstanceBid(
        bid_id=f"b{index}",
        agent="a",
        mode="elastic" if elastic else "rigid",
        value_micros=value * UNITS[first] + (0 if coarse else source.randint(0, 9)),
        boost_micros=source.choice((0, 0, 0, 77)),
        weight=source.choice((1, 1, 1, 3)),
        tier=source.choice((1, 1, 1, 1, 0)),
        level_min=low,
        level_max=low + source.randint(0, 4) if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(
                pool=f"p{source.randrange(pools)}",
                shape=first if source.random() < 0.7 else source.choice(shapes),
                slots=source.choice((1, 1, 1, 2)),
            )
            for _ in range(1 if elastic else source.choice((1, 1, 2, 3, 4)))
        ),
    )
