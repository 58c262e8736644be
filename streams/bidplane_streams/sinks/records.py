"""Kafka for sinks and sources: a topic read into a table, and a producer of reports.

Decides when a table may be believed: once it has read to the end that the broker named at the
start, and as long as the broker still answers. Refuses to know what the records mean. Reads
committed records only, since the lanes write in transactions. Everybody reads all partitions: a
market is filtered by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from bidplane_agents import connection
from bidplane_streams.sinks import errors, patience
from bidplane_topics import codec, markets, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.event import Event

log = logging.getLogger(__name__)

V = TypeVar("V", bound=Event)

POLL_MS: Final = 200
ASK_EVERY_S: Final = 2.0
CALL_TIMEOUT_S: Final = 10.0
DISCARD_TIMEOUT_S: Final = 2.0
STALE_S: Final = 10.0
RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 5.0


@contextlib.contextmanager
def unless_cancelled() -> Iterator[None]:
    """What aiokafka cancels by itself when a broker goes away is no cancellation of this task.

    Taken for one, it would end a task that should go on for ever, and no task group would say so.

    Raises:
        Unreachable: a future was cancelled, and nobody has cancelled the task.
    """
    try:
        yield
    except asyncio.CancelledError as gone:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise errors.Unreachable("the broker went away") from gone


class Row(NamedTuple, Generic[V]):
    """An event of a table, where it lay, and when the broker took it."""

    event: V
    partition: int
    offset: int = -1
    at_ms: int = 0


def market_or_node(event: Any) -> str:
    """The key of a record of the markets topic in a table; no market is called like a node."""
    if isinstance(event, markets.NodeAssigned):
        return f"node/{event.node}"
    return str(event.market)


def hush() -> None:
    """Silence aiokafka's own log: with the broker down it writes a line per retry; we write one."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Table(Generic[V]):
    """The last event of every key of ``topic``; tombstones remove.

    ``key`` is None for an event that is nobody's business here, ``wanted`` False for one that
    removes its key: an ended lease is as good as none, and they are many.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: registry.Topic,
        key: Callable[[Any], str | None],
        wake: asyncio.Event,
        wanted: Callable[[Any], bool] = lambda _: True,
    ) -> None:
        """Does nothing until ``run``."""
        self.rows: dict[str, Row[V]] = {}
        self._wanted = wanted
        self.topic = topic
        self._bootstrap = bootstrap
        self._key = key
        self._wake = wake
        self._record_keys: dict[tuple[int, bytes], str] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._asked_at = 0.0
        self._synced = False
        self._delay_s = RETRY_FIRST_S

    @property
    def synced(self) -> bool:
        """Whether everything up to the end that was named at the start (or at a doubt) is read."""
        return self._synced

    @property
    def fresh(self) -> bool:
        """Synced, and the broker answered of late: what we read is what there is."""
        return self._synced and time.monotonic() - self._asked_at < STALE_S

    def doubt(self) -> None:
        """Believe nothing until the broker has named its end again and we have read to it."""
        self._synced = False
        self._ends = {}
        self._asked_at = 0.0

    async def run(self) -> None:
        """Read until cancelled; a broker that does not answer is asked again, patiently."""
        while True:
            try:
                with unless_cancelled():
                    await self._follow()
            except (KafkaError, TimeoutError, OSError, errors.Unreachable) as error:
                patience.VOICE.failed(f"Kafka at {self._bootstrap}", error)
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(RETRY_MOST_S, self._delay_s * 2)

    async def _follow(self) -> None:
        """Read from the beginning, and on, until the broker goes away."""
        consumer = AIOKafkaConsumer(
            self.topic.name,  # without a group that means: all of its partitions
            **connection.client_options(self._bootstrap),
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_poll_records=2000,
        )
        try:
            await consumer.start()
            await self._assign(consumer)
            self._delay_s = RETRY_FIRST_S
            await self._read(consumer)
        finally:
            await consumer.stop()

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        if not consumer.assignment():
            raise errors.Unreachable(f"topic {self.topic.name} does not exist yet")
        await consumer.seek_to_beginning()
        # Read anew: a key may have been removed by a record that is compacted away by now.
        self.rows = {}
        self._record_keys = {}
        self.doubt()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        # Ends are asked for beside the polls, since a poll says nothing when the broker is gone.
        asking: asyncio.Task[None] | None = None
        try:
            while True:
                if asking is not None and asking.done():
                    asking.result()
                    asking = None
                if asking is None and time.monotonic() - self._asked_at > ASK_EVERY_S:
                    asking = asyncio.create_task(self._ask(consumer))
                self._take(await consumer.getmany(timeout_ms=POLL_MS))
                await self._judge(consumer)
        finally:
            if asking is not None:
                asking.cancel()

    async def _ask(self, consumer: AIOKafkaConsumer) -> None:
        asked_at = time.monotonic()
        partitions = list(consumer.assignment())
        async with asyncio.timeout(CALL_TIMEOUT_S):
            ends = await consumer.end_offsets(partitions)
        self._asked_at = asked_at
        if not self._synced and not self._ends:
            self._ends = ends
        patience.VOICE.answered(f"Kafka at {self._bootstrap}")

    async def _judge(self, consumer: AIOKafkaConsumer) -> None:
        if self._synced or not self._ends:
            return
        for partition, end in self._ends.items():
            if await consumer.position(partition) < end:
                return
        self._synced = True
        self._wake.set()

    def _take(self, batches: dict[TopicPartition, list[Any]]) -> None:
        for partition, records in batches.items():
            for record in records:
                self._take_one(partition.partition, record)
        if batches:
            self._wake.set()

    def _take_one(self, partition: int, record: Any) -> None:
        place = (partition, bytes(record.key or b""))
        if record.value is None:
            self.rows.pop(self._record_keys.pop(place, ""), None)
            return
        try:
            event = codec.decode(self.topic, record.value)
        except MalformedRecord as error:
            log.warning("skipped offset %d of partition %d: %s", record.offset, partition, error)
            return
        key = self._key(event)
        if key is None:
            return
        if not self._wanted(event):
            self.rows.pop(key, None)
            self._record_keys.pop(place, None)
        else:
            self.rows[key] = Row(event, partition, record.offset, record.timestamp)
            self._record_keys[place] = key


class Writer:
    """Sends events. At least once: a repeat has the same content, which readers ignore."""

    def __init__(self, bootstrap: str) -> None:
        """Does nothing until the first ``send``."""
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def send(self, topic: registry.Topic, partition: int, key: str, event: Event) -> None:
        """Send one event and wait until the broker has it.

        Raises:
            Unreachable: it has not.
        """
        producer: AIOKafkaProducer | None = None
        try:
            producer = await self._started()
            sending = producer.send_and_wait(
                topic.name, codec.encode(event), key=key.encode(), partition=partition
            )
            with unless_cancelled():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await sending
        except (
            KafkaError, TimeoutError, OSError, AssertionError, errors.Unreachable
        ) as error:  # fmt: skip
            if producer is not None:
                await self._discard(producer)
            words = str(error) or type(error).__name__
            raise errors.Unreachable(f"Kafka at {self._bootstrap}: {words}") from error

    async def _discard(self, failed: AIOKafkaProducer) -> None:
        """Give up a producer that failed: after a broker's crash it may never recover.

        The next send makes a fresh one; what was under way may be repeated, which readers ignore.
        """
        stopping = asyncio.ensure_future(failed.stop())
        if self._producer is failed:
            self._producer = None
        with contextlib.suppress(KafkaError, TimeoutError, OSError, AssertionError):
            async with asyncio.timeout(DISCARD_TIMEOUT_S):
                await stopping

    async def stop(self) -> None:
        """Flush and close."""
        if self._producer is not None:
            await self._producer.stop()

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **connection.client_options(self._bootstrap),
                    enable_idempotence=True,
                    linger_ms=2,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
