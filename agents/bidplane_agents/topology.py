"""Making the registry's topics true on a broker.

Decides what is missing and what differs. Never changes a partition count, never deletes a topic: a
record's partition is part of its meaning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bidplane_agents.connection import REACH_TIMEOUT_S, Connection
from bidplane_agents.errors import BadInput, Unreachable
from bidplane_topics import registry

_ALREADY_EXISTS: Final = 36
_READY_RETRY_S: Final = 0.1
REPLICAS_WANTED: Final = 3


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that exists but is not as the registry says."""

    topic: str
    what: str
    wanted: str
    found: str


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: topics made, topics left alone, and differences that were not touched."""

    created: tuple[str, ...]
    kept: int
    drift: tuple[Drift, ...]

    def breaking(self) -> tuple[Drift, ...]:
        """Differences with which no lane may run."""
        return tuple(drift for drift in self.drift if drift.what == "partitions")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the broker has it."""

    partitions: int
    config: dict[str, str]


async def apply(
    connection: Connection, partitions: registry.Partitions, more: Iterable[registry.Topic] = ()
) -> Applied:
    """Create what is missing, compare the rest, and wait until all of it has leaders.

    Raises:
        Unreachable: Kafka does not answer.
        BadInput: the broker refuses to create a topic.
    """
    wanted = (*registry.all_topics(), *more)
    async with connection.administered() as admin:
        with connection.reaching():
            found = await observed(admin, [topic.name for topic in wanted])
            missing = [topic for topic in wanted if topic.name not in found]
            await _create(admin, missing, partitions)
            await _led(admin, [topic.name for topic in wanted])
    return Applied(
        created=tuple(topic.name for topic in missing),
        kept=len(found),
        drift=tuple(drift(wanted, found, partitions)),
    )


def drift(
    wanted: Iterable[registry.Topic], found: dict[str, Found], partitions: registry.Partitions
) -> Iterable[Drift]:
    """Where the topics that exist differ from the registry."""
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            continue
        pairs = [("partitions", str(partitions.of(topic)), str(there.partitions))]
        pairs += [(key, want, there.config.get(key, "")) for key, want in topic.config().items()]
        for what, want, has in pairs:
            if want != has:
                yield Drift(topic=topic.name, what=what, wanted=want, found=has)


async def partition_count(connection: Connection, topic: registry.Topic) -> int:
    """How many partitions ``topic`` has on the broker.

    Raises:
        Unreachable: Kafka does not answer.
        BadInput: the topic does not exist.
    """
    async with connection.administered() as admin:
        with connection.reaching():
            described = await _describe(admin, [topic.name])
    count = len(described.get(topic.name, ()))
    if count == 0:
        raise BadInput(
            f"Kafka at {connection.bootstrap} has no {topic.name}: run `bidplane topics apply`"
        )
    return count


async def observed(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Found]:
    """Those of ``names`` that exist."""
    described = await _describe(admin, names)
    configs = await _configs(admin, sorted(described))
    return {
        name: Found(partitions=len(leaders), config=configs.get(name, {}))
        for name, leaders in described.items()
    }


async def _describe(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, list[int]]:
    """Each partition's leader, -1 for none. Lists first: asking for a topic by name may make it."""
    async with asyncio.timeout(REACH_TIMEOUT_S):
        there = set(await admin.list_topics())
        wanted = [name for name in names if name in there]
        described: list[dict[str, Any]] = await admin.describe_topics(wanted) if wanted else []
    return {row["topic"]: [part["leader"] for part in row["partitions"]] for row in described}


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    async with asyncio.timeout(REACH_TIMEOUT_S):
        answers = await admin.describe_configs(asked)
    configs: dict[str, dict[str, str]] = {}
    for answer in answers:
        for _, _, _, name, entries in answer.resources:
            configs[name] = {entry[0]: entry[1] or "" for entry in entries}
    return configs


async def _create(
    admin: AIOKafkaAdminClient, missing: list[registry.Topic], partitions: registry.Partitions
) -> None:
    if not missing:
        return
    brokers = (await admin.describe_cluster())["brokers"]
    replicas = min(REPLICAS_WANTED, len(brokers))
    new = [
        NewTopic(topic.name, partitions.of(topic), replicas, topic_configs=topic.config())
        for topic in missing
    ]
    answer = await admin.create_topics(new, timeout_ms=int(REACH_TIMEOUT_S * 1000))
    for name, code, *message in answer.topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            raise BadInput(f"Kafka refuses to create {name}: {message[0] if message else code}")


async def _led(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """Wait for leaders, so that whoever writes next meets no unknown partition."""
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            while not await _all_led(admin, names):
                await asyncio.sleep(_READY_RETRY_S)
    except TimeoutError as error:
        raise Unreachable("some topics have had no leader for 10 s: look at the brokers") from error


async def _all_led(admin: AIOKafkaAdminClient, names: list[str]) -> bool:
    described = await _describe(admin, names)
    return len(described) == len(names) and all(min(leaders) >= 0 for leaders in described.values())
