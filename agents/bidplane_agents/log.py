"""Reading topics: a whole topic up to its present end, or one partition as it grows.

Decides positions and waiting. Refuses to know what records mean, beyond decoding by the registry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bidplane_agents.connection import REACH_TIMEOUT_S, Connection
from bidplane_topics import codec, registry

POLL_MS: Final = 200
ABSENT_RETRY_S: Final = 0.5


class Record(NamedTuple):
    """A record where it stood. ``value`` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def _record(raw: Any) -> Record:
    return Record(
        raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, raw.headers
    )


async def read(
    connection: Connection, topic: str, partition: int | None = None, last: int = 0
) -> AsyncGenerator[Record, None]:
    """Every committed record of ``topic`` up to the end it has now; nothing if it does not exist.

    Partition by partition when ``partition`` is None: order holds inside one only. ``last`` above 0
    starts that many offsets before the end of each.

    Raises:
        Unreachable: Kafka does not answer.
    """
    # Nothing here waits for new records, and closing waits for a fetch: so fetches are short.
    reader = connection.consumer(isolation_level="read_committed", fetch_max_wait_ms=20)
    async with connection.opened(reader) as consumer:
        with connection.reaching():
            spans = await _spans(consumer, topic, partition)
        for place, (begin, end) in sorted(spans.items()):
            if begin == end:
                continue
            consumer.assign([place])
            consumer.seek(place, max(begin, end - last) if last else begin)
            found = _read_one(connection, consumer, place, end)
            async with contextlib.aclosing(found):
                async for record in found:
                    yield record


async def _spans(
    consumer: AIOKafkaConsumer, topic: str, partition: int | None
) -> dict[TopicPartition, tuple[int, int]]:
    """First and next offset of each partition; empty where the topic does not exist."""
    async with asyncio.timeout(REACH_TIMEOUT_S):
        if topic not in await consumer.topics():
            return {}
        # topics() does not teach the consumer partitions; assigning and asking for an end does.
        consumer.assign([TopicPartition(topic, partition or 0)])
        await consumer.end_offsets([TopicPartition(topic, partition or 0)])
        found = sorted(consumer.partitions_for_topic(topic) or ())
        places = [TopicPartition(topic, number) for number in found]
        if partition is not None:
            places = [TopicPartition(topic, partition)]
        begins = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
    return {place: (begins[place], ends[place]) for place in places}


async def _read_one(
    connection: Connection, consumer: AIOKafkaConsumer, place: TopicPartition, end: int
) -> AsyncGenerator[Record, None]:
    before, idle_ms = -1, 0
    while True:
        with connection.reaching():
            # Transaction markers and compacted tails are offsets without records: trust this.
            position = await _position(consumer, place)
            if position >= end:
                return
            idle_ms = 0 if position > before else idle_ms + POLL_MS
            if idle_ms > REACH_TIMEOUT_S * 1000:
                raise TimeoutError(f"{place.topic} stands still at offset {position} of {end}")
            before = position
            polled = await consumer.getmany(place, timeout_ms=POLL_MS)
        for raw in polled.get(place, ()):
            if raw.offset < end:
                yield _record(raw)


async def _position(consumer: AIOKafkaConsumer, place: TopicPartition) -> int:
    async with asyncio.timeout(REACH_TIMEOUT_S):
        position: int = await consumer.position(place)
        return position


async def events(
    connection: Connection, topic: registry.Topic, partition: int | None = None, last: int = 0
) -> AsyncGenerator[tuple[Record, Any], None]:
    """``read``, decoded; tombstones are left out. Who leaves early closes it (``aclosing``).

    Raises:
        Unreachable: Kafka does not answer.
        MalformedRecord: a record is no event of the topic.
    """
    records = read(connection, topic.name, partition, last)
    async with contextlib.aclosing(records):
        async for record in records:
            if record.value is not None:
                yield record, codec.decode(topic, record.value)


class Tail:
    """One partition as it grows. A topic that nobody made yet counts as empty."""

    def __init__(self, connection: Connection, topic: str, partition: int = 0) -> None:
        self._connection = connection
        self._place = TopicPartition(topic, partition)
        self._start: int | None = None

    async def from_now(self) -> None:
        """Start after what is there now: fixed by this call, not by the first record read.

        Raises:
            Unreachable: Kafka does not answer.
        """
        async with self._connection.opened(self._consumer()) as consumer:
            with self._connection.reaching():
                spans = await _spans(consumer, self._place.topic, self._place.partition)
        self._start = spans[self._place][1] if spans else 0

    def _consumer(self) -> AIOKafkaConsumer:
        return self._connection.consumer(isolation_level="read_committed", fetch_max_wait_ms=100)

    async def records(self) -> AsyncGenerator[Record, None]:
        """Records for ever, from the start chosen, else from the beginning.

        A broker that goes away later is waited for: the position is kept.

        Raises:
            Unreachable: Kafka does not answer at first.
        """
        async with self._connection.opened(self._consumer()) as consumer:
            while self._place.topic not in await self._topics(consumer):
                await asyncio.sleep(ABSENT_RETRY_S)
            consumer.assign([self._place])
            if self._start is None:
                await consumer.seek_to_beginning(self._place)
            else:
                consumer.seek(self._place, self._start)
            while True:
                for record in await self._poll(consumer):
                    yield record

    async def _topics(self, consumer: AIOKafkaConsumer) -> set[str]:
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                topics: set[str] = await consumer.topics()
        except (KafkaError, TimeoutError):
            return set()
        return topics

    async def _poll(self, consumer: AIOKafkaConsumer) -> list[Record]:
        try:
            polled = await consumer.getmany(self._place, timeout_ms=POLL_MS)
        except KafkaError:
            await asyncio.sleep(ABSENT_RETRY_S)
            return []
        return [_record(raw) for raw in polled.get(self._place, ())]
