"""A stand-in for worker and router on a real Kafka: reads bids, writes outcomes as a test wants.

Decides nothing by itself: the test is the market. Refuses to fake Kafka.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from bidplane_agents import log, topology
from bidplane_agents.connection import Connection
from bidplane_streams.embedded import kafka
from bidplane_topics import bids, codec, envelope, ids, registry
from bidplane_topics.outcomes import OutcomeReported

TIMEOUT_S = 60.0


def outcome(agent_id: str, kind: Any, **more: Any) -> OutcomeReported:
    """An outcome for ``agent_id``; its id follows from what it is about, as the lanes' do."""
    tenant, agent = ids.split_agent(agent_id)
    about = more.get("bid_id") or more.get("lease_id") or more.pop("about", "")
    given = {"outcome_id": ids.joined(kind, about), "at_ms": 1, **more}
    return OutcomeReported(kind=kind, tenant=tenant, agent=agent, **given)


class World:
    """One installation's topics, and a hand on both ends of them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._producer: AIOKafkaProducer | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Make the topics and connect."""
        await topology.apply(self.connection, registry.Partitions())
        opened = self.connection.opened(self.connection.producer())
        self._producer = await self._stack.enter_async_context(opened)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._stack.aclose()

    async def write(self, topic: str, partition: int, value: bytes, key: bytes = b"") -> None:
        """A record, acknowledged."""
        assert self._producer is not None
        await self._producer.send_and_wait(topic, value, key, partition)

    async def make_allocations(self, tenant: str) -> None:
        """What the router does when a tenant is first told something."""
        await topology.apply(self.connection, registry.Partitions(), [registry.allocations(tenant)])

    async def tell(self, *outcomes: OutcomeReported) -> None:
        """Write outcomes where their tenant's agents read."""
        for one in outcomes:
            await self.write(registry.allocations(one.tenant).name, 0, codec.encode(one))

    async def bids(
        self, partition: int, public_key: str
    ) -> AsyncGenerator[tuple[log.Record, bids.Envelope], None]:
        """Envelopes on a partition from now on, each with its signature checked."""
        key = {ids.key_id(_raw(public_key)): _raw(public_key)}
        tail = log.Tail(self.connection, registry.BIDS.name, partition)
        await tail.from_now()
        async for record in tail.records():
            assert record.value is not None
            envelope.verify(record.topic, record.value, record.headers, key)
            yield record, codec.decode(registry.BIDS, record.value)


@contextlib.asynccontextmanager
async def on_kafka(directory: Path) -> AsyncGenerator[World]:
    """A real broker with all topics, for the length of the block."""
    broker = kafka.Kafka(directory)
    await broker.start()
    try:
        async with World(Connection(broker.bootstrap)) as made:
            yield made
    finally:
        await broker.stop()


def _raw(public_key: str) -> bytes:
    return base64.b64decode(public_key)


async def eventually(check: Any, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until ``check()`` is true."""
    async with asyncio.timeout(timeout_s):
        while not check():
            await asyncio.sleep(0.02)
