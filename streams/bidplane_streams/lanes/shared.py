"""Topics of one partition that every member reads: kept in memory, handed to every slot.

Decides how they are read. They have no group and no committed offsets: each slot's changelog vector
says how far that slot has applied them.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable
from operator import attrgetter

from aiokafka import TopicPartition

from bidplane_streams.errors import RecordsMissing
from bidplane_streams.lanes import clients, logic
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Record

_OFFSET = attrgetter("offset")


class Shared:
    """The records of the globals, and where reading stands; ``arrived`` is called after polls."""

    def __init__(self, conf: LaneConf, arrived: Callable[[], None]) -> None:
        """Nothing is read yet."""
        self._conf = conf
        self._arrived = arrived
        self._records: dict[str, list[Record]] = {topic: [] for topic in conf.globals_}
        self.first: dict[str, int] = {}
        self.next: dict[str, int] = {}
        self.ready = asyncio.Event()

    def since(self, topic: str, offset: int) -> tuple[list[Record], int]:
        """The records from ``offset`` on, and the offset after them."""
        records = self._records[topic]
        return records[bisect.bisect_left(records, offset, key=_OFFSET) :], self.next[topic]

    async def run(self) -> None:
        """Read for ever. ``ready`` is set once everything written before the start was read."""
        if not self._conf.globals_:
            self.ready.set()
            return
        conf = self._conf
        reader = clients.reader(conf.access, f"{conf.group}-shared", conf.idle_fetch_ms)
        await reader.start()
        try:
            tps = [TopicPartition(topic, 0) for topic in conf.globals_]
            reader.assign(tps)
            firsts = await reader.beginning_offsets(tps)
            ends = await reader.end_offsets(tps)
            for tp in tps:
                reader.seek(tp, firsts[tp])
                self.first[tp.topic] = self.next[tp.topic] = firsts[tp]
            while True:
                if all(self.next[tp.topic] >= ends[tp] for tp in tps):
                    self.ready.set()
                got = await reader.getmany(*tps, timeout_ms=1000)
                for tp in tps:
                    self._take(tp, logic.records(got.get(tp, ())), await reader.position(tp))
                if got:
                    self._arrived()
        finally:
            await reader.stop()

    def _take(self, tp: TopicPartition, records: list[Record], position: int) -> None:
        before = self.next[tp.topic]
        if records and not before <= records[0].offset <= records[-1].offset < position:
            raise RecordsMissing(f"{tp.topic}: records outside [{before}, {position})")
        self._records[tp.topic] += records
        self.next[tp.topic] = position
