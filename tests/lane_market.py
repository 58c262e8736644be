"""A market on a real Kafka: topics from the registry, one market, tenants with keys, nodes, bids.

Writes by confluent-kafka what operators, sinks and agents would write.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import patience
from bidplane_topics import (
    agents,
    bids,
    codec,
    envelope,
    ids,
    markets,
    registry,
    reports,
    supply,
)
from bidplane_topics.outcomes import OutcomeReported
from lane_world import Seen, read_all

MARKET = "pool-a"
WINDOW_MS = 500
FAR_MS = 2_000_000_000_000


def create_topics(bootstrap: str) -> None:
    """Everything that must exist before a worker starts."""
    partitions = registry.Partitions()
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = [
        NewTopic(topic.name, partitions.of(topic), 1, config=topic.config())
        for topic in registry.all_topics()
    ]
    for future in admin.create_topics(new).values():
        future.result(30)


class World:
    """Who writes what a worker reads."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.keys: dict[str, envelope.SigningKey] = {}
        self.partitions: dict[str, int] = {}
        self.sequence = 0
        options = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1}
        self.producer = Producer(options)

    def write(self, topic: registry.Topic, partition: int, key: str, event: Any) -> None:
        """One event."""
        value = event if isinstance(event, bytes) else codec.encode(event)
        self.producer.produce(topic.name, value, key.encode(), partition)

    def flush(self) -> None:
        """Everything is acknowledged."""
        assert self.producer.flush(60) == 0

    def declare(self, nodes: int = 4, **rules: Any) -> None:
        """The market on partition 0, and its nodes of eight devices."""
        usual: dict[str, Any] = {"window_ms": WINDOW_MS, "reserve_micros": 1}
        declared = markets.MarketDeclared(market=MARKET, partition=0, **(usual | rules))
        self.write(registry.MARKETS, 0, MARKET, declared)
        for number in range(nodes):
            name = f"node-{number}"
            self.write(registry.SUPPLY, 0, name, _node(name, held=declared.standing))
        self.alive()

    def alive(self) -> None:
        """The sink works."""
        self.write(registry.REPORTS, 0, "sink", reports.SinkAlive(market=MARKET, sink="test"))
        self.flush()

    def register(self, tenant: str, agent: str, partition: int, micros: int) -> None:
        """A tenant, its agent with a key, and money."""
        key = envelope.SigningKey(bytes.fromhex(ids.digest(tenant, agent)))
        name = ids.agent_id(tenant, agent)
        self.keys[name], self.partitions[name] = key, partition
        known = agents.AgentKey(key_id=key.key_id, public_key=key.public_text())
        home = agents.TenantRegistered(tenant=tenant, partition=partition)
        self.write(registry.AGENTS, partition, tenant, home)
        event = agents.AgentRegistered(tenant=tenant, agent=agent, keys=(known,))
        self.write(registry.AGENTS, partition, name, event)
        grant = agents.CreditGranted(
            grant_id=f"g-{name}", tenant=tenant, agent=agent, amount_micros=micros
        )
        self.write(registry.ACCOUNTS, partition, grant.grant_id, grant)
        self.flush()

    def bid(
        self,
        name: str,
        value_micros: int,
        shape: bids.Shape = "1",
        count: int = 1,
        duration_ms: int = 2000,
    ) -> list[str]:
        """One signed record with ``count`` bids; their ids."""
        alternative = bids.Alternative(shape=shape, duration_ms=duration_ms)
        place = bids.Place(market=MARKET, value_micros=value_micros, alternatives=(alternative,))
        self.sequence += 1
        tenant, agent = name.split("/")
        sealed = bids.Envelope(
            v=1, tenant=tenant, agent=agent, sequence=self.sequence, expires_at_ms=FAR_MS,
            commands=(bids.Command(place=place),) * count,
        )  # fmt: skip
        key = self.keys[name]
        value, headers = envelope.seal(sealed, key)
        self.raw_bid(name, value, headers)
        return [ids.bid_id(tenant, agent, key.key_id, self.sequence, n) for n in range(count)]

    def raw_bid(self, name: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """A record on the bids topic, however wrong."""
        partition = self.partitions[name]
        self.producer.produce(registry.BIDS.name, value, name.encode(), partition, headers=headers)
        self.producer.poll(0)

    def seen(self, topic: registry.Topic) -> Iterator[tuple[Seen, Any]]:
        """Every committed record of a topic, decoded."""
        for seen in read_all(self.bootstrap, topic.name):
            yield seen, codec.decode(topic, seen.value)

    def outcomes(self) -> list[OutcomeReported]:
        """Every outcome so far."""
        return [event for _, event in self.seen(registry.OUTCOMES)]

    def until(
        self, wanted: int, *kinds: str, agent: str = "", timeout_s: float = 30
    ) -> list[OutcomeReported]:
        """Wait for so many outcomes of these kinds, of one agent or of any."""
        until_s = patience.deadline(timeout_s)
        while True:
            found = [
                outcome
                for outcome in self.outcomes()
                if outcome.kind in kinds and agent in {"", outcome.agent}
            ]
            if len(found) >= wanted:
                return found
            assert time.monotonic() < until_s, f"{len(found)} of {wanted} outcomes {kinds}"
            self.alive()
            time.sleep(0.2)


def _node(name: str, *, held: bool) -> supply.NodeOffered:
    devices = tuple(
        supply.Device(
            name=f"gpu-{number}", driver="gpu.nvidia.com", pool=name, uuid=f"GPU-{name}-{number}",
            device_class="gpu.nvidia.com", attributes={"productName": "H100"},
        )
        for number in range(8)
    )  # fmt: skip
    return supply.NodeOffered(
        market=MARKET, node=name, devices=devices, cpu_millis=128_000, memory_mib=1_048_576,
        ephemeral_mib=1_048_576, held=held,
    )  # fmt: skip


def plain(event: Any) -> Any:
    """An event as plain values, for messages."""
    return msgspec.to_builtins(event)
