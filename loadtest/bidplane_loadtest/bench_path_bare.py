"""The same hops without a market: what lanes and Kafka alone take, in the same run.

Decides three lanes that hand every record on: at once, when a window ends, at once. Refuses to
look at a record. As a module it is the process of these lanes, with the arguments BOOTSTRAP and
WINDOW_MS.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pathlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import aiokafka
from aiokafka.admin import NewTopic

from bidplane_agents import connection
from bidplane_loadtest import summary
from bidplane_streams import interpreter
from bidplane_streams.embedded import processes
from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_streams.lanes.lane import Lane
from bidplane_streams.lanes.logic import Batch, Effects, Output

HOPS: Final = ("bare.bids", "bare.orders", "bare.outcomes", "bare.told")
WARM_S: Final = 5.0
TICK_S: Final = 0.001
TIMEOUT_S: Final = 60.0


class HandOn:
    """A logic without one: what comes in goes out, at once or when a window ends."""

    threaded = False

    def __init__(self, target: str, window_ms: int) -> None:
        """Without ``window_ms``, at once."""
        self._target, self._window_ms = target, window_ms

    def new_state(self, partition: int) -> None:
        """Nothing is remembered."""
        del partition

    def restore(self, state: None, key: bytes, value: bytes | None) -> None:
        """Nothing is remembered."""

    def next_close_ms(self, state: None, now_ms: int) -> int | None:
        """The running window's end."""
        del state
        return (now_ms // self._window_ms + 1) * self._window_ms if self._window_ms else None

    def decide(self, state: None, partition: int, batch: Batch, now_ms: int) -> Effects | None:
        """Hand on."""
        del state, now_ms
        effects = Effects()
        for records in batch.records.values():
            for record in records:
                effects.emit(self._target, partition, Output(record.key, record.value))
        return effects if effects.outputs else None


def _lanes(bootstrap: str, window_ms: int) -> list[Lane]:
    found = []
    for hop, (source, target) in enumerate(itertools.pairwise(HOPS)):
        conf = LaneConf(
            app_id="bare", name=f"hop{hop}", inputs=(source,), outputs=(target,),
            changelog=f"{target}-changelog", access=Access(bootstrap), instance="bare",
            records_max=50_000, buffer_records=50_000,
        )  # fmt: skip
        found.append(Lane(conf, HandOn(target, window_ms if hop == 1 else 0)))
    return found


async def _run(bootstrap: str, window_ms: int) -> None:
    for lane in _lanes(bootstrap, window_ms):
        await lane.start()
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def running(
    reached: connection.Connection, home: pathlib.Path, window_ms: int
) -> AsyncIterator[None]:  # fmt: skip
    """The topics and the process of the bare lanes."""
    stamped = {"message.timestamp.type": "LogAppendTime"}
    names = [*HOPS, *(f"{name}-changelog" for name in HOPS[1:])]
    async with reached.administered() as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=stamped) for name in names])
    module = "bidplane_loadtest.bench_path_bare"
    argv = [sys.executable, "-m", module, reached.bootstrap, str(window_ms)]
    child = processes.Child(processes.Recipe("bare", argv, home / "logs"))
    await child.start()
    try:
        yield
    finally:
        await child.stop()


async def measure(
    reached: connection.Connection, rate: int, seconds: float, window_ms: int
) -> dict[str, dict[str, int]]:
    """Milliseconds from intended to heard, less a window; and beyond the due window's close."""
    warm = int(WARM_S * rate)
    heard: dict[int, float] = {}
    listening = asyncio.create_task(_listen(reached, heard))
    try:
        begun_s = await _send(reached, rate, warm + int(seconds * rate), heard)
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    beyond: list[int] = []
    later: list[int] = []
    for number, at_ms in heard.items():
        due_ms = (begun_s + number / rate) * 1000
        if number >= warm:
            beyond.append(int(at_ms - due_ms - window_ms))
            later.append(int(at_ms - (due_ms // window_ms + 1) * window_ms))
    return {
        "beyond_window": summary.percentiles(beyond), "beyond_close": summary.percentiles(later)
    }  # fmt: skip


async def _send(
    reached: connection.Connection, rate: int, count: int, heard: dict[int, float]
) -> float:
    async with reached.opened(reached.producer()) as producer:
        await producer.send_and_wait(HOPS[0], b"-1", partition=0)  # until the lanes are open
        async with asyncio.timeout(TIMEOUT_S):
            while -1 not in heard:
                await asyncio.sleep(TICK_S)
        begun_s, sent, pending = time.time() + 0.2, 0, []
        while sent < count:
            due = min(count, int((time.time() - begun_s) * rate) + 1)
            if due > sent:
                builder = producer.create_batch()
                while sent < due and builder.append(
                    key=None, value=b"%-500d" % sent, timestamp=None
                ):
                    sent += 1
                builder.close()
                pending.append(await producer.send_batch(builder, HOPS[0], partition=0))
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*pending)
        async with asyncio.timeout(TIMEOUT_S):
            while len(heard) <= count:
                await asyncio.sleep(TICK_S)
    return begun_s


async def _listen(reached: connection.Connection, heard: dict[int, float]) -> None:
    consumer = reached.consumer(isolation_level="read_committed", fetch_max_wait_ms=50)
    async with reached.opened(consumer):
        place = aiokafka.TopicPartition(HOPS[-1], 0)
        consumer.assign([place])
        await consumer.seek_to_end(place)
        while True:
            got: Any = await consumer.getmany(timeout_ms=1000)
            now_ms = time.time() * 1000
            for record in got.get(place, ()):
                heard[int(record.value)] = now_ms


if __name__ == "__main__":
    interpreter.settle()
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
