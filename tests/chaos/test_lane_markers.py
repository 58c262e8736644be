"""A broker that declares transactions complete without all of their markers: lanes stay exact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import lane_oracle
from bidplane_streams.embedded.kafka import Kafka
from lane_broker import Broker
from lane_world import Source, Workers, await_applied, create_topics
from live_system import until

KINDS = ("changelog", "offsets", "outputs")
LOSSES = 2


class Unverifying(Kafka):
    """A broker that lets a client write to partitions which its transaction does not name."""

    def properties(self, chosen: Mapping[str, int]) -> str:
        """As ever, without the look at the coordinator."""
        return super().properties(chosen) + "transaction.partition.verification.enable=false\n"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker for this test."""
    with Broker(tmp_path / "kafka", Unverifying) as running:
        yield running


def _lost_enough(workers: Workers) -> bool:
    lost = Counter(re.findall(r"LOST (\w+)", workers.log_text()))
    return len(workers.exits) >= LOSSES and all(lost[kind] >= LOSSES for kind in KINDS)


def test_lost_markers_lose_nothing(broker: Broker, tmp_path: Path) -> None:
    """Rows, offsets or outputs without their marker, also before a kill -9: all is exact."""
    logs, enough = tmp_path / "logs", tmp_path / "enough"
    logs.mkdir()
    create_topics(broker.bootstrap, "markers")
    workers = Workers(broker.bootstrap, "markers", logs, "lane_losing")
    workers.strikes = str(enough)
    workers.start(0)
    workers.supervise()
    source = Source(broker.bootstrap, "markers", 100, 1)
    source.start()
    try:
        until("every kind was lost often enough", lambda: _lost_enough(workers), 90)
        enough.touch()
        sent = source.stop()
        await_applied(broker.bootstrap, "markers", 60)
    finally:
        workers.stop()
    assert lane_oracle.faults(broker.bootstrap, "markers", sent) == {}
