"""The accounts lane in a real worker process beside a real broker: CPU by the kernel's count.

Decides what is counted: the worker's CPU from the first bid to the last order that a reader sees,
less what it uses when idle. Refuses to count the broker's CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Final

import aiokafka
import psutil

from bidplane_agents import clock, connection, topology
from bidplane_loadtest import bench_crowd, bench_report
from bidplane_streams.embedded import kafka, ports, processes
from bidplane_topics import codec, registry

TIMEOUT_S: Final = 180.0
POLL_MS: Final = 50
# Taken before the clock runs: start-up and cold topics are not what is measured.
WARM_BIDS: Final = 640
IDLE_S: Final = 4.0


async def rows(count: int, sizes: tuple[int, ...]) -> list[bench_report.Row]:
    """One row for each envelope size, each on a broker and worker of its own."""
    return [await _row(count, size) for size in sizes]


async def _row(count: int, size: int) -> bench_report.Row:
    with tempfile.TemporaryDirectory(prefix="bidplane-bench-") as folder:
        home = pathlib.Path(folder)
        broker = kafka.Kafka(home)
        await broker.start()
        try:
            reached = connection.Connection(broker.bootstrap)
            await topology.apply(reached, registry.Partitions(tenant=1, market=1))
            async with worker(home, broker.bootstrap, "accounts") as pid:
                rate = await _measured(reached, count, size, psutil.Process(pid))
        finally:
            await broker.stop()
    return bench_report.Row(bench_crowd.group_of(size), "lane in a worker, with Kafka", rate)


async def _measured(
    reached: connection.Connection, count: int, size: int, worker: psutil.Process
) -> float:
    """Bids per CPU-second of the worker, what it uses when idle taken off."""
    crowd = bench_crowd.Crowd()
    orders = _Orders(reached)
    async with reached.opened(reached.producer(linger_ms=5)) as producer, orders:
        for topic, events in crowd.founding().items():
            for number, event in enumerate(events):
                value = codec.encode(event)  # compacted topics want a key: any will do
                await producer.send_and_wait(topic, value, str(number).encode(), partition=0)
        expires_ms = clock.now_ms() + 3_600_000
        await _burst(producer, crowd.sealed(WARM_BIDS, size, expires_ms))
        await orders.until(WARM_BIDS // size * size)
        sealed = crowd.sealed(count, size, expires_ms)
        made = len(sealed) * size
        idle = await _idle_share(worker)
        begun_s, begun_cpu_s = time.monotonic(), _cpu_s(worker)
        await _burst(producer, sealed)
        await orders.until(made)
        idle_s = idle * (time.monotonic() - begun_s)
        return made / (_cpu_s(worker) - begun_cpu_s - idle_s)


async def _burst(
    producer: aiokafka.AIOKafkaProducer, sealed: list[tuple[bytes, list[tuple[str, bytes]]]]
) -> None:
    sent = [
        await producer.send(registry.BIDS.name, value, partition=0, headers=headers)
        for value, headers in sealed
    ]
    await asyncio.gather(*sent)


async def _idle_share(worker: psutil.Process) -> float:
    """CPU-seconds a second while nothing comes in."""
    await asyncio.sleep(1)
    begun_s = _cpu_s(worker)
    await asyncio.sleep(IDLE_S)
    return (_cpu_s(worker) - begun_s) / IDLE_S


@contextlib.asynccontextmanager
async def worker(
    home: pathlib.Path, bootstrap: str, lanes: str = "accounts,markets,router"
) -> AsyncIterator[int]:
    """A worker process with these lanes; its process id."""
    env = {
        "BIDPLANE_KAFKA": bootstrap, "BIDPLANE_INSTANCE": "bench", "BIDPLANE_LANES": lanes,
        "BIDPLANE_DATA_DIR": str(home / "faust"),
        "BIDPLANE_WEB_PORT": str(ports.remembered(home / "web.json", "web")["web"]),
    }  # fmt: skip
    argv = [sys.executable, "-m", "bidplane_agents.cli", "worker"]
    child = processes.Child(processes.Recipe("worker", argv, home / "logs", env=env))
    await child.start()
    try:
        assert child.pid is not None
        yield child.pid
    finally:
        await child.stop()


class _Orders:
    """Reads committed orders, to know when the lane has done its work."""

    def __init__(self, reached: connection.Connection) -> None:
        self._opened = reached.opened(reached.consumer(isolation_level="read_committed"))
        self._place = aiokafka.TopicPartition(registry.ORDERS.name, 0)
        self._consumer: aiokafka.AIOKafkaConsumer | None = None

    async def __aenter__(self) -> None:
        self._consumer = await self._opened.__aenter__()
        self._consumer.assign([self._place])
        await self._consumer.seek_to_beginning(self._place)

    async def __aexit__(self, *error: object) -> None:
        await self._opened.__aexit__(*error)  # type: ignore[arg-type]

    async def until(self, count: int) -> None:
        """Wait until ``count`` more orders were read."""
        assert self._consumer is not None
        async with asyncio.timeout(TIMEOUT_S):
            while count > 0:
                got = await self._consumer.getmany(self._place, timeout_ms=POLL_MS)
                count -= sum(len(records) for records in got.values())
        assert count == 0, "more orders than bids"


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
