"""The world around toy lanes: topics, a source of bids, worker processes under a supervisor.

Reads and writes by confluent-kafka: another client than the lanes', on purpose.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import lane_toy
import patience

AGENTS = 60
MARKETS = 16


class Seen(NamedTuple):
    """A record that is visible to a reader of committed records."""

    partition: int
    offset: int
    at_ms: int
    key: bytes
    value: bytes

    def json(self) -> dict[str, Any]:
        """The value, decoded."""
        return dict(orjson.loads(self.value))


def create_topics(bootstrap: str, tag: str) -> None:
    """All topics of the toy lanes."""
    stamped = {"message.timestamp.type": "LogAppendTime"}
    new = [NewTopic(f"{tag}.rules", 1, 1, config=stamped)]
    for name in lane_toy.TOPICS:
        compact = {"cleanup.policy": "compact"} if name.endswith("changelog") else {}
        config = stamped | compact
        new.append(NewTopic(f"{tag}.{name}", lane_toy.PARTITIONS, 1, config=config))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(new).values():
        future.result(30)


def read_all(bootstrap: str, topic: str) -> list[Seen]:
    """Every committed record of a topic, by partition and offset."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "oracle", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    })  # fmt: skip
    found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in found])
    ended: set[int] = set()
    seen: list[Seen] = []
    until_s = patience.deadline(60)
    while len(ended) < len(found):
        assert time.monotonic() < until_s, f"{topic}: no end reached"
        for message in consumer.consume(10_000, timeout=1.0):
            place = message.partition()
            if message.error():
                ended.add(place)
                continue
            at_ms = message.timestamp()[1]
            seen.append(Seen(place, message.offset(), at_ms, message.key(), message.value()))
    consumer.close()
    return sorted(seen)


class Source(threading.Thread):
    """Bids at a rate, a grant for every tenth, a rule for every hundredth."""

    def __init__(self, bootstrap: str, tag: str, rate: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.tag, self.rate, self.chance = tag, rate, random.Random(seed)
        self.sent, self.halt = 0, threading.Event()
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1,
            "message.timeout.ms": 120_000, "log_level": 0,
        })  # fmt: skip

    def run(self) -> None:
        """Send until told to stop."""
        began_s = time.monotonic()
        while not self.halt.is_set():
            while self.sent < (time.monotonic() - began_s) * self.rate:
                self.send()
            self.producer.poll(0)
            time.sleep(0.002)
        assert self.producer.flush(120) == 0

    def send(self) -> None:
        """One bid, and what goes with it."""
        number, agent = self.sent, self.chance.randrange(AGENTS)
        partition, amount = agent % lane_toy.PARTITIONS, self.chance.randrange(1, 100)
        market = self.chance.randrange(MARKETS)
        bid = {"id": number, "agent": agent, "market": market, "amount": amount}
        self.producer.produce(f"{self.tag}.bids", orjson.dumps(bid), partition=partition)
        if number % 10 == 0:
            grant = {"agent": agent, "amount": amount}
            self.producer.produce(f"{self.tag}.grants", orjson.dumps(grant), partition=partition)
        if number % 100 == 0:
            self.producer.produce(f"{self.tag}.rules", b"{}", partition=0)
        self.sent += 1

    def stop(self) -> int:
        """How many bids were sent, all of them acknowledged."""
        self.halt.set()
        self.join()
        return self.sent


class Workers:
    """Worker processes by slot; one that exits by itself is started again after a moment."""

    def __init__(self, bootstrap: str, tag: str, folder: Path, module: str = "lane_toy") -> None:
        self.bootstrap, self.tag, self.folder, self.module = bootstrap, tag, folder, module
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.exits: list[int] = []
        self.strikes = ""
        self._logs: list[IO[bytes]] = []
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def start(self, slot: int) -> subprocess.Popen[bytes]:
        """Start the worker of ``slot``."""
        log = (self.folder / f"{slot}-{len(self._logs)}.log").open("wb")
        self._logs.append(log)
        environment = os.environ | {
            "TAG": self.tag, "BOOTSTRAP": self.bootstrap, "INSTANCE": str(slot),
            "PYTHONPATH": str(Path(__file__).parent), "STRIKES": self.strikes,
        }  # fmt: skip
        command = [sys.executable, "-m", self.module]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.running[slot] = process
        return process

    def supervise(self) -> None:
        """From now on restart what exits."""
        self._supervisor.start()

    def _supervise(self) -> None:
        while not self._halt.wait(0.1):
            with self._lock:
                for slot, process in list(self.running.items()):
                    if (code := process.poll()) is not None:
                        self.exits.append(code)
                        self.start(slot)
                    elif self.strikes:
                        self._thaw(process)

    def _thaw(self, process: subprocess.Popen[bytes]) -> None:
        # One that struck itself with SIGSTOP wakes up as a zombie, sooner or later.
        stat = Path(f"/proc/{process.pid}/stat")
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "T":
            threading.Timer(
                random.Random(process.pid).uniform(0.5, 9), _continue, [process]
            ).start()

    def replace(self, slot: int) -> subprocess.Popen[bytes]:
        """Freeze the worker of ``slot``, start another in its place; return the frozen one."""
        with self._lock:
            old = self.running[slot]
            old.send_signal(signal.SIGSTOP)
            self.start(slot)
        return old

    def disarm(self) -> None:
        """No more strikes: all processes are killed, and plain ones take their place."""
        with self._lock:
            self.strikes = ""
            for process in self.running.values():
                _continue(process)
                process.kill()

    def kill(self, slot: int) -> None:
        """SIGKILL, without a restart by us."""
        self.running[slot].kill()

    def stop(self) -> list[float]:
        """Stop all by SIGTERM; how long each took, in seconds."""
        self._halt.set()
        if self._supervisor.ident is not None:
            self._supervisor.join()
        took_s = []
        for process in self.running.values():
            began_s = time.monotonic()
            _continue(process)
            process.terminate()
            try:
                process.wait(15)
            finally:
                process.kill()
            took_s.append(time.monotonic() - began_s)
        for log in self._logs:
            log.close()
        return took_s

    def log_text(self) -> str:
        """What all workers have written."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*")))


def _continue(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)


def await_applied(bootstrap: str, tag: str, timeout_s: float) -> None:
    """Wait until both lanes have applied all that was written."""
    until_s = patience.deadline(timeout_s)
    pairs = [("accounts", "bids"), ("accounts", "grants"), ("markets", "orders")]
    while not all(_applied(bootstrap, f"{tag}-{lane}", f"{tag}.{topic}") for lane, topic in pairs):
        assert time.monotonic() < until_s, "the lanes did not catch up"
        time.sleep(0.3)


def _applied(bootstrap: str, group: str, topic: str) -> bool:
    # Read uncommitted: librdkafka's committed() would wait for open transactions.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0,
                         "enable.auto.commit": False,
                         "isolation.level": "read_uncommitted"})  # fmt: skip
    places = [TopicPartition(topic, p) for p in range(lane_toy.PARTITIONS)]
    try:
        committed = consumer.committed(places, timeout=5)
        ends = [consumer.get_watermark_offsets(place, timeout=5)[1] for place in places]
    except KafkaException:
        return False
    finally:
        consumer.close()
    # An orders partition ends with a control record, which no commit passes.
    slack = 1 if topic.endswith(".orders") else 0
    return all(c.offset + slack >= end for c, end in zip(committed, ends, strict=True))
