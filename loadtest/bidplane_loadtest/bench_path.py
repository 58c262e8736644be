"""Latency of the money path from intended send time, hop by hop, open loop, without sinks.

Decides when each bid is due and counts from that instant, sent late or not. Each hop ends with what
the broker stamped on the record that the hop wrote, so the hops of a bid add up to its latency.
Refuses Kubernetes: ``bench_latency`` and ``bidplane loadtest`` measure the whole system.

    python -m bidplane_loadtest.bench_path [--rate 1000]… [--seconds 20] [--window-ms 200]
    python -m bidplane_loadtest.bench_path --rate 10000 --per-envelope 16 --tenants 4
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import aiokafka
import msgspec
import psutil
import typer

from bidplane_agents import connection
from bidplane_loadtest import bench_path_bare, bench_path_world, bench_report, summary
from bidplane_topics import registry
from bidplane_topics.outcomes import TERMINAL_BID_KINDS

WARM_S: Final = 5.0
TICK_S: Final = 0.001
ANSWER_TIMEOUT_S: Final = 60.0
POLL_MS: Final = 200
QUIET_S: Final = 8.0
BATCH_BYTES: Final = 1_000_000
HOPS: Final = ("sent", "acked", "held", "closed", "decided", "routed", "heard")


class Told(msgspec.Struct):
    """As much of an outcome as is filed."""

    kind: str
    bid_id: str = ""
    at_ms: int = 0


class Ordered(msgspec.Struct):
    """As much of an order as is filed."""

    bid_id: str = ""


class Path(msgspec.Struct, kw_only=True):
    """Milliseconds. ``beyond_window``: from intended to heard, less one window's length.

    ``beyond_close``: after the end of the window in which the bid was due. ``hops``: each since the
    one before it. ``cpu_us_per_bid``: CPU of worker and broker over the run. ``bare``: the same
    hops without a market, right after it (``bench_path_bare``).
    """

    rate_per_s: int
    per_envelope: int
    window_ms: int
    sent: int
    unanswered: int
    next_window_permille: int
    beyond_window: dict[str, int]
    beyond_close: dict[str, int]
    beyond_own_close: dict[str, int]
    hops: dict[str, dict[str, int]]
    kinds: dict[str, int]
    cpu_us_per_bid: dict[str, int]
    bare: dict[str, dict[str, int]] = {}


class Times:
    """When each bid passed each hop, in milliseconds of one machine's clock."""

    def __init__(self) -> None:
        """Nothing is filed yet."""
        self.due: dict[str, float] = {}
        self.at: dict[str, dict[str, float]] = {hop: {} for hop in HOPS}
        self.kinds: dict[str, int] = {}


async def send(
    world: bench_path_world.World, sealed: list[bench_path_world.Sealed], rate: float, times: Times,
    from_number: int,
) -> None:  # fmt: skip
    """Send each record at its own time, in batches of what is due; file from ``from_number`` on."""
    reached = world.reached
    async with reached.opened(aiokafka.AIOKafkaProducer(
        bootstrap_servers=reached.bootstrap, acks="all", linger_ms=0, **reached.options,
        max_batch_size=BATCH_BYTES,
    )) as producer:  # fmt: skip
        begun_s, sent, pending = time.time() + 0.2, 0, []
        while sent < len(sealed):
            due = min(len(sealed), int((time.time() - begun_s) * rate) + 1)
            batches: dict[int, Any] = {}
            now_ms = time.time() * 1000
            for number in range(sent, due):
                one = sealed[number]
                builder = batches.get(one.partition) or producer.create_batch()
                batches[one.partition] = builder
                appended = builder.append(
                    key=one.key, value=one.value, timestamp=None, headers=one.headers
                )
                assert appended is not None, "more is due at once than fits a batch"
                if number >= from_number:
                    for bid in one.bid_ids:
                        times.due[bid] = (begun_s + number / rate) * 1000
                        times.at["sent"][bid] = now_ms
            for partition, builder in batches.items():
                builder.close()
                topic = registry.BIDS.name
                pending.append(await producer.send_batch(builder, topic, partition=partition))
            sent = max(sent, due)
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*pending)


class Ear:
    """Keeps what the agents' topics say, as it comes; it is read when the run is over."""

    def __init__(self, reached: connection.Connection, tenants: int) -> None:
        """Nothing is heard yet."""
        self._reached = reached
        self._topics = [registry.allocations(f"t{number}").name for number in range(tenants)]
        self.heard: list[tuple[float, list[Any]]] = []

    async def listen(self) -> None:
        """Until cancelled."""
        consumer = self._reached.consumer(fetch_max_wait_ms=50)
        async with self._reached.opened(consumer):
            places = [aiokafka.TopicPartition(topic, 0) for topic in self._topics]
            consumer.assign(places)
            await consumer.seek_to_end(*places)
            while True:
                got = await consumer.getmany(timeout_ms=1000)
                now_ms = time.time() * 1000
                self.heard += [(now_ms, records) for records in got.values()]

    def file(self, times: Times) -> None:
        """Sort what was heard by bid."""
        decoder = msgspec.json.Decoder(Told)
        for now_ms, records in self.heard:
            for record in records:
                told = decoder.decode(record.value)
                if told.bid_id not in times.due:
                    continue
                times.kinds[told.kind] = times.kinds.get(told.kind, 0) + 1
                if told.kind in TERMINAL_BID_KINDS:
                    times.at["heard"][told.bid_id] = now_ms
                    times.at["routed"][told.bid_id] = record.timestamp
                    times.at["closed"][told.bid_id] = told.at_ms


async def read_back(reached: connection.Connection, times: Times, tenants: int) -> None:
    """File what the broker stamped on orders and outcomes; a bid's own time is in its order's."""
    ordered, told = msgspec.json.Decoder(Ordered), msgspec.json.Decoder(Told)
    async for record in _all(reached, registry.ORDERS.name, 1):
        times.at["held"][ordered.decode(record.value).bid_id] = record.timestamp
    async for record in _all(reached, registry.OUTCOMES.name, tenants):
        event = told.decode(record.value)
        if event.kind in TERMINAL_BID_KINDS:
            times.at["decided"][event.bid_id] = record.timestamp
        elif event.kind == "held":  # told at the append time of the bid's own record
            times.at["acked"][event.bid_id] = event.at_ms


async def _all(reached: connection.Connection, topic: str, partitions: int) -> AsyncIterator[Any]:
    consumer = reached.consumer(isolation_level="read_committed")
    async with reached.opened(consumer):
        places = [aiokafka.TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                    yield record


def result(times: Times, rate: int, per_envelope: int, window_ms: int, cpu: dict[str, int]) -> Path:
    """The figures of one run."""
    heard = times.at["heard"]
    closes = {bid: (due // window_ms + 1) * window_ms for bid, due in times.due.items()}
    hops: dict[str, dict[str, int]] = {}
    before: dict[str, float] = times.due
    for hop in HOPS:
        found = times.at[hop]
        both = heard.keys() & found.keys() & before.keys()
        took = [int(found[bid] - before[bid]) for bid in both]
        hops[hop], before = summary.percentiles(took), found
    late = sum(times.at["closed"][bid] >= closes[bid] + window_ms for bid in heard)
    return Path(
        rate_per_s=rate, per_envelope=per_envelope, window_ms=window_ms, sent=len(times.due),
        unanswered=len(times.due) - len(heard),
        next_window_permille=late * 1000 // max(1, len(heard)),
        beyond_window=summary.percentiles(
            [int(at - times.due[bid] - window_ms) for bid, at in heard.items()]
        ),
        beyond_close=summary.percentiles([int(at - closes[bid]) for bid, at in heard.items()]),
        beyond_own_close=summary.percentiles(
            [int(at - times.at["closed"][bid]) for bid, at in heard.items()]
        ),
        hops=hops, kinds=times.kinds, cpu_us_per_bid=cpu,
    )  # fmt: skip


async def measure(
    world: bench_path_world.World, rate: int, seconds: float, per_envelope: int, window_ms: int
) -> Path:
    """Warm up, send, wait for the answers, read the log."""
    times, expires_ms = Times(), bench_path_world.expiry_ms()
    warm = int(WARM_S * rate / per_envelope)
    count, crowd = warm + int(seconds * rate / per_envelope), world.bidders
    tenants = 1 + max(bidder.partition for bidder in crowd)
    await _burst(world, tenants, expires_ms)
    sealed = [crowd[n % len(crowd)].seal(per_envelope, expires_ms) for n in range(count)]
    ear = Ear(world.reached, tenants)
    listening = asyncio.create_task(ear.listen())
    begun = _cpu_s(world)
    try:
        await asyncio.sleep(1)
        await send(world, sealed, rate / per_envelope, times, warm)
        with contextlib.suppress(TimeoutError):
            await _quiet(ear)
        used = {name: after - begun[name] for name, after in _cpu_s(world).items()}
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    ear.file(times)
    await read_back(world.reached, times, tenants)
    cpu = {name: int(took_s * 1e6 / (count * per_envelope)) for name, took_s in used.items()}
    return result(times, rate, per_envelope, window_ms, cpu)


async def _burst(world: bench_path_world.World, tenants: int, expires_ms: int) -> None:
    """A bid of everyone: lanes are open and the agents' topics there once it is answered."""
    sealed = [bidder.seal(1, expires_ms) for bidder in world.bidders]
    await send(world, sealed, 200.0, Times(), 0)
    wanted = {registry.allocations(f"t{number}").name for number in range(tenants)}
    async with world.reached.administered() as admin, asyncio.timeout(ANSWER_TIMEOUT_S):
        while not wanted <= set(await admin.list_topics()):
            await asyncio.sleep(0.2)
    await asyncio.sleep(2)


async def _quiet(ear: Ear) -> None:
    """Wait until nothing has been heard for a while; what comes later counts as no answer."""
    before = -1
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while len(ear.heard) != before:
            before = len(ear.heard)
            await asyncio.sleep(QUIET_S)


def _cpu_s(world: bench_path_world.World) -> dict[str, float]:
    pids = {"worker": world.worker_pid, "broker": world.broker_pid}
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: one.user + one.system for name, one in times.items()}


async def _runs(
    rates: list[int], seconds: float, per_envelope: int, window_ms: int, nodes: int, bidders: int,
    tenants: int,
) -> list[Path]:  # fmt: skip
    found = []
    async with bench_path_world.running(window_ms, nodes, bidders, tenants) as world:
        for rate in rates:
            one = await measure(world, rate, seconds, per_envelope, window_ms)
            async with bench_path_bare.running(world.reached, world.home, window_ms):
                bare = await bench_path_bare.measure(world.reached, rate, seconds, window_ms)
            found.append(msgspec.structs.replace(one, bare=bare))
    return found


def main(
    rate: Annotated[list[int] | None, typer.Option(min=1, help="Bids a second.")] = None,
    seconds: Annotated[float, typer.Option(min=2, help="For each rate.")] = 20,
    per_envelope: Annotated[int, typer.Option(min=1, max=64, help="Bids of a record.")] = 1,
    window_ms: Annotated[int, typer.Option(min=50, help="The market's windows.")] = 200,
    nodes: Annotated[int, typer.Option(min=1, help="Of eight devices.")] = 32,
    agents: Annotated[int, typer.Option(min=1, help="Bidders.")] = 200,
    tenants: Annotated[int, typer.Option(min=1, help="Partitions of the accounts lane.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    rates = rate or [1000]
    found = asyncio.run(_runs(rates, seconds, per_envelope, window_ms, nodes, agents, tenants))
    bench_report.show_figures(found, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
