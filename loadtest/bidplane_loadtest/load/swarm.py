"""One generator process: a producer and a consumer that stand for many agents.

Decides how it talks to the process that started it: a line of JSON each way (``Order`` in, ``Beat``
out). Refuses to plan and to sum up.

    python -m bidplane_loadtest.load.swarm JOB.json
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import pathlib
import signal
import sys
import time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_agents import connection, profiles
from bidplane_agents.errors import BidplaneError
from bidplane_loadtest.load import schedule
from bidplane_loadtest.load.beats import Beat
from bidplane_loadtest.load.hearer import Hearer
from bidplane_loadtest.load.marks import Book
from bidplane_loadtest.load.sender import BATCH_BYTES, Sender
from bidplane_topics import registry

BEAT_S: Final = 0.5


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is to do; written as a file. ``people`` names the file with the keys."""

    kafka: str
    market: str
    window_ms: int
    people: str
    tenants: tuple[str, ...]
    load: str
    marks: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """``sign`` and ``begin`` name the same moment: by the calendar and by the machine's clock."""

    do: str
    begin_ms: int = 0
    begin_ns: int = 0


class Swarm:
    """The process: listens first, signs, waits for the begin, sends."""

    def __init__(self, job: Job) -> None:
        """Nothing is connected yet."""
        load = schedule.read(job.load)
        people = msgspec.json.decode(
            pathlib.Path(job.people).read_bytes(), type=list[profiles.Profile]
        )
        self.job = job
        self.reached = connection.from_environment(job.kafka)
        self.book = Book(load.due_us.tolist(), load.phase.tolist(), load.envelope)
        self.sender = Sender(load, people, job.market, self.book)
        self.hearer = Hearer(self.book, self.sender.rows, job.window_ms)
        self.begin_ns = 0
        self.sending: asyncio.Task[None] | None = None
        self.ready = False
        self.stopped_us: int | None = None

    def clock(self) -> int:
        """Microseconds since the begin; the clock is the same in every process of the machine."""
        return (time.monotonic_ns() - self.begin_ns) // 1000

    async def run(self) -> None:
        """Follow orders until the last one."""
        orders = await _lines()
        producer = self.reached.producer(max_batch_size=BATCH_BYTES)
        consumer = self.reached.consumer(isolation_level="read_committed", fetch_max_wait_ms=500)
        async with self.reached.opened(producer), self.reached.opened(consumer):
            places = await _from_now(consumer, self.job.tenants)
            await producer.partitions_for(registry.BIDS.name)
            hearing = asyncio.create_task(self.hearer.run(consumer, places, self.clock))
            beating = asyncio.create_task(self._beat())
            try:
                while (order := await self._next(orders, hearing)).do != "finish":
                    self._follow(order, producer)
            finally:
                await _stop(hearing, beating, self.sending)
                self.book.save(self.job.marks)

    async def _next(self, orders: asyncio.StreamReader, hearing: asyncio.Task[None]) -> Order:
        """The next order; a hearer that died ends the process, and so does a parent that did."""
        reading = asyncio.create_task(orders.readline())
        await asyncio.wait({reading, hearing}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            reading.cancel()
            hearing.result()
        line = await reading
        return msgspec.json.decode(line, type=Order) if line else Order(do="finish")

    def _follow(self, order: Order, producer: Any) -> None:
        if order.do == "sign":
            self.sender.stock(order.begin_ms)
            gc.freeze()
            self.ready = True
        elif order.do == "begin":
            self.begin_ns = order.begin_ns
            self.hearer.begin_ms = order.begin_ms
            self.sender.begin_at(order.begin_ms)
            work = self.sender.run(producer, self.clock, self.hearer.acknowledged)
            self.sending = asyncio.create_task(work)
        elif order.do == "stop" and self.sending is not None:
            self.sending.cancel()
            self.stopped_us = self.clock()

    async def _beat(self) -> None:
        encoder = msgspec.json.Encoder()
        while True:
            sys.stdout.buffer.write(encoder.encode(self._now()) + b"\n")
            sys.stdout.buffer.flush()
            await asyncio.sleep(BEAT_S)

    def _now(self) -> Beat:
        now_us = self.clock() if self.sending is not None else -1
        if self.stopped_us is not None:  # what falls due later is no longer offered
            now_us = self.stopped_us
        sender, hearer, size = self.sender, self.hearer, self.book.envelope
        sending = self.sending is not None and not self.sending.done()
        lag_us = max(sender.lag_us, sender.behind_us(now_us) if sending else 0)
        sender.lag_us = 0
        sent, answered = sender.next * size, sum(hearer.kinds.values())
        return Beat(
            ready=self.ready, done_sending=self.sending is not None and self.sending.done(),
            offered=sender.offered(now_us) * size, sent=sent, failed=sender.failed,
            open=sent - answered - sender.failed, unbound=hearer.unbound, lag_us=lag_us,
            held=hearer.held, kinds=dict(hearer.kinds), reasons=dict(hearer.reasons),
            stages=hearer.stages,
        )  # fmt: skip


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _from_now(consumer: AIOKafkaConsumer, tenants: tuple[str, ...]) -> list[TopicPartition]:
    """Assign the tenants' topics, from their ends as they are now."""
    places = [TopicPartition(registry.allocations(tenant).name, 0) for tenant in tenants]
    async with asyncio.timeout(connection.REACH_TIMEOUT_S):
        await consumer.topics()
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
    for place, end in ends.items():
        consumer.seek(place, end)
    return places


async def _stop(*tasks: asyncio.Task[None] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def main() -> None:
    """Run a job; a failure is one line on stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    job = msgspec.json.decode(pathlib.Path(sys.argv[1]).read_bytes(), type=Job)
    try:
        asyncio.run(Swarm(job).run())
    except (BidplaneError, OSError) as error:
        sys.stderr.write(f"generator {os.getpid()}: {error}\n")
        raise SystemExit(getattr(error, "exit_code", 4)) from error


if __name__ == "__main__":
    main()
