"""What fits is downward-closed: nothing sold makes room, and what is sold could be sold in part."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidplane_streams.market.feasibility import Counters
from bidplane_streams.market.greedy import Auction
from bidplane_topics.instances import Instance, InstancePool
from clearing_instances import SHAPES, corpus, instances, pools_of

FAST = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LEVELS = (1, 2, 5)


def asked(pool: InstancePool) -> list[str]:
    """Every shape, and whole ones pinned to the pool's first and last node."""
    ends = {0, len(pool.nodes) - 1}
    return [*SHAPES, *(f"{size}@{node}" for size in (1, 2, 4, 8) for node in sorted(ends))]


def closed(counters: Counters, pool: InstancePool) -> set[tuple[str, int]]:
    """The shapes and numbers of copies that do not fit."""
    return {
        (shape, copies) for shape in asked(pool)
        for copies in (LEVELS if "@" not in shape else (1,))
        if not counters.fits(shape, copies)
    }  # fmt: skip


def sold_at_random(pool: InstancePool, seed: int, tries: int) -> list[str]:
    """Shapes accepted one after the other; each closing is for good."""
    dice = random.Random(seed)
    counters = Counters.of(pool)
    sold: list[str] = []
    shut = closed(counters, pool)
    for shape in dice.choices(asked(pool), k=tries):
        if not counters.fits(shape):
            continue
        counters.add(shape)
        sold.append(shape)
        now = closed(counters, pool)
        assert shut <= now, f"{sorted(shut - now)} fit again after {sold}"
        shut = now
    return sold


@FAST
@given(pools_of(0), st.integers(0, 2**32))
def test_a_closed_shape_never_reopens(pool: InstancePool, seed: int) -> None:
    """Whatever is sold, a shape or number of copies that stopped fitting never fits again."""
    sold_at_random(pool, seed, 40)


@FAST
@given(pools_of(0), st.integers(0, 2**32))
def test_any_part_of_what_was_sold_fits_in_any_order(pool: InstancePool, seed: int) -> None:
    """A random part of what a pool accepted is accepted in every order, copy by copy."""
    sold = sold_at_random(pool, seed, 25)
    dice = random.Random(seed)
    part = dice.sample(sold, dice.randint(0, len(sold)))
    counters = Counters.of(pool)
    for shape in part:
        assert counters.fits(shape), f"{shape} of {part}"
        counters.add(shape)


@FAST
@given(instances())
def test_the_scan_never_accepts_behind_a_refusal(instance: Instance) -> None:
    """Behind the first pair of a shape that did not fit at all, no pair of that shape wins."""
    check_scan(instance)


def check_scan(instance: Instance) -> None:
    """Replay the scan on counters of its own and look at every pair in turn."""
    auction = Auction(instance)
    outcome = auction.run()
    wins = {win.position: win.level for win in outcome.wins.values()}
    counters = auction.empty()
    shut: set[tuple[str, str]] = set()
    for position, pair in enumerate(auction.pairs):
        if position in wins:
            assert (pair.pool, pair.shape) not in shut
            counters[pair.pool].add(pair.shape, wins[position])
        if not counters[pair.pool].fits(pair.shape):
            shut.add((pair.pool, pair.shape))


def test_counters_that_reopen_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that forgets what it sold whenever its slices come to full devices is found out."""
    shared_with = Counters._shared_with

    def forgetful(counters: Counters, shape: str, copies: int) -> int:
        devices = shared_with(counters, shape, copies)
        return devices if sum(counters.slices) % 4 else 0

    monkeypatch.setattr(Counters, "_shared_with", forgetful)
    pool = InstancePool(name="p", device_class="c", nodes=(3, 2))

    def sell() -> None:
        for seed in range(20):
            sold_at_random(pool, seed, 40)

    with pytest.raises(AssertionError, match="fit again"):
        sell()


def test_a_scan_that_looks_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that serves the densest refused bids at its end is found out."""
    run = Auction.run

    def again(auction: Auction) -> object:
        outcome = run(auction)
        for position, pair in enumerate(auction.pairs):
            if pair.bid_id not in outcome.wins:
                win = next(iter(outcome.wins.values()), None)
                if win is not None:
                    outcome.wins[pair.bid_id] = win._replace(position=position)
        return outcome

    monkeypatch.setattr(Auction, "run", again)

    def scan() -> None:
        for instance in corpus(20):
            check_scan(instance)

    with pytest.raises(AssertionError):
        scan()
