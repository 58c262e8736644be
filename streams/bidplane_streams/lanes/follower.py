"""A reader of committed records for views: what was written lately, and what is written now.

Decides from where a topic is read: its whole, or its last records. Refuses to interpret records:
whoever wants a topic is handed them one by one. Not a Faust stream, which would see records that
were never committed. A view is no reason to end a process that moves money: a broker that goes away
is read anew, from the start, and the models are told to forget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from bidplane_streams.lanes import clients, death, readiness
from bidplane_streams.lanes.conf import LaneConf
from bidplane_topics import registry

log = logging.getLogger(__name__)

# So many at a time: the lanes share this loop.
RECORDS_MAX: Final = 500
POLL_MS: Final = 1000
AGAIN_S: Final = 5.0
EVERYTHING: Final = 0


class Wanted(NamedTuple):
    """A topic, how many of each partition's last offsets (0: all), and who takes its records."""

    topic: registry.Topic
    last: int
    take: Callable[[Any], None]
    forget: Callable[[], None]


class Follower(Service):
    """Follows several topics. ``ready`` is set once what was there at the start has been read."""

    def __init__(self, conf: LaneConf, wanted: Sequence[Wanted], **options: Any) -> None:
        """``conf`` names group and access; ``options`` are those of mode's services."""
        super().__init__(**options)
        self.conf = conf
        self.ready = False
        self._wanted = {one.topic.name: one for one in wanted}
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start in the background."""
        self._task = death.watched(self._run(), self.conf.group)

    async def on_stop(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self.conf.stop_s)

    async def _run(self) -> None:
        counts = await readiness.existing(self.conf, sorted(self._wanted))
        while not self.should_stop:
            for one in self._wanted.values():
                one.forget()
            try:
                await self._follow(counts)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("%s: %s: reading again", self.conf.group, error or type(error).__name__)
                self.ready = False
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, counts: dict[str, int]) -> None:
        reader = clients.reader(self.conf.access, self.conf.group)
        try:
            await reader.start()
            places = [
                TopicPartition(name, number) for name in counts for number in range(counts[name])
            ]
            reader.assign(places)
            ends = await self._seek(reader, places)
            while not self.should_stop:
                got = await reader.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
                for place, records in got.items():
                    take = self._wanted[place.topic].take
                    for record in records:
                        take(record)
                if not self.ready:
                    self.ready = await _reached(reader, ends)
                await asyncio.sleep(0)
        finally:
            await reader.stop()

    async def _seek(
        self, reader: AIOKafkaConsumer, places: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        firsts = await reader.beginning_offsets(places)
        ends: dict[TopicPartition, int] = await reader.end_offsets(places)
        for place in places:
            last = self._wanted[place.topic].last
            reader.seek(place, max(firsts[place], ends[place] - last) if last else firsts[place])
        return ends


async def _reached(reader: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    for place, end in ends.items():
        if await reader.position(place) < end:
            return False
    return True
