"""A claims sink without Kubernetes: offers devices, reports every lease bound and later released.

For tests of agents against the real lanes. Refuses to judge: it believes the leases topic.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer

from bidplane_agents import log
from bidplane_agents.connection import Connection
from bidplane_topics import codec, leases, registry, reports, supply
from bidplane_topics.event import Event

ALIVE_EVERY_S = 1.0


@contextlib.asynccontextmanager
async def running(
    connection: Connection, market: str, partition: int, nodes: int = 2
) -> AsyncIterator[None]:
    """A sink of ``market`` with ``nodes`` nodes of eight devices, for the length of the block."""
    async with connection.opened(connection.producer()) as producer:
        for number in range(nodes):
            event = offered(market, f"node-{number:03}")
            await _write(producer, registry.SUPPLY, partition, event.node, event)
        tasks = [
            asyncio.create_task(_alive(producer, market, partition)),
            asyncio.create_task(_materialise(connection, producer, partition)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def offered(market: str, node: str) -> supply.NodeOffered:
    """Eight H100s that may be sliced."""
    return supply.NodeOffered(
        market=market, node=node, cpu_millis=128_000, memory_mib=2_000_000, ephemeral_mib=500_000,
        devices=tuple(_device(node, number) for number in range(8)),
    )  # fmt: skip


def _device(node: str, number: int) -> supply.Device:
    uuid = f"GPU-{node}-{number}"
    return supply.Device(
        name=f"gpu-{number}", driver="gpu.nvidia.com", pool=node, uuid=uuid,
        device_class="gpu.nvidia.com", attributes={"productName": "H100"},
        partitions=tuple(
            supply.Partition(
                name=f"gpu-{number}-mig-{profile}-{start}", uuid=f"MIG-{uuid}-{profile}-{start}",
                profile=profile, start=start,
            )
            for profile, start in sorted(supply.PLACEMENTS)
        ),
    )  # fmt: skip


async def _write(
    producer: AIOKafkaProducer, topic: registry.Topic, partition: int, key: str, event: Event
) -> None:
    await producer.send_and_wait(topic.name, codec.encode(event), key.encode(), partition)


async def _alive(producer: AIOKafkaProducer, market: str, partition: int) -> None:
    while True:
        event = reports.SinkAlive(market=market, sink="test")
        await _write(producer, registry.REPORTS, partition, "test", event)
        await asyncio.sleep(ALIVE_EVERY_S)


async def _materialise(connection: Connection, producer: AIOKafkaProducer, partition: int) -> None:
    async for record in log.Tail(connection, registry.LEASES.name, partition).records():
        if record.value is None:
            continue
        lease: leases.LeaseChanged = codec.decode(registry.LEASES, record.value)
        report: Event | None = None
        if lease.state == "awarded":
            report = reports.LeaseBound(
                market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch
            )
        elif lease.state == "ending":
            report = reports.LeaseReleased(
                market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch
            )
        if report is not None:
            await _write(producer, registry.REPORTS, partition, lease.lease_id, report)
