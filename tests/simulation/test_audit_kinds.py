"""The audit of bundles, shares, static slices and other classes: sound logs pass, forged do not."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest

from bidplane_agents.audit import verdict
from bidplane_agents.audit.log import Log
from bidplane_topics import registry
from simulation import audit_mutants
from simulation.kinds_world import MUTANTS, KindsWorld

SEEDS = range(4)
WINDOWS = 24
SHARED = ("lease a device twice", "name a device that is not there", "raise a lease's epoch")
ALL = MUTANTS | {name: audit_mutants.MUTANTS[name] for name in SHARED}


@functools.cache
def _sound(seed: int) -> tuple[Any, ...]:
    world = KindsWorld(seed)
    world.run(WINDOWS)
    log = world.log()
    found = verdict.audit(log)
    assert found.sound, found
    return tuple(log)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_market_of_every_kind_is_recomputed_from_its_log(seed: int) -> None:
    """However nodes are cut anew while leases stand: pools, awards, epochs and shares agree."""
    records = _sound(seed)
    leases = [audit_mutants.body(one) for one in records if one.topic == registry.LEASES.name]
    devices = [device for lease in leases for device in lease["devices"]]
    assert any(device.get("companion_of") for device in devices)
    assert any(device.get("share") for device in devices)
    assert any(device["device_class"] == "mig.nvidia.com" for device in devices)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_falsification_of_what_was_sold_is_caught(name: str) -> None:
    """Each mutant finds an occasion in these logs, and never survives."""
    occasions = 0
    for seed in SEEDS:
        mutated = ALL[name](list(_sound(seed)), random.Random(seed))
        if mutated is not None:
            occasions += 1
            assert not verdict.audit(Log(mutated)).sound, f"{name}: seed {seed} survived"
    assert occasions, f"{name}: no log offers an occasion"
