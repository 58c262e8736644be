"""What a Kafka holds of bidplane, looked at without changing it.

Decides what is missing, what differs and what may be read. Refuses to judge: `up --dry-run` and
`doctor` do.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from bidplane_agents import log, topology
from bidplane_agents.connection import Connection
from bidplane_topics import markets, registry

_EXISTS: Final = 36
_CHECK_TIMEOUT_MS: Final = 10_000


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Topics that are there and missing, what differs, the markets; ``refused`` are Kafka's words.

    ``partitions`` are the counts that this Kafka was set up with: its own topics' where there are
    any, so that an installation with other counts is not called different.
    """

    partitions: registry.Partitions
    brokers: int
    there: tuple[str, ...]
    missing: tuple[str, ...]
    drift: tuple[topology.Drift, ...]
    markets: dict[str, markets.MarketDeclared]
    refused: tuple[str, ...]


async def survey(connection: Connection) -> Survey:
    """Look at everything; nothing is made, not even the offsets of a group.

    Raises:
        Unreachable: Kafka does not answer.
    """
    wanted = registry.all_topics()
    async with connection.administered() as admin:
        with connection.reaching():
            found = await topology.observed(admin, [topic.name for topic in wanted])
            known = installed(found)
            missing = [topic for topic in wanted if topic.name not in found]
            refused = await _refusals(admin, missing, known)
            brokers = len((await admin.describe_cluster())["brokers"])
    return Survey(
        partitions=known, brokers=brokers, there=tuple(found),
        missing=tuple(topic.name for topic in missing),
        drift=tuple(topology.drift(wanted, found, known)),
        markets=await declared(connection) if registry.MARKETS.name in found else {},
        refused=tuple(refused),
    )  # fmt: skip


async def counts(connection: Connection) -> registry.Partitions:
    """How many partitions this Kafka's topics of each kind have; the default where it has none.

    Raises:
        Unreachable: Kafka does not answer.
    """
    names = [topic.name for topic in registry.all_topics()]
    async with connection.administered() as admin:
        with connection.reaching():
            return installed(await topology.observed(admin, names))


def installed(found: dict[str, topology.Found]) -> registry.Partitions:
    """The counts that most topics of each kind have here; the default where there are none."""
    most: dict[str, int] = {}
    for kind in ("tenant", "market", "agent", "lease"):
        seen = Counter(
            found[topic.name].partitions
            for topic in registry.all_topics()
            if topic.partitioned_by == kind and topic.name in found
        )
        if seen:
            ((most[kind], _),) = seen.most_common(1)
    return registry.Partitions(**most)


async def declared(connection: Connection) -> dict[str, markets.MarketDeclared]:
    """The markets that are declared now.

    Raises:
        Unreachable: Kafka does not answer.
    """
    known: dict[str, markets.MarketDeclared] = {}
    async for _, event in log.events(connection, registry.MARKETS):
        if isinstance(event, markets.MarketDeclared):
            known[event.market] = event
        elif isinstance(event, markets.MarketRemoved):
            known.pop(event.market, None)
    return known


async def _refusals(
    admin: AIOKafkaAdminClient, missing: list[registry.Topic], known: registry.Partitions
) -> list[str]:
    """What Kafka would say to making the missing topics: it checks them and makes none."""
    if not missing:
        return []
    brokers = (await admin.describe_cluster())["brokers"]
    replicas = min(topology.REPLICAS_WANTED, len(brokers))
    new = [
        NewTopic(topic.name, known.of(topic), replicas, topic_configs=topic.config())
        for topic in missing
    ]
    answer = await admin.create_topics(new, timeout_ms=_CHECK_TIMEOUT_MS, validate_only=True)
    return [
        f"{name}: {message[0] if message and message[0] else for_code(code).__name__}"
        for name, code, *message in answer.topic_errors
        if code not in (0, _EXISTS)
    ]
