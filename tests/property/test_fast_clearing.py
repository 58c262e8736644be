"""The kernel against the pure path: the same bytes for every window and rule."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import subprocess
import sys

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bidplane_streams.fast import building, clearing
from bidplane_streams.fast.columns import Columns
from bidplane_streams.fast.native import RULES, Kernel
from bidplane_streams.market import clearing as pure
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool
from clearing_instances import corpus, instances
from fast_kernels import answer
from fast_windows import windows

FAST = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    """The kernel as workers load it."""
    assert clearing.warm()
    return Kernel(building.ensure())


def expected(instance: Instance, rule: str) -> bytes:
    """The pure path's result as bytes."""
    return msgspec.json.encode(pure.clear(instance, rule))


@FAST
@given(instance=instances(), rule=st.sampled_from(sorted(RULES)))
def test_kernel_equals_pure_path(kernel: Kernel, instance: Instance, rule: str) -> None:
    """Awards, positions, prices, welfare and root are the pure path's, byte for byte."""
    assert answer(kernel, instance, rule) == expected(instance, rule)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_kernel_equals_pure_path_when_contested(kernel: Kernel, rule: str) -> None:
    """On contested windows of up to 150 bids, too, the kernel is the pure path."""
    for instance in corpus(120, sizes=(12, 30, 80, 150), seed=11):
        assert answer(kernel, instance, rule) == expected(instance, rule)


@pytest.mark.parametrize("seed", range(4))
def test_kernel_equals_pure_path_at_size(kernel: Kernel, seed: int) -> None:
    """Windows of hundreds to thousands of bids with every feature clear alike under every rule."""
    for instance in windows(3, most=1500, seed=seed):
        for rule in RULES:
            assert answer(kernel, instance, rule) == expected(instance, rule)


@FAST
@given(instance=instances(), shuffle=st.randoms(use_true_random=False))
def test_order_of_arrival_is_nothing(
    kernel: Kernel, instance: Instance, shuffle: random.Random
) -> None:
    """Bids that arrived in another order make the same bytes."""
    bids = list(instance.bids)
    shuffle.shuffle(bids)
    other = msgspec.structs.replace(instance, bids=tuple(bids))
    assert answer(kernel, other) == answer(kernel, instance)


@FAST
@given(before=instances(), after=instances(), data=st.data())
def test_columns_that_lived_equal_fresh_ones(
    kernel: Kernel, before: Instance, after: Instance, data: st.DataObject
) -> None:
    """Columns that bids came to and left from clear as columns made at the close."""
    columns = Columns()
    for bid in before.bids:
        columns.add(bid)
    for bid in data.draw(st.permutations(before.bids)):
        columns.remove(bid.bid_id)
        if bid.bid_id in {one.bid_id for one in after.bids}:
            columns.add(next(one for one in after.bids if one.bid_id == bid.bid_id))
    for bid in after.bids:
        if bid.bid_id not in columns.rows:
            columns.add(bid)
    result = clearing._by(kernel, msgspec.structs.replace(after, bids=()), columns, "greedy")
    assert msgspec.json.encode(result) == expected(after, "greedy")


WIDE = st.one_of(st.integers(2**42 - 3, 2**42 - 1), st.integers(0, 2**42 - 1), st.integers(0, 9))


@st.composite
def wide_bids(draw: st.DrawFn, index: int) -> InstanceBid:
    """A bid of the largest numbers that the contract allows."""
    weight = draw(st.sampled_from((1, 1, 2, 2**20)))
    total = draw(WIDE) // weight
    boost = draw(st.sampled_from((0, 0, min(total, 5), total)))
    elastic = draw(st.booleans())
    return InstanceBid(
        bid_id=f"b{index}", agent="a", mode="elastic" if elastic else "rigid",
        value_micros=total - boost, boost_micros=boost, weight=weight,
        tier=draw(st.sampled_from((1, 1, 0, 2**31))), level_max=64 if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(
                pool=f"p{draw(st.integers(0, 1))}", shape=draw(st.sampled_from(("1g", "8", "64"))),
                slots=draw(st.sampled_from((1, 2**32, 2**32 - 1, 2**20))),
            )
            for _ in range(1 if elastic else draw(st.integers(1, 2)))
        ),
    )  # fmt: skip


@st.composite
def wide_instances(draw: st.DrawFn) -> Instance:
    """Two pools at the largest weights and reserves."""
    pools = tuple(
        InstancePool(
            name=f"p{index}", device_class="d", nodes=draw(st.sampled_from(((8,), (1024,) * 3))),
            scarcity_permille=draw(st.sampled_from((1, 1_000_000))),
            reserve_micros=draw(st.sampled_from((0, 1, 700, 2**53 - 1))),
        )
        for index in range(2)
    )  # fmt: skip
    return Instance(
        market="m", window=2**53 - 1, beacon="ff" * draw(st.integers(0, 70)), slot_ms=1,
        pools=pools, bids=tuple(draw(wide_bids(index)) for index in range(draw(st.integers(0, 6)))),
    )  # fmt: skip


@FAST
@given(instance=wide_instances(), rule=st.sampled_from(sorted(RULES)))
def test_boundary_magnitudes(kernel: Kernel, instance: Instance, rule: str) -> None:
    """At the largest values, weights, durations and reserves the kernel is still exact."""
    assert answer(kernel, instance, rule) == expected(instance, rule)


def outcome(clear: object, instance: Instance) -> object:
    """What a clearing answers, or which error it raises."""
    assert callable(clear)
    try:
        return msgspec.json.encode(clear(instance))
    except Exception as error:  # noqa: BLE001 - whatever it raises, both must
        return type(error), str(error)


ONE = InstanceBid(
    bid_id="x", agent="a", value_micros=900,
    alternatives=(InstanceAlternative(pool="p", shape="1", slots=1),),
)  # fmt: skip
BEYOND = {
    "value": [{"value_micros": 2**42}],
    "value and weight": [{"value_micros": 2**41, "weight": 2}],
    "huge boost": [{"boost_micros": 2**63}],
    "the same id twice": [{}, {"value_micros": 800}],
    "levels of a rigid bid": [{"level_max": 3}],
    "an elastic bid of two ways": [{"mode": "elastic", "alternatives": ONE.alternatives * 2}],
    "tier": [{"tier": 2**31 + 1}],
    "negative value": [{"value_micros": -1}],
    "wide sequence": [{"sequence": 2**60}],
    "many slots": [{"alternatives": (InstanceAlternative(pool="p", shape="1", slots=2**32 + 1),)}],
    "unknown pool": [{"alternatives": (InstanceAlternative(pool="q", shape="1", slots=1),)}],
    "an id that is no text": [{"bid_id": "\ud800"}],
}


@pytest.mark.parametrize("changes", BEYOND.values(), ids=BEYOND)
def test_beyond_the_bounds_the_pure_path_clears(
    kernel: Kernel, changes: list[dict[str, object]]
) -> None:
    """Numbers that the kernel is not exact for, and broken windows, are the pure path's."""
    bids = tuple(msgspec.structs.replace(ONE, **change) for change in changes)
    pool = InstancePool(name="p", device_class="d", nodes=(1,))
    instance = Instance(market="m", window=1, beacon="00", slot_ms=1, pools=(pool,), bids=bids)
    assert outcome(clearing.clear, instance) == outcome(pure.clear, instance)
    assert clearing.is_warm()


def test_processes_agree(kernel: Kernel) -> None:
    """Two processes with different hash seeds clear alike by the kernel, as the pure path does."""
    program = (
        "import sys, hashlib, msgspec; sys.path.insert(0, sys.argv[1])\n"
        "from clearing_instances import corpus\n"
        "from bidplane_streams.fast import clearing\n"
        "assert clearing.warm()\n"
        "raw = b''.join(msgspec.json.encode(clearing.clear(one)) for one in corpus(20))\n"
        "print(hashlib.sha256(raw).hexdigest())"
    )
    tests = str(pathlib.Path(__file__).parents[1])
    said = {
        subprocess.run(
            [sys.executable, "-c", program, tests],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=120,
        ).stdout.decode().strip()
        for seed in ("1", "2")
    }  # fmt: skip
    raw = b"".join(expected(one, "greedy") for one in corpus(20))
    assert said == {hashlib.sha256(raw).hexdigest()}


@FAST
@given(first=st.binary(max_size=150), second=st.binary(max_size=150))
@example(b"", b"")
@example(b"a" * 55, b"")
@example(b"a" * 32, b"b" * 24)
@example(b"a" * 64, b"b" * 64)
def test_hashes_are_sha256(kernel: Kernel, first: bytes, second: bytes) -> None:
    """The kernel's own SHA-256 is the library's, in C and by the processor's instructions."""
    digest = hashlib.sha256(first + second).digest()
    assert kernel.sha256(first, second, native=False) == digest
    assert kernel.sha256(first, second, native=True) in {digest, None}
