"""Two chained lanes under kills, freezes and twins, the broker's too: nothing lost or twice.

Seeds are fixed; BIDPLANE_CHAOS_SEED tries another. A run takes about a minute.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lane_oracle
import patience
from lane_broker import Broker
from lane_world import Source, Workers, await_applied, create_topics

SEED = int(os.environ.get("BIDPLANE_CHAOS_SEED", "7"))
RATE = 300
# Longer than a session: others take over before a frozen worker wakes up, and a broker that wakes
# up is fenced by itself, so that all partitions lose their leader.
FREEZE_S = 8.0
STRIKES = 5


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of its own, since it will be killed."""
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def test_faults_from_outside(broker: Broker, tmp_path: Path) -> None:
    """Kills, a zombie, a twin, crashes and a pause of the broker change nothing committed."""
    chance = random.Random(SEED)
    create_topics(broker.bootstrap, "out")
    workers = Workers(broker.bootstrap, "out", tmp_path)
    workers.start(0)
    workers.start(1)
    workers.supervise()
    source = Source(broker.bootstrap, "out", RATE, SEED)
    source.start()
    time.sleep(4)
    plan = ["kill", "all", "zombie", "twin", "broker", "broker", "pause", "term"]
    chance.shuffle(plan)
    for fault in plan:
        _FAULTS[fault](workers, broker, chance.randrange(2))
        time.sleep(chance.uniform(1.5, 3))
    sent = source.stop()
    await_applied(broker.bootstrap, "out", 60)
    workers.stop()
    assert lane_oracle.faults(broker.bootstrap, "out", sent) == {}, plan


def test_faults_inside_transactions(broker: Broker, tmp_path: Path) -> None:
    """Processes that kill or freeze themselves at random steps of a transaction change nothing."""
    create_topics(broker.bootstrap, "in")
    workers = Workers(broker.bootstrap, "in", tmp_path)
    workers.strikes = f"{SEED}/0.004"
    workers.start(0)
    workers.start(1)
    workers.supervise()
    source = Source(broker.bootstrap, "in", RATE, SEED)
    source.start()
    time.sleep(20)
    until_s = patience.deadline(30)
    while workers.log_text().count("STRIKE") < STRIKES and time.monotonic() < until_s:
        time.sleep(1)
    workers.disarm()
    sent = source.stop()
    await_applied(broker.bootstrap, "in", 60)
    workers.stop()
    assert workers.log_text().count("STRIKE") >= STRIKES
    assert lane_oracle.faults(broker.bootstrap, "in", sent) == {}


def _kill(workers: Workers, broker: Broker, slot: int) -> None:
    workers.kill(slot)


def _kill_all(workers: Workers, broker: Broker, slot: int) -> None:
    for each in sorted(workers.running):
        workers.kill(each)


def _terminate(workers: Workers, broker: Broker, slot: int) -> None:
    workers.running[slot].terminate()


def _freeze(workers: Workers, broker: Broker, slot: int) -> None:
    _stand_still(workers.running[slot].pid)


def _twin(workers: Workers, broker: Broker, slot: int) -> None:
    old = workers.replace(slot)
    time.sleep(3)
    old.send_signal(signal.SIGCONT)
    try:
        assert old.wait(20) != 0, "the twin that slept must find itself fenced"
    except subprocess.TimeoutExpired:
        old.kill()
        raise


def _crash_broker(workers: Workers, broker: Broker, slot: int) -> None:
    broker.kill9()
    time.sleep(1)
    broker.start()


def _pause_broker(workers: Workers, broker: Broker, slot: int) -> None:
    pid = broker.kafka.pid
    assert pid is not None
    _stand_still(pid)


def _stand_still(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(FREEZE_S)
    os.kill(pid, signal.SIGCONT)


_FAULTS = {"kill": _kill, "all": _kill_all, "term": _terminate, "zombie": _freeze, "twin": _twin,
           "broker": _crash_broker, "pause": _pause_broker}  # fmt: skip
