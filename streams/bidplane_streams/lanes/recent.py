"""The last rounds of every market, for people and probes.

Decides how many are kept. A reader of committed records like the lanes', since a Faust stream would
see rounds that were never committed. Refuses to interpret them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from aiokafka import TopicPartition
from mode import Service

from bidplane_streams.lanes import clients, death, readiness
from bidplane_streams.lanes.conf import LaneConf
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.rounds import RoundClosed

KEPT: Final = 100
# Every round is followed by a control record.
_BACK: Final = 2 * KEPT


class Recent(Service):
    """Follows the rounds topic from a little before its end."""

    def __init__(self, conf: LaneConf, **options: Any) -> None:
        """``conf.inputs`` is the rounds topic alone; ``options`` are those of mode's services."""
        super().__init__(**options)
        self.conf = conf
        self._rounds: dict[str, deque[RoundClosed]] = {}
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start in the background."""
        self._task = death.watched(self._run(), self.conf.group)

    async def on_stop(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self.conf.stop_s)

    def view(self, limit: int = KEPT) -> dict[str, list[RoundClosed]]:
        """The last ``limit`` rounds of each market, newest first."""
        return {market: list(reversed(rounds))[:limit] for market, rounds in self._rounds.items()}

    async def _run(self) -> None:
        topic = registry.ROUNDS.name
        counts = await readiness.topics(self.conf)
        reader = clients.reader(self.conf.access, self.conf.group)
        await reader.start()
        try:
            tps = [TopicPartition(topic, partition) for partition in range(counts[topic])]
            reader.assign(tps)
            firsts, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
            for tp in tps:
                reader.seek(tp, max(firsts[tp], ends[tp] - _BACK))
            while not self.should_stop:
                for records in (await reader.getmany(timeout_ms=1000)).values():
                    for record in records:
                        self._take(record.value)
        finally:
            await reader.stop()

    def _take(self, value: bytes | None) -> None:
        try:
            closed = codec.decode(registry.ROUNDS, value)
        except MalformedRecord:
            return  # a newer writer's event; the auditor speaks of it, a view need not
        self._rounds.setdefault(closed.market, deque(maxlen=KEPT)).append(closed)
