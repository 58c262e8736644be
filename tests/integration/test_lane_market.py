"""The whole worker on a real Kafka: signed bids become rounds, leases, settlements and outcomes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

import patience
from bidplane_streams.embedded import ports
from bidplane_topics import registry, telemetry
from bidplane_topics.outcomes import TERMINAL_BID_KINDS
from lane_broker import Broker
from lane_market import World, create_topics
from lane_world import read_all

RICH, POOR = "research/tuner", "ml/train"
COMMAND = "from bidplane_streams.commands_worker import worker; worker()"


class Worker:
    """One worker process and its web port."""

    def __init__(self, bootstrap: str, folder: Path, *command: str) -> None:
        self.port = ports.remembered(folder / "ports.json", "web")["web"]
        self.log = folder / "worker.log"
        self.command = command or (sys.executable, "-c", COMMAND)
        self.environ = os.environ | {
            "BIDPLANE_KAFKA": bootstrap, "BIDPLANE_INSTANCE": "w0",
            "BIDPLANE_DATA_DIR": str(folder / "faust"), "BIDPLANE_WEB_PORT": str(self.port),
            "BIDPLANE_USAGE_WINDOW_S": "2",
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environ, stdout=log, stderr=subprocess.STDOUT
            )

    def page(self, path: str) -> bytes:
        """A page of its web server, once that is up."""
        until_s = patience.deadline(30)
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}/{path}"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return bytes(answer.read())
            except OSError:
                assert time.monotonic() < until_s, self.log.read_text()[-2000:]
                time.sleep(0.2)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A broker with all topics, a market and two agents with money."""
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        create_topics(running.bootstrap)
        world = World(running.bootstrap)
        world.declare(grace_ms=500)
        world.register("research", "tuner", 1, 1_000_000_000)
        world.register("ml", "train", 2, 5_000_000)
        yield world


@pytest.fixture
def worker(world: World, tmp_path: Path) -> Iterator[Worker]:
    """A worker on that broker."""
    running = Worker(world.bootstrap, tmp_path)
    yield running
    running.stop()


def test_every_bid_ends_once_through_a_kill(world: World, worker: Worker) -> None:
    """Bids, kill -9 in their midst, a restart: each has one terminal outcome, no money is lost."""
    world.until(2, "granted")
    placed: list[str] = []
    for number in range(60):
        placed += world.bid(RICH, 1_000_000 + number, count=4)
        world.flush()
        if number == 30:
            worker.process.kill()
            worker.process.wait()
            worker.start()
        time.sleep(0.02)
    ended = Counter(outcome.bid_id for outcome in world.until(240, *TERMINAL_BID_KINDS))
    assert ended == Counter(placed)
    told = {outcome.outcome_id for outcome in world.outcomes() if outcome.tenant == "research"}
    assert told == _allocations(world, "research", len(told))
    assert sum(_balances(world).values()) == 0


def test_a_record_that_proves_nothing_is_buried(world: World, worker: Worker) -> None:
    """Unsigned, forged, unknown, oversized, malformed: dead letters, and no outcome."""
    before = len(world.outcomes())
    key = world.keys[POOR]
    good = b'{"v":1}'
    other = world.keys[RICH]
    headers = key.sign(registry.BIDS.name, good)
    world.raw_bid(POOR, good, [])
    world.raw_bid(POOR, b'{"v":2}', headers)
    world.raw_bid(POOR, good, [(headers[0][0], b"0" * 16), headers[1]])
    world.raw_bid(POOR, b"x" * 70_000, headers)
    world.raw_bid(POOR, good, headers)
    world.raw_bid(POOR, good, other.sign(registry.BIDS.name, good))
    world.flush()
    letters = registry.dead_letters(registry.BIDS).name
    until_s = patience.deadline(20)
    while len(found := read_all(world.bootstrap, letters)) < 6:
        assert time.monotonic() < until_s, found
        time.sleep(0.2)
    reasons = [
        line for line in worker.page("metrics").decode().splitlines() if "dead_letters" in line
    ]
    for reason in ("unsigned", "forged", "unknown_key", "oversized", "malformed"):
        assert any(reason in line for line in reasons), reason
    assert found[0].value == good
    assert len(world.outcomes()) == before


def test_the_money_bounds_the_bid(world: World, worker: Worker) -> None:
    """Beyond its money an agent's bid is held as far as it goes, then refused with the reason."""
    first, second = world.bid(POOR, 900_000_000, shape="2", count=2)
    world.flush()
    found = {o.bid_id: o for o in world.until(2, "held", "refused", agent="train")}
    assert found[first].kind == "held"
    assert found[second].reason == "no_funds"
    _replay(world)
    assert world.until(1, "replayed")[0].reason == "replayed"


def test_views_show_lanes_and_rounds(world: World, worker: Worker) -> None:
    """/lanes says where each partition stands, /rounds the last rounds of the market."""
    (bid,) = world.bid(RICH, 2_000_000)
    world.flush()
    until_s = patience.deadline(30)
    while not any(bid == ended.bid_id for ended in world.until(1, *TERMINAL_BID_KINDS)):
        assert time.monotonic() < until_s
        world.alive()
    rounds: dict[str, Any] = {}
    while not rounds.get("pool-a"):
        assert time.monotonic() < until_s
        world.alive()
        rounds = orjson.loads(worker.page("rounds?market=pool-a&limit=3"))
        time.sleep(0.2)
    assert 1 <= len(rounds["pool-a"]) <= 3
    lanes = orjson.loads(worker.page("lanes"))
    assert sorted(lanes["accounts"]) == ["0", "1", "2", "3"]
    assert lanes["markets"]["0"]["applied"][registry.ORDERS.name] > 0
    metrics = worker.page("metrics").decode()
    assert 'bidplane_lane_partitions{lane="markets"} 4.0' in metrics
    assert "tuner" not in metrics


def test_telemetry_becomes_usage_per_window(world: World, worker: Worker) -> None:
    """Readings of a lease are counted and averaged per window by the Faust processor."""
    worker.page("lanes")
    for busy in (100, 300, 500):
        sample = telemetry.DeviceSampled(
            tenant="research", agent="tuner", lease_id="l1", node="node-0", device="gpu-0",
            busy_permille=busy, memory_mib=busy, at_ms=1,
        )  # fmt: skip
        world.write(registry.TELEMETRY, 0, RICH, sample)
    world.write(registry.TELEMETRY, 0, RICH, b"no reading")
    world.flush()
    found = _usage(world, samples=3)
    assert max(event.memory_mib_max for event in found) == 500
    total = sum(event.busy_permille_mean * event.samples for event in found)
    assert total == pytest.approx(900, abs=3)


def test_faust_runs_the_same_application(world: World, tmp_path: Path) -> None:
    """``faust -A bidplane_streams.app worker`` opens the same lanes."""
    command = (sys.executable, "-m", "faust", "-A", "bidplane_streams.app", "worker", "-l", "info")
    running = Worker(world.bootstrap, tmp_path, *command)
    try:
        until_s = patience.deadline(40)
        while not (
            orjson.loads(running.page("lanes"))["accounts"] and "Ready" in running.log.read_text()
        ):
            assert time.monotonic() < until_s
            time.sleep(0.2)
    finally:
        assert running.stop() == 0


def _usage(world: World, samples: int) -> list[telemetry.UsageMeasured]:
    """Published windows, once they hold so many readings."""
    until_s = patience.deadline(40)
    while True:
        found = [event for _, event in world.seen(registry.USAGE)]
        if sum(event.samples for event in found) >= samples:
            return found
        assert time.monotonic() < until_s, found
        time.sleep(0.3)


def _replay(world: World) -> None:
    """Send the last record of the bids topic once more."""
    mine = world.partitions[POOR]
    value = [s.value for s in read_all(world.bootstrap, registry.BIDS.name) if s.partition == mine][
        -1
    ]
    world.raw_bid(POOR, value, world.keys[POOR].sign(registry.BIDS.name, value))
    world.flush()


def _allocations(world: World, tenant: str, count: int) -> set[str]:
    """The ids that the tenant's agents can read, once all are there."""
    topic = registry.allocations(tenant)
    until_s = patience.deadline(20)
    while True:
        listed = AdminClient({"bootstrap.servers": world.bootstrap}).list_topics(timeout=5).topics
        found = {e.outcome_id for _, e in world.seen(topic)} if topic.name in listed else set()
        if len(found) >= count:
            return found
        assert time.monotonic() < until_s, f"{len(found)} of {count}"
        time.sleep(0.2)


def _balances(world: World) -> Counter[str]:
    """Every account by the ledger; none of an agent's ever below zero."""
    balances: Counter[str] = Counter()
    for _, entry in world.seen(registry.LEDGER):
        balances[entry.debit] -= entry.amount_micros
        balances[entry.credit] += entry.amount_micros
        assert balances[entry.debit] >= 0 or entry.debit in ("treasury", "revenue"), entry
    return balances
