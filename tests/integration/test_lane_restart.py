"""Two chained lanes on a real Kafka: they process, stop, and go on where they stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

import lane_oracle
import patience
from bidplane_streams.lanes.death import EXIT_LANE
from lane_broker import Broker
from lane_world import Source, Workers, await_applied, create_topics, read_all


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for this file."""
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def _workers(broker: Broker, tag: str, folder: Path) -> Workers:
    create_topics(broker.bootstrap, tag)
    return Workers(broker.bootstrap, tag, folder)


def _bids(broker: Broker, tag: str, seconds: float) -> int:
    source = Source(broker.bootstrap, tag, 300, seed=1)
    source.start()
    time.sleep(seconds)
    return source.stop()


def test_a_lane_goes_on_where_it_was_stopped(broker: Broker, tmp_path: Path) -> None:
    """Work, SIGTERM, more bids, start: every bid is applied exactly once."""
    workers = _workers(broker, "stop", tmp_path)
    workers.start(0)
    first = Source(broker.bootstrap, "stop", 300, seed=1)
    first.start()
    time.sleep(3)
    took_s = workers.stop()
    assert took_s[0] < 5
    assert workers.running[0].returncode == 0
    again = Workers(broker.bootstrap, "stop", tmp_path)
    again.start(0)
    time.sleep(2)
    sent = first.stop()
    await_applied(broker.bootstrap, "stop", 30)
    again.stop()
    assert lane_oracle.faults(broker.bootstrap, "stop", sent) == {}


def test_a_killed_worker_resumes_within_seconds(broker: Broker, tmp_path: Path) -> None:
    """Kill -9 under load: commits resume within a few seconds, and nothing is lost or doubled."""
    workers = _workers(broker, "kill", tmp_path)
    workers.start(0)
    workers.supervise()
    source = Source(broker.bootstrap, "kill", 300, seed=2)
    source.start()
    time.sleep(4)
    killed_ms = time.time() * 1000
    workers.kill(0)
    time.sleep(4)
    sent = source.stop()
    await_applied(broker.bootstrap, "kill", 30)
    workers.stop()
    assert lane_oracle.faults(broker.bootstrap, "kill", sent) == {}
    after = [s.at_ms for s in read_all(broker.bootstrap, "kill.orders") if s.at_ms > killed_ms + 50]
    assert min(after) - killed_ms < 5000


def test_offsets_ahead_of_the_state_stop_the_lane(broker: Broker, tmp_path: Path) -> None:
    """Offsets beyond what the state has applied are noticed at the next start, not skipped to."""
    workers = _workers(broker, "foreign", tmp_path)
    workers.start(0)
    _bids(broker, "foreign", 2)
    await_applied(broker.bootstrap, "foreign", 30)
    workers.stop()
    _commit_from_outside(broker, "foreign-accounts", TopicPartition("foreign.bids", 0, 99_999))
    again = Workers(broker.bootstrap, "foreign", tmp_path)
    assert again.start(0).wait(30) == EXIT_LANE
    again.stop()
    assert "OffsetsConflict: foreign.bids: the changelog has applied" in again.log_text()


def test_offsets_behind_the_state_are_put_right(broker: Broker, tmp_path: Path) -> None:
    """A group that is set back repeats nothing: the lane sets it to what its state has applied."""
    workers = _workers(broker, "behind", tmp_path)
    workers.start(0)
    sent = _bids(broker, "behind", 2)
    await_applied(broker.bootstrap, "behind", 30)
    workers.stop()
    _commit_from_outside(broker, "behind-accounts", TopicPartition("behind.bids", 0, 1))
    again = Workers(broker.bootstrap, "behind", tmp_path)
    again.start(0)
    await_applied(broker.bootstrap, "behind", 30)
    again.stop()
    assert lane_oracle.faults(broker.bootstrap, "behind", sent) == {}


def _commit_from_outside(broker: Broker, group: str, offset: TopicPartition) -> None:
    member = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    until_s = patience.deadline(20)
    while True:  # a static member stays in its group until its session ends
        try:
            member.commit(offsets=[offset], asynchronous=False)
            break
        except KafkaException:
            assert time.monotonic() < until_s
            time.sleep(0.5)
    member.close()
