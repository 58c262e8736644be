"""The oracle bites: lanes with a fault put in are caught by it, sound ones are not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lane_oracle
import patience
from lane_broker import Broker
from lane_world import Source, Workers, await_applied, create_topics


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for this file."""
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def test_offsets_outside_the_transaction_are_caught(broker: Broker, tmp_path: Path) -> None:
    """Killed between commit and offsets, the mutant applies bids twice, and the oracle sees it."""
    create_topics(broker.bootstrap, "mutant")
    workers = Workers(broker.bootstrap, "mutant", tmp_path, "lane_mutant")
    workers.start(0)
    workers.supervise()
    source = Source(broker.bootstrap, "mutant", 100, 1)
    source.start()
    until_s = patience.deadline(60)
    while workers.exits.count(-9) < 2 and time.monotonic() < until_s:
        time.sleep(0.2)
    sent = source.stop()
    workers.stop()
    assert -9 in workers.exits
    found = lane_oracle.faults(broker.bootstrap, "mutant", sent)
    assert found["orders repeated"] > 0


def test_the_same_world_without_the_fault_is_exact(broker: Broker, tmp_path: Path) -> None:
    """The same bids and kills with the sound lane: the oracle finds nothing."""
    create_topics(broker.bootstrap, "sound")
    workers = Workers(broker.bootstrap, "sound", tmp_path)
    workers.start(0)
    workers.supervise()
    source = Source(broker.bootstrap, "sound", 100, 1)
    source.start()
    for _ in range(2):
        time.sleep(3)
        workers.kill(0)
    sent = source.stop()
    await_applied(broker.bootstrap, "sound", 40)
    workers.stop()
    assert lane_oracle.faults(broker.bootstrap, "sound", sent) == {}
