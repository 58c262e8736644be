"""Tables whose completeness can be shown: what was written before a moment has all been read.

Decides up to which moment a table is complete, transactions that were open then included. Refuses
to know what is concluded from it. A table's own end is no proof: readers of committed records are
shown an end before every transaction that is still open, though another topic may show it already.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_agents import connection
from bidplane_streams.sinks import records
from bidplane_topics.event import Event

V = TypeVar("V", bound=Event)

# Offsets to look back: a round is a record and the marker of its transaction.
LAST: Final = 40


class Complete(records.Table[V]):
    """A table that says up to when it is complete, once somebody wants to know."""

    wanted = False
    complete_until_s = 0.0
    _asking_s = 0.0
    _through: dict[TopicPartition, int] | None = None

    async def _ask(self, consumer: AIOKafkaConsumer) -> None:
        await super()._ask(consumer)
        if not self.wanted or self._through is not None:
            return
        asked_s = time.monotonic()
        partitions = list(consumer.assignment())
        every = AIOKafkaConsumer(
            **connection.client_options(self._bootstrap), enable_auto_commit=False,
            isolation_level="read_uncommitted",
        )  # fmt: skip
        try:
            async with asyncio.timeout(records.CALL_TIMEOUT_S):
                await every.start()
                self._through = await every.end_offsets(partitions)
            self._asking_s = asked_s
        finally:
            await every.stop()

    async def _judge(self, consumer: AIOKafkaConsumer) -> None:
        await super()._judge(consumer)
        if self._through is None:
            return
        for partition, end in self._through.items():
            if await consumer.position(partition) < end:
                return
        self.complete_until_s, self._through = self._asking_s, None
        self._wake.set()


class Tail(records.Table[V]):
    """A table of the last records only: of a topic that says the newest state again and again."""

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        await super()._assign(consumer)
        places = list(consumer.assignment())
        begins = await consumer.beginning_offsets(places)
        for place, end in (await consumer.end_offsets(places)).items():
            consumer.seek(place, max(begins[place], end - LAST))
