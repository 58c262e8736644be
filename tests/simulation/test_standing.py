"""Standing claims: the lane binds and gives back by itself, and the auditor knows when it must."""

from __future__ import annotations

import functools
import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from bidplane_agents.audit import verdict
from bidplane_agents.audit.log import Log
from bidplane_topics import codec, registry, supply
from simulation.audit_mutants import Mutant, alter, drop, has, put
from simulation.audit_world import World

SEEDS = range(3)


class StandingWorld(World):
    """The auditor's small world, with standing claims in both markets."""

    def _declare(self, partition: int, reserve: int) -> None:
        super()._declare(partition, reserve)
        place = (registry.MARKETS.name, 0)
        last = self.broker.records[-1]
        declared = replace(codec.decode(registry.MARKETS, last.value), standing=True)
        written = last._replace(value=codec.encode(declared))
        self.broker.records[-1] = self.broker.by_place[place][-1] = written

    def _node(self, market: str, number: int) -> supply.NodeOffered:
        return replace(super()._node(market, number), held=True)


@functools.cache
def _world(seed: int) -> StandingWorld:
    world = StandingWorld(seed)
    world.run(24)
    return world


def _leases(world: StandingWorld) -> dict[str, list[Any]]:
    """Every lease's records, in order."""
    found: dict[str, list[Any]] = {}
    for record in world.broker.records:
        if record.topic == registry.LEASES.name:
            lease = codec.decode(registry.LEASES, record.value)
            found.setdefault(lease.lease_id, []).append(lease)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lease_is_bound_as_it_is_awarded_and_over_as_it_ends(seed: int) -> None:
    """Both come with the round that decides them; no sink says anything, every promise is kept."""
    world = _world(seed)
    findings = verdict.audit(world.log())
    assert findings.sound, [findings.first(promise) for promise in findings.broken]
    ended: Counter[str] = Counter()
    for states in _leases(world).values():
        first = states[0]
        if first.state == "awarded":
            assert states[1].state == "bound"
            assert states[1].bound_at_ms == first.awarded_at_ms
        if any(one.state == "ending" for one in states):
            assert states[-1].state == "ended"
            assert states[-2].state == "ending"
            assert states[-1].epoch == states[-2].epoch
            ended[states[-1].cause] += 1
    assert ended["expired"] > 5
    assert ended["released"]
    said = {codec.decode(registry.REPORTS, one.value) for one in world.broker.records
            if one.topic == registry.REPORTS.name}  # fmt: skip
    assert {type(one).__name__ for one in said} <= {"SinkAlive", "NodeLost"}


MUTANTS: dict[str, Mutant] = {
    "leave it unbound": drop(registry.OUTCOMES, has(kind="bound")),
    "bind it later":
        alter(registry.LEASES, lambda e: e.update(bound_at_ms=e["bound_at_ms"] + 1),
              has(state="bound")),
    "keep it from being given back": drop(registry.LEASES, has(state="ended")),
    "call it an ordinary one": alter(registry.LEASES, put(standing=False), has(state="bound")),
    "sell what no claim holds": alter(registry.SUPPLY, put(held=False), has(held=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_falsification_is_caught(name: str) -> None:
    """What the lane must say by itself is missing or false, or an offer that sold something."""
    caught = 0
    for seed in SEEDS:
        records: list[Any] = list(_world(seed).log())
        mutated = MUTANTS[name](records, random.Random(seed))
        assert mutated is not None
        caught += not verdict.audit(Log(mutated)).sound
    assert caught >= (1 if name == "sell what no claim holds" else len(SEEDS)), name
