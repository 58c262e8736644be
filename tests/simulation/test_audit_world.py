"""The audit of logs that the real core wrote: sound at every moment, even while being read."""

from __future__ import annotations

import random

import pytest

from bidplane_agents.audit import verdict
from bidplane_agents.audit.log import Log, Place
from bidplane_agents.audit.reading import STAGES
from bidplane_topics import registry
from simulation.audit_world import World

RULES = ("greedy", "uniform", "pay-as-bid")


def _complaints(log: Log) -> str:
    return "\n".join(verdict.as_lines(verdict.audit(log), log))


@pytest.mark.parametrize("seed", range(12))
def test_what_the_core_writes_keeps_every_promise(seed: int) -> None:
    """Bids, mishaps, late sinks and changing markets never make the core break a promise."""
    world = World(seed, RULES[seed % 3])
    world.run(30)
    findings = verdict.audit(world.log())
    assert findings.sound, _complaints(world.log())
    assert all(findings.checked[promise] > 50 for promise in findings.checked)
    assert not findings.notes


def test_the_worlds_meet_every_fate() -> None:
    """The seeds above are worth something: among them every kind of outcome occurs."""
    kinds = set()
    for seed in range(12):
        world = World(seed, RULES[seed % 3])
        world.run(30)
        kinds |= world.kinds()
    assert kinds >= {
        "won", "lost", "refused", "cancelled", "expired", "bound", "notice", "ending", "ended",
        "voided", "replayed", "declined", "offered", "transferred",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_the_log_is_sound_whenever_a_transaction_has_ended(seed: int) -> None:
    """What is still on its way is open, not broken."""
    world = World(seed, RULES[seed % 3])
    world.run(14)
    chosen = random.Random(seed).sample(world.broker.boundaries, 25)
    for boundary in chosen:
        log = Log(world.broker.records[:boundary])
        assert verdict.audit(log).sound, _complaints(log)


@pytest.mark.parametrize("seed", range(4))
def test_a_reading_that_cuts_through_transactions_is_no_breach(seed: int) -> None:
    """Records that appear during the reading may lack companions without breaking a promise."""
    world = World(seed, RULES[seed % 3])
    world.run(14)
    rng = random.Random(seed)
    for _ in range(25):
        log = _torn(world, rng)
        assert verdict.audit(log).sound, _complaints(log)


def _torn(world: World, rng: random.Random) -> Log:
    """A log as ``reading`` sees it: settled ends first, then the ends of effects before causes'."""
    ends = world.broker.boundaries
    first = rng.randrange(1, len(ends) - 12)
    settled = _next_offsets(world, ends[first])
    kept, at = [], first
    for stage in STAGES:
        names = {topic.name for topic in stage}
        inside = world.broker.records[ends[at] : ends[at + 1]]
        shown = {one.place for one in inside if rng.random() < 0.5}
        kept += [one for one in world.broker.records[: ends[at]] if one.topic in names]
        kept += [one for one in inside if one.topic in names and one.place in shown]
        at += rng.randrange(1, 3)  # asked later, so what caused the effects above is there
    return Log(kept, settled=settled)


def _next_offsets(world: World, count: int) -> dict[Place, int]:
    marks = {record.place: 0 for record in world.broker.records}
    for record in world.broker.records[:count]:
        marks[record.place] = record.offset + 1
    return marks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "topics",
    [
        (registry.BIDS,),
        (registry.OUTCOMES,),
        (registry.BIDS, registry.OUTCOMES),
        (registry.ROUNDS, registry.SUPPLY, registry.REPORTS),
        (registry.BIDS, registry.ORDERS, registry.ROUNDS, registry.SETTLEMENTS, registry.OUTCOMES),
    ],
)
def test_what_retention_took_is_no_breach(seed: int, topics: tuple[registry.Topic, ...]) -> None:
    """Without its beginning a log is judged as far as it goes, and says what is not checked."""
    world = World(seed)
    world.run(16)
    end_ms = world.broker.records[len(world.broker.records) // 3].timestamp_ms
    names = {topic.name for topic in topics}
    firsts: dict[Place, int] = {}
    kept = []
    for record in world.broker.records:
        if record.topic in names and record.timestamp_ms <= end_ms:
            firsts[record.place] = record.offset + 1
        else:
            kept.append(record)
    log = Log(kept, firsts)
    assert verdict.audit(log).sound, _complaints(log)
