"""Nodes that change markets: no device is ever in two hands, and the auditor would notice."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest

from bidplane_agents.audit import handovers, verdict
from bidplane_agents.audit.contents import Contents
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.log import Log
from bidplane_topics import registry
from simulation.audit_mutants import Mutant, add, alter, drop, put
from simulation.moving_world import MovingWorld

SEEDS = range(3)
WINDOWS = 45


@functools.cache
def _world(seed: int) -> MovingWorld:
    world = MovingWorld(seed)
    world.run(WINDOWS)
    return world


def _leased_elsewhere(world: MovingWorld) -> int:
    """Leases on nodes that began in the other market."""
    return sum(
        lease.state == "awarded" and lease.devices[0].node.split("-")[0] != lease.market
        for partition in range(2)
        for lease in world.events(registry.LEASES, partition)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept_while_nodes_move(seed: int) -> None:
    """Moves back, moves twice, stale offers and sources that die on the way break nothing."""
    findings = verdict.audit(_world(seed).log())
    assert findings.sound, [findings.first(promise) for promise in findings.broken]
    assert not findings.notes


def test_moved_nodes_are_sold_again() -> None:
    """Else nothing would be shown here."""
    assert sum(_leased_elsewhere(_world(seed)) for seed in SEEDS) > 3


def test_a_source_that_does_not_wait_is_caught() -> None:
    """Each market's own rounds recompute; only a look across markets shows two holders."""
    breaches = 0
    for seed in SEEDS:
        world = MovingWorld(seed, hasty=True)
        world.run(WINDOWS)
        findings, across = verdict.audit(world.log()), Findings()
        handovers.audit_handovers(Contents(world.log()), across)
        assert findings.broken_count == across.broken_count
        breaches += across.broken_count[3]
    assert breaches


MUTANTS: dict[str, Mutant] = {
    "forget the epochs of other markets":
        alter(registry.SUPPLY, put(epoch=0), lambda e: e.get("epoch", 0) > 0),
    "offer under an older assignment":
        alter(registry.SUPPLY, add("assignment", -1), lambda e: e.get("assignment", 0) > 0),
    "offer as if nobody had moved it":
        alter(registry.SUPPLY, put(assignment=0), lambda e: e.get("assignment", 0) > 0),
    "hide a move": drop(registry.MARKETS, lambda e: e["type"] == "node_assigned"),
    "move it elsewhere":
        alter(registry.MARKETS, put(market="gamma"), lambda e: e["type"] == "node_assigned"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_falsified_move_is_caught(name: str) -> None:
    """Most of these change what was sold; some falsification of each kind is found in the logs."""
    caught = 0
    for seed in SEEDS:
        records: list[Any] = list(_world(seed).log())
        for turn in range(4):
            mutated = MUTANTS[name](list(records), random.Random(turn))
            if mutated is not None:
                findings = verdict.audit(Log(mutated))
                caught += not findings.sound or bool(findings.notes)
    assert caught, f"{name} survived"
