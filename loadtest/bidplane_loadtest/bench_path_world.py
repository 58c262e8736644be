"""The money path alone: a broker, a worker, and a market on standing claims that nobody serves.

Decides who bids and what is on sale, so that nothing but lanes, router and Kafka takes part: no
Kubernetes, no sink, no source. Refuses to measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import tempfile
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import aiokafka

from bidplane_agents import clock, connection, topology
from bidplane_loadtest import bench_worker
from bidplane_streams.embedded import kafka
from bidplane_topics import agents, bids, codec, envelope, ids, markets, registry, reports, supply
from bidplane_topics.event import Event

MARKET: Final = "pool-a"
BUDGET_MICROS: Final = 10**15
DEVICES: Final = 8
DURATION_MS: Final = 1000
EXPIRY_MS: Final = 3_600_000
ALIVE_EVERY_S: Final = 3.0
# A spread of values, so that some win and some lose and prices mean something.
VALUES_MICROS: Final = tuple(1000 + 37 * number % 997 for number in range(97))


class Sealed(NamedTuple):
    """A record of the bids topic, and the ids of its bids."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    bid_ids: tuple[str, ...]


class Bidder:
    """An agent with a key: every envelope is the next one."""

    def __init__(self, number: int, tenants: int) -> None:
        """The same key in every run."""
        self.partition = number % tenants
        self.tenant, self.agent = f"t{self.partition}", f"a{number}"
        self.key = envelope.SigningKey(bytes.fromhex(ids.digest("bench", self.agent)))
        self.sequence = 0

    def founding(self) -> list[tuple[registry.Topic, str, Event]]:
        """The records that make the agent known and rich."""
        name = ids.agent_id(self.tenant, self.agent)
        known = agents.AgentKey(key_id=self.key.key_id, public_key=self.key.public_text())
        return [
            (
                registry.AGENTS, self.tenant,
                agents.TenantRegistered(tenant=self.tenant, partition=self.partition),
            ),
            (
                registry.AGENTS, name,
                agents.AgentRegistered(tenant=self.tenant, agent=self.agent, keys=(known,)),
            ),
            (
                registry.ACCOUNTS, f"g-{name}",
                agents.CreditGranted(
                    grant_id=f"g-{name}", tenant=self.tenant, agent=self.agent,
                    amount_micros=BUDGET_MICROS,
                ),
            ),
        ]  # fmt: skip

    def seal(self, count: int, expires_at_ms: int) -> Sealed:
        """One envelope of ``count`` bids for a device."""
        self.sequence += 1
        sealed = bids.Envelope(
            v=1, tenant=self.tenant, agent=self.agent, sequence=self.sequence,
            expires_at_ms=expires_at_ms,
            commands=tuple(_bid(self.sequence + number) for number in range(count)),
        )  # fmt: skip
        value, headers = envelope.seal(sealed, self.key)
        key_id = self.key.key_id
        made = tuple(
            ids.bid_id(self.tenant, self.agent, key_id, self.sequence, number)
            for number in range(count)
        )
        name = ids.agent_id(self.tenant, self.agent)
        return Sealed(self.partition, name.encode(), value, headers, made)


def _bid(number: int) -> bids.Command:
    wanted: dict[str, str] = {"productName": "H100"}
    one = bids.Alternative(selector=dict(wanted), shape="1", duration_ms=DURATION_MS)
    value = VALUES_MICROS[number % len(VALUES_MICROS)]
    return bids.Command(place=bids.Place(market=MARKET, value_micros=value, alternatives=(one,)))


class World(NamedTuple):
    """What runs, and by which process ids its CPU is counted."""

    home: pathlib.Path
    reached: connection.Connection
    broker_pid: int
    worker_pid: int
    bidders: list[Bidder]


@contextlib.asynccontextmanager
async def running(
    window_ms: int, nodes: int, bidders: int, tenants: int
) -> AsyncIterator[World]:  # fmt: skip
    """Start the path, with everyone known; stop it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="bidplane-bench-") as folder:
        home = pathlib.Path(folder)
        broker = kafka.Kafka(home)
        await broker.start()
        try:
            assert broker.pid is not None
            reached = connection.Connection(broker.bootstrap)
            await topology.apply(reached, registry.Partitions(tenant=tenants, market=1))
            crowd = [Bidder(number, tenants) for number in range(bidders)]
            async with (
                reached.opened(reached.producer()) as producer,
                bench_worker.worker(home, broker.bootstrap) as pid,
                _alive(producer),
            ):
                await _found(producer, crowd, window_ms, nodes)
                yield World(home, reached, broker.pid, pid, crowd)
        finally:
            await broker.stop()


async def _found(
    producer: aiokafka.AIOKafkaProducer, crowd: list[Bidder], window_ms: int, nodes: int
) -> None:
    declared = markets.MarketDeclared(
        market=MARKET, partition=0, standing=True, window_ms=window_ms, reserve_micros=1,
        grace_ms=0, slot_ms=50,
    )  # fmt: skip
    await _write(producer, registry.MARKETS, 0, MARKET, declared)
    for number in range(nodes):
        node = _node(f"node-{number}")
        await _write(producer, registry.SUPPLY, 0, node.node, node)
    for bidder in crowd:
        for topic, key, event in bidder.founding():
            await _write(producer, topic, bidder.partition, key, event)
    await producer.flush()


async def _write(
    producer: aiokafka.AIOKafkaProducer, topic: registry.Topic, partition: int, key: str,
    event: Event,
) -> None:  # fmt: skip
    await producer.send(topic.name, codec.encode(event), key=key.encode(), partition=partition)


@contextlib.asynccontextmanager
async def _alive(producer: aiokafka.AIOKafkaProducer) -> AsyncIterator[None]:
    """The word of a sink, again and again: without it nothing is sold."""

    async def say() -> None:
        while True:
            word = reports.SinkAlive(market=MARKET, sink="bench")
            await _write(producer, registry.REPORTS, 0, "bench", word)
            await asyncio.sleep(ALIVE_EVERY_S)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.wait([saying])


def _node(name: str) -> supply.NodeOffered:
    devices = tuple(
        supply.Device(
            name=f"gpu-{number}", driver="gpu.nvidia.com", pool=name, uuid=f"GPU-{name}-{number}",
            device_class="gpu.nvidia.com", attributes={"productName": "H100"},
        )
        for number in range(DEVICES)
    )  # fmt: skip
    return supply.NodeOffered(
        market=MARKET, node=name, devices=devices, cpu_millis=128_000, memory_mib=1_048_576,
        ephemeral_mib=1_048_576, held=True,
    )  # fmt: skip


def expiry_ms() -> int:
    """When envelopes of this run expire."""
    return clock.now_ms() + EXPIRY_MS
