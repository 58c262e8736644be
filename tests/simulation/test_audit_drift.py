"""Bugs of what drifts between windows: each is noticed by an audit of what the market wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bidplane_agents.audit import verdict
from bidplane_streams.market import book, clearing, drift
from bidplane_topics import codec, registry, supply
from bidplane_topics.instances import Instance
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound
from simulation.audit_world import World

WINDOWS = 40
SEEDS = range(3)


def rate_ignored(patch: pytest.MonkeyPatch) -> None:
    """Weights and reserves that stay as declared."""
    patch.setattr(drift, "after", lambda declared, *_: drift.Drifted(declared, {}))


def one_window_early(patch: pytest.MonkeyPatch) -> None:
    """Weights that follow the prices of the very window they clear."""
    instance, after = book.instance, drift.after

    def ahead(rules: MarketDeclared, *given: Any, **named: Any) -> Instance:
        first = instance(rules, *given, **named)
        prices = clearing.clear(first, rules.rule).prices
        closed = {
            pool.name: PoolRound(
                units_offered=7, units_sold=7 * (pool.name in prices), units_total=7,
                price_micros=prices.get(pool.name, 0), reserve_micros=pool.reserve_micros,
                scarcity_permille=pool.scarcity_permille,
            )
            for pool in first.pools
        }  # fmt: skip
        return instance(after(rules, {}, closed).rules, *given, **named)

    patch.setattr(book, "instance", ahead)


def one_window_late(patch: pytest.MonkeyPatch) -> None:
    """An update that waits for another window before it is in force."""
    after = drift.after
    waiting: dict[str, MarketDeclared] = {}

    def late(declared: MarketDeclared, means: Any, pools: Any) -> drift.Drifted:
        found = after(declared, means, pools)
        rules = waiting.get(declared.market, declared)
        waiting[declared.market] = found.rules
        return drift.Drifted(rules, found.means)

    patch.setattr(drift, "after", late)


def cap_ignored(patch: pytest.MonkeyPatch) -> None:
    """Reserves that rise without an end."""
    reserve = drift._reserve
    patch.setattr(drift, "_reserve", lambda declared, *more: reserve(
        replace(declared, reserve_cap_micros=2**40), *more))  # fmt: skip


def idle_pools_learn(patch: pytest.MonkeyPatch) -> None:
    """Means that follow pools which did not sell out."""
    patch.setattr(drift, "SOLD_OUT_PERMILLE", 1)


def every_mean_starts_again(patch: pytest.MonkeyPatch) -> None:
    """A market that takes the newest price for the mean."""
    patch.setattr(drift, "_mean", lambda _before, newest, _rate: newest)


def weights_unbounded(patch: pytest.MonkeyPatch) -> None:
    """Pools that may weigh next to nothing."""
    patch.setattr(drift, "LEAST_PART", 10**6)


MUTANTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    rate_ignored, one_window_early, one_window_late, cap_ignored, idle_pools_learn,
    every_mean_starts_again, weights_unbounded,
)  # fmt: skip


class Scarce(World):
    """A world whose nodes have one device of each class, so that pools sell out."""

    def _node(self, *given: Any, **named: Any) -> supply.NodeOffered:
        node = super()._node(*given, **named)
        return replace(node, devices=(node.devices[0], node.devices[-1]))


def ran(seed: int) -> World:
    """A world whose markets drift, at rest."""
    world = Scarce(seed)
    world.run(WINDOWS)
    return world


def test_weights_and_reserves_move_and_the_audit_is_content() -> None:
    """In the worlds that find the mutants both move, and every promise is kept."""
    weights, reserves = set(), set()
    for seed in SEEDS:
        log = ran(seed).log()
        assert verdict.audit(log).sound
        for record in (one for one in log if one.topic == registry.ROUNDS.name):
            closed = codec.decode(registry.ROUNDS, record.value or b"")
            weights |= {one.scarcity_permille for one in closed.pools.values()}
            reserves |= {one.reserve_micros for one in closed.pools.values()}
    assert len(weights) > 3
    assert len(reserves) > 3


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_the_audit_notices(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """A market whose drift has this fault writes a log that is not sound."""
    mutate(monkeypatch)
    assert not all(verdict.audit(ran(seed).log()).sound for seed in SEEDS)
