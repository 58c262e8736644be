"""One open partition of a lane: its state, what waits for it, and how far it has come.

Decides which records the next decision sees. Refuses to poll, to decide and to commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from bidplane_streams.errors import RecordsMissing
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Batch, Record
from bidplane_streams.lanes.shared import Shared


class Slot:
    """A partition of every input. ``lock`` is held during a decision and its transaction."""

    def __init__(self, conf: LaneConf, partition: int, shared: Shared) -> None:
        """A slot that is not open yet."""
        self._conf = conf
        self._shared = shared
        self.partition = partition
        self.tps = [TopicPartition(topic, partition) for topic in conf.inputs]
        self.rows_at = TopicPartition(conf.changelog, partition)
        self.lock = asyncio.Lock()
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.producer: AIOKafkaProducer | None = None
        self.state: Any = None
        self.open = False
        self.full = False
        self.revoked = False
        self.committed_ms = 0
        # When the running decision was due by the clock; 0 where records alone make it due.
        self.due_ms = 0
        # Says when the last transaction has ended on the changelog: the next one waits for it.
        self.ended: asyncio.Future[None] | None = None
        self.committed_s = 0.0
        # The last offsets of committed outputs that nobody has looked at yet, and who will.
        self.wrote: dict[TopicPartition, int] = {}
        self.look: asyncio.Future[None] | None = None
        # Ends what hangs; never cut short.
        self.ending: asyncio.Future[None] | None = None
        # Next offset after everything that was received, and after everything that was applied.
        self.received: dict[str, int] = {}
        self.applied: dict[str, int] = {}
        self._waiting: dict[str, list[Record]] = {topic: [] for topic in conf.inputs}

    def begin(self, state: Any, positions: dict[str, int]) -> None:
        """Take up work at ``positions`` (inputs and globals)."""
        self.state = state
        self.applied = dict(positions)
        self.received = {topic: positions[topic] for topic in self._conf.inputs}
        self.open = True
        self.wake.set()

    def check_unmoved(self, tp: TopicPartition, position: int) -> None:
        """The consumer moves only by records that it hands to us.

        Raises:
            RecordsMissing: it moved otherwise.
        """
        if position != self.received[tp.topic]:
            raise RecordsMissing(
                f"{tp.topic}-{tp.partition} moved from {self.received[tp.topic]} to {position} "
                "without handing out records"
            )

    def receive(self, tp: TopicPartition, records: Sequence[Record], position: int) -> None:
        """Take the records of one poll; ``position`` is where the consumer stands after it.

        Raises:
            RecordsMissing: the records do not lie between the positions before and after.
        """
        before = self.received[tp.topic]
        if records and not before <= records[0].offset <= records[-1].offset < position:
            raise RecordsMissing(
                f"{tp.topic}-{tp.partition}: records {records[0].offset}..{records[-1].offset} "
                f"outside [{before}, {position})"
            )
        self.received[tp.topic] = position
        if records:
            self._waiting[tp.topic] += records
            self.wake.set()

    def waiting(self) -> int:
        """How many records of the inputs wait."""
        return sum(map(len, self._waiting.values()))

    def take(self, limit: int) -> Batch:
        """What comes next: all globals, then inputs in the lane's order, ``limit`` at most."""
        records: dict[str, list[Record]] = {}
        positions: dict[str, int] = {}
        for topic in self._conf.globals_:
            records[topic], positions[topic] = self._shared.since(topic, self.applied[topic])
        for topic, waiting in self._waiting.items():
            taken = records[topic] = waiting[:limit]
            limit -= len(taken)
            rest = len(taken) < len(waiting)
            positions[topic] = waiting[len(taken)].offset if rest else self.received[topic]
        self.wake.clear()
        return Batch(records, positions)

    def advance(self, batch: Batch) -> None:
        """Forget what was committed."""
        for topic, waiting in self._waiting.items():
            del waiting[: len(batch.records[topic])]
        self.applied = dict(batch.positions)
        if self.waiting():
            self.wake.set()
