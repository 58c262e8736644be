"""What each process may do at a Kafka broker that asks: the least with which it works.

Decides the access control list of every component; `helm/bidplane/files/acls.json` is made from
here. An agent's names its tenant's topic, so the chart's row stands for all of them by ``TENANT``.
Refuses to know how a broker is told. Reading and writing include Kafka's Describe.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from bidplane_topics import registry
from bidplane_topics.registry import Topic

APP: Final = "bidplane"
ANY_TENANT: Final = "TENANT"

Kind = Literal["topic", "group", "transactionalId", "cluster"]
Pattern = Literal["literal", "prefix"]


class Right(msgspec.Struct, frozen=True):
    """One row: what may be done to all resources of a name, or of names that begin so.

    Words as Strimzi's KafkaUser has them.
    """

    kind: Kind
    name: str
    operations: tuple[str, ...]
    pattern: Pattern = "literal"

    def as_acl(self) -> dict[str, Any]:
        """The row as an element of a KafkaUser's ``spec.authorization.acls``."""
        named = {"name": self.name, "patternType": self.pattern}
        resource = {"type": self.kind, **({} if self.kind == "cluster" else named)}
        return {"resource": resource, "operations": list(self.operations)}


def _dead_letters(*topics: Topic) -> tuple[Topic, ...]:
    return tuple(registry.dead_letters(topic) for topic in topics)


_LANES_READ: Final = (
    registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT, registry.SETTLEMENTS, registry.BIDS,
    registry.MARKETS, registry.ORDERS, registry.SUPPLY, registry.REPORTS, registry.OUTCOMES,
    registry.TELEMETRY, *registry.CHANGELOGS,
)  # fmt: skip
# What the web views of a worker show.
_VIEWS_READ: Final = (
    registry.ROUNDS, registry.LEASES, registry.USAGE, *_dead_letters(*registry.DEAD_LETTERED),
)  # fmt: skip
_LANES_WRITE: Final = (
    registry.ORDERS, registry.LEDGER, registry.OUTCOMES, registry.TRANSIT, registry.ROUNDS,
    registry.LEASES, registry.SETTLEMENTS, registry.USAGE, *registry.CHANGELOGS,
    *_dead_letters(*registry.DEAD_LETTERED),
)  # fmt: skip
_AUDITED: Final = (*registry.TOPICS, *_dead_letters(*registry.DEAD_LETTERED))
_SOLD_TO_ALL: Final = (registry.MARKETS, registry.ROUNDS)


def _on(operation: str, *topics: Topic) -> tuple[Right, ...]:
    return tuple(Right("topic", topic.name, (operation,)) for topic in topics)


def worker(app: str = APP) -> tuple[Right, ...]:
    """Lanes, router and usage processor; ``app`` is BIDPLANE_APP_ID.

    It makes a tenant's topic when that is first needed, and Faust the changelog of its table.
    """
    made = registry.allocations(ANY_TENANT).name.partition(ANY_TENANT)[0]
    return (
        *_on("Read", *_LANES_READ, *_VIEWS_READ),
        *_on("Write", *_LANES_WRITE),
        Right("topic", made, ("Create", "Write"), "prefix"),
        Right("topic", f"{app}-", ("Create", "Read", "Write"), "prefix"),
        Right("group", app, ("Read",), "prefix"),
        Right("transactionalId", f"{app}-", ("Describe", "Write"), "prefix"),
    )


def agent(tenant: str = ANY_TENANT) -> tuple[Right, ...]:
    """The agents of one tenant: bid, send telemetry, read what they are told and the prices."""
    return (
        *_on("Write", registry.BIDS, registry.TELEMETRY),
        *_on("Read", registry.allocations(tenant), *_SOLD_TO_ALL),
    )


def operator() -> tuple[Right, ...]:
    """The command line of an operator, the topics job and `bidplane doctor`.

    It reads everything that is kept: what became of money, what was said of a node.
    """
    return (
        *_on("Read", *_AUDITED),
        *_on("Write", registry.MARKETS, registry.AGENTS, registry.ACCOUNTS),
        Right("topic", f"{registry.PREFIX}.", ("Create", "Describe", "DescribeConfigs"), "prefix"),
        Right("group", APP, ("Describe",), "prefix"),
    )


# Every component by the name that charts and logs know it by; agents have rights of their own.
COMPONENTS: Final[dict[str, tuple[Right, ...]]] = {
    "worker": worker(),
    "sink-claims": (
        *_on("Read", registry.LEASES, registry.MARKETS, registry.SUPPLY, registry.ROUNDS),
        *_on("Write", registry.REPORTS),
    ),
    "sink-clusters": _on("Read", registry.AGENTS),
    "sink-nodes": _on("Read", registry.LEASES, registry.AGENTS),
    "source-inventory": (
        *_on("Read", registry.MARKETS, registry.SUPPLY, registry.ROUNDS, registry.LEASES),
        *_on("Write", registry.SUPPLY),
    ),
    "operator": operator(),
    "auditor": _on("Read", *_AUDITED),
    "agent": agent(),
}


def exported() -> dict[str, list[dict[str, Any]]]:
    """All components' rows in Strimzi's form, for the chart."""
    return {name: [right.as_acl() for right in rights] for name, rights in COMPONENTS.items()}
