"""Windows of 50 ms on a real Kafka: a bid becomes a bound lease, ends, and is sold again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bidplane_agents.audit import command
from bidplane_topics import registry
from integration.test_lane_market import Worker
from lane_broker import Broker
from lane_market import World, create_topics

AGENT = "research/server"
NODES = 2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A market on standing claims with two nodes, one agent with money, and a worker."""
    with Broker(tmp_path / "kafka") as running:
        create_topics(running.bootstrap)
        world = World(running.bootstrap)
        world.declare(NODES, standing=True, window_ms=50, slot_ms=50, grace_ms=0)
        world.register("research", "server", 1, 10**12)
        worker = Worker(running.bootstrap, tmp_path)
        world.until(1, "granted")
        yield world
        assert worker.stop() == 0


def states(world: World) -> dict[str, list[Any]]:
    """Every lease's records, in order."""
    found: dict[str, list[Any]] = {}
    for _, lease in world.seen(registry.LEASES):
        found.setdefault(lease.lease_id, []).append(lease)
    return found


def test_devices_are_leased_in_turn_without_any_report(world: World) -> None:
    """Each lease is bound by its own round and given back by the lane; the next has the devices."""
    for turn in range(1, 4):
        world.bid(AGENT, 5_000_000, "8", count=NODES, duration_ms=400)
        world.flush()
        world.until(NODES * turn, "bound")
        world.until(NODES * turn, "ended")
    found = states(world)
    assert len(found) == 3 * NODES
    for changes in found.values():
        assert [one.state for one in changes] == ["awarded", "bound", "ending", "ended"]
        assert changes[1].bound_at_ms == changes[0].awarded_at_ms
        assert changes[1].ends_at_ms == changes[1].bound_at_ms + 400
    epochs: dict[str, list[int]] = {}
    for changes in sorted(found.values(), key=lambda rows: int(rows[0].window)):
        epochs.setdefault(changes[0].devices[0].node, []).append(changes[0].epoch)
    assert {tuple(one) for one in epochs.values()} == {(1, 3, 5)}
    kinds = {type(event).__name__ for _, event in world.seen(registry.REPORTS)}
    assert kinds == {"SinkAlive"}
    world.flush()
    assert command.run(world.bootstrap, as_json=False) == 0
