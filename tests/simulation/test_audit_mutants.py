"""Whatever is falsified in a log, the audit says so and names a record."""

from __future__ import annotations

import functools
import random
from typing import Any

import orjson
import pytest

from bidplane_agents.audit import verdict
from bidplane_agents.audit.log import Log
from bidplane_topics import registry
from simulation import audit_mutants, receipt_mutants, renewal_mutants, sale_mutants
from simulation.audit_mutants import Records
from simulation.audit_world import World

SEEDS = range(3)
MUTANTS = (
    audit_mutants.MUTANTS | receipt_mutants.MUTANTS | renewal_mutants.MUTANTS
    | sale_mutants.MUTANTS
)  # fmt: skip
LANE_TOPICS = (
    registry.ROUNDS, registry.SETTLEMENTS, registry.LEDGER, registry.ORDERS, registry.LEASES,
    registry.OUTCOMES,
)  # fmt: skip
# A version number is the writer's own affair; these figures are told to the agent for its
# information.
NOT_JUDGED = {"v", "asked_micros", "detail", "node", "pool", "value_micros", "unit_slots",
              "price_micros_per_unit_slot", "pending_until_ms", "to",
              "would_have_won_micros"}  # fmt: skip


@functools.cache
def _sound(seed: int) -> tuple[Any, ...]:
    world = World(seed)
    world.run(24)
    log = world.log()
    assert verdict.audit(log).sound
    return tuple(log)


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_falsification_is_caught(name: str) -> None:
    """Each mutant finds an occasion in these logs, and never survives."""
    occasions = 0
    for seed in SEEDS:
        given: Records = list(_sound(seed))
        mutated = MUTANTS[name](given, random.Random(seed))
        if mutated is None:
            continue
        occasions += 1
        findings = verdict.audit(Log(mutated))
        assert not findings.sound, f"{name}: seed {seed} survived"
        data = verdict.as_data(findings, Log(mutated))
        assert data["first"]["topic"].startswith("bidplane.")
        assert verdict.exit_code(findings) == 5
    assert occasions, f"{name}: no log offers an occasion"


def test_every_figure_of_a_lane_is_judged() -> None:
    """Changing any one value in a record that a lane wrote breaks a promise."""
    rng = random.Random(5)
    records = list(_sound(1))
    names = {topic.name for topic in LANE_TOPICS}
    places = [index for index, one in enumerate(records) if one.topic in names]
    for _ in range(250):
        at = rng.choice(places)
        event = orjson.loads(records[at].value or b"")
        path = rng.choice(list(_paths(event)))
        holder = event
        for step in path[:-1]:
            holder = holder[step]
        if path in (("type",), ("sentence",)) or (
            path[-1] in NOT_JUDGED and path[0] in ("v", "evidence")
        ):
            continue
        holder[path[-1]] = _other(holder[path[-1]])
        changed = records[at]._replace(value=orjson.dumps(event))
        log = Log([*records[:at], changed, *records[at + 1 :]])
        assert not verdict.audit(log).sound, f"{records[at].origin}: {path} may be anything"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _paths(one, (*path, index))
    else:
        yield path


def _other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    return "outbid" if value is None else f"{value}x"
