"""One row per topic: the only home of topic names, keys, partitions, retention and rights.

Adding a topic is one struct and one row here. Partition counts never change once a topic exists.
"""

from __future__ import annotations

import functools
from typing import Final, Literal

import msgspec

from bidplane_topics import (
    agents,
    bids,
    leases,
    ledger,
    markets,
    orders,
    outcomes,
    reports,
    rounds,
    supply,
    telemetry,
    transit,
)
from bidplane_topics.errors import UnknownTopic

PREFIX: Final = "bidplane"
DAY_MS: Final = 86_400_000
FOREVER: Final = -1

PartitionedBy = Literal["one", "tenant", "market", "agent", "lease"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A row. ``retention_ms`` -1 keeps for ever; ``compacted`` keeps every key's last record.

    ``batch_bytes_max`` bounds what strangers may send at once; 0 leaves it to the broker.
    """

    name: str
    key: str
    partitioned_by: PartitionedBy
    events: tuple[type[msgspec.Struct], ...]
    writers: str
    readers: str
    retention_ms: int
    compacted: bool = False
    batch_bytes_max: int = 0
    doc: str

    def config(self) -> dict[str, str]:
        """The broker's settings: records carry the broker's append time, which judges expiry."""
        policy = "compact" if self.compacted else "delete"
        settings = {"cleanup.policy": policy, "message.timestamp.type": "LogAppendTime"}
        if self.batch_bytes_max:
            settings["max.message.bytes"] = str(self.batch_bytes_max)
        if not self.compacted:
            settings["retention.ms"] = str(self.retention_ms)
        return settings


def _name(word: str) -> str:
    return f"{PREFIX}.{word}.v1"


MARKETS: Final = Topic(
    name=_name("markets"), key="market, or node/NODE", partitioned_by="one",
    events=(markets.MarketDeclared, markets.MarketRemoved, markets.NodeAssigned),
    writers="operator", readers="both lanes, inventory sources", retention_ms=FOREVER,
    compacted=True,
    doc="Markets, their partitions and rules; nodes that were assigned to one.",
)  # fmt: skip
AGENTS: Final = Topic(
    name=_name("agents"), key="org:organisation, tenant or tenant/agent", partitioned_by="tenant",
    events=(agents.TenantRegistered, agents.AgentRegistered, agents.OrganisationRegistered),
    writers="operator", readers="accounts lane, clusters sink", retention_ms=FOREVER,
    compacted=True,
    doc="Organisations and tenants with their partitions; agents with their keys.",
)  # fmt: skip
ACCOUNTS: Final = Topic(
    name=_name("accounts"), key="grant id or the account's id", partitioned_by="tenant",
    events=(
        agents.CreditGranted, agents.RefillSet, agents.BudgetSet, agents.OrganisationFunded,
        agents.CreditAllotted,
    ),
    writers="operator", readers="accounts lane", retention_ms=FOREVER,
    doc="Money given, refills and decay set.",
)  # fmt: skip
TRANSIT: Final = Topic(
    name=_name("transit"), key="transfer id", partitioned_by="tenant",
    events=(transit.CreditSent, transit.CreditReturned),
    writers="accounts lane", readers="accounts lane, auditors", retention_ms=FOREVER,
    doc="Credit on its way from an organisation to a tenant, and what comes back.",
)  # fmt: skip
BIDS: Final = Topic(
    name=_name("bids"), key="tenant/agent", partitioned_by="tenant",
    events=(bids.Envelope,), batch_bytes_max=256 * 1024,
    writers="agents (write only)", readers="accounts lane alone", retention_ms=7 * DAY_MS,
    doc="Signed commands: place, cancel, release, offer, accept.",
)  # fmt: skip
ORDERS: Final = Topic(
    name=_name("orders"), key="bid id or lease id", partitioned_by="market",
    events=(
        orders.OrderPlaced, orders.CancelRequested, orders.ReleaseRequested, orders.OfferMade,
        orders.OfferAccepted,
    ),
    writers="accounts lane", readers="markets lane, auditors", retention_ms=180 * DAY_MS,
    doc="Bids after admission, with money held for them.",
)  # fmt: skip
SUPPLY: Final = Topic(
    name=_name("supply"), key="node", partitioned_by="market",
    events=(supply.NodeOffered, supply.NodeWithdrawn),
    writers="inventory source", readers="markets lane, auditors", retention_ms=180 * DAY_MS,
    doc="Devices that may be sold.",
)  # fmt: skip
REPORTS: Final = Topic(
    name=_name("reports"), key="lease id, node or sink", partitioned_by="market",
    events=(
        reports.SinkAlive, reports.LeaseBound, reports.LeaseFailed, reports.LeaseReleased,
        reports.NodeLost,
    ),
    writers="sinks", readers="markets lane, auditors", retention_ms=180 * DAY_MS,
    doc="What became of leases in the host cluster.",
)  # fmt: skip
ROUNDS: Final = Topic(
    name=_name("rounds"), key="market", partitioned_by="market",
    events=(rounds.RoundClosed,),
    writers="markets lane", readers="anyone", retention_ms=180 * DAY_MS,
    doc="Prices and volumes of every clearing; never another's bid.",
)  # fmt: skip
LEASES: Final = Topic(
    name=_name("leases"), key="lease id", partitioned_by="market",
    events=(leases.LeaseChanged,),
    writers="markets lane", readers="sinks, console, operators", retention_ms=FOREVER,
    compacted=True,
    doc="Every lease's whole state.",
)  # fmt: skip
SETTLEMENTS: Final = Topic(
    name=_name("settlements"), key="bid id", partitioned_by="tenant",
    events=(ledger.Settled,),
    writers="markets lane", readers="accounts lane, auditors", retention_ms=180 * DAY_MS,
    doc="What becomes of the money held for an order.",
)  # fmt: skip
LEDGER: Final = Topic(
    name=_name("ledger"), key="account", partitioned_by="tenant",
    events=(ledger.LedgerPosted,),
    writers="accounts lane", readers="FinOps, auditors", retention_ms=FOREVER,
    doc="Every movement of money, double entry.",
)  # fmt: skip
OUTCOMES: Final = Topic(
    name=_name("outcomes"), key="tenant/agent", partitioned_by="tenant",
    events=(outcomes.OutcomeReported,),
    writers="both lanes", readers="router, auditors", retention_ms=28 * DAY_MS,
    doc="What agents are told.",
)  # fmt: skip
TELEMETRY: Final = Topic(
    name=_name("telemetry"), key="tenant/agent", partitioned_by="agent",
    events=(telemetry.DeviceSampled,),
    writers="agents, exporters", readers="usage processor", retention_ms=3 * DAY_MS,
    doc="How busy leased devices are.",
)  # fmt: skip
USAGE: Final = Topic(
    name=_name("usage"), key="lease id", partitioned_by="lease",
    events=(telemetry.UsageMeasured,),
    writers="usage processor", readers="chargeback, idle detection", retention_ms=180 * DAY_MS,
    doc="Telemetry per lease and minute.",
)  # fmt: skip

TOPICS: Final[tuple[Topic, ...]] = (
    MARKETS, AGENTS, ACCOUNTS, TRANSIT, BIDS, ORDERS, SUPPLY, REPORTS, ROUNDS, LEASES, SETTLEMENTS,
    LEDGER, OUTCOMES, TELEMETRY, USAGE,
)  # fmt: skip

# State of the lanes: rows of their own, opaque to others.
ACCOUNTS_CHANGELOG: Final = Topic(
    name=_name("accounts-changelog"), key="row", partitioned_by="tenant", events=(),
    writers="accounts lane", readers="the same lane", retention_ms=FOREVER, compacted=True,
    doc="The accounts lane's state.",
)  # fmt: skip
MARKETS_CHANGELOG: Final = Topic(
    name=_name("markets-changelog"), key="row", partitioned_by="market", events=(),
    writers="markets lane", readers="the same lane", retention_ms=FOREVER, compacted=True,
    doc="The markets lane's state.",
)  # fmt: skip
CHANGELOGS: Final = (ACCOUNTS_CHANGELOG, MARKETS_CHANGELOG)

# Whoever cannot decode or verify a record of these writes it to NAME.dlq, same partition.
DEAD_LETTERED: Final[tuple[Topic, ...]] = (
    MARKETS, AGENTS, ACCOUNTS, TRANSIT, BIDS, ORDERS, SUPPLY, REPORTS, SETTLEMENTS, TELEMETRY,
)  # fmt: skip

ALLOCATIONS_RETENTION_MS: Final = 28 * DAY_MS


def dead_letters(topic: Topic) -> Topic:
    """The dead letters of ``topic``: original bytes; headers bidplane-reason, -detail, -origin."""
    return Topic(
        name=f"{topic.name}.dlq", key="as source", partitioned_by=topic.partitioned_by, events=(),
        writers="whoever could not read it", readers="operator", retention_ms=28 * DAY_MS,
        doc=f"Records of {topic.name} that could not be verified or decoded.",
    )  # fmt: skip


def allocations(tenant: str) -> Topic:
    """The topic that the agents of one tenant read: one partition, made when first needed."""
    return Topic(
        name=_name(f"allocations.{tenant}"), key="tenant/agent", partitioned_by="one",
        events=(outcomes.OutcomeReported,), writers="router (may repeat: ids are content)",
        readers="that tenant's agents", retention_ms=ALLOCATIONS_RETENTION_MS,
        doc=f"What the agents of {tenant} are told.",
    )  # fmt: skip


@functools.cache
def all_topics() -> tuple[Topic, ...]:
    """Every topic that must exist before a worker starts."""
    return TOPICS + CHANGELOGS + tuple(dead_letters(topic) for topic in DEAD_LETTERED)


@functools.cache
def _standing() -> dict[str, Topic]:
    """Those topics by name: a search for every record took a tenth of a worker's time."""
    return {topic.name: topic for topic in all_topics()}


def by_name(name: str) -> Topic:
    """The row of a topic's full name.

    Raises:
        UnknownTopic: there is none.
    """
    found = _standing().get(name)
    if found is not None:
        return found
    head, tail = _name("allocations.").removesuffix(".v1"), ".v1"
    if name.startswith(head) and name.endswith(tail):
        return allocations(name.removeprefix(head).removesuffix(tail))
    raise UnknownTopic(f"{name!r} is no topic of bidplane: see topics/README.md")


class Partitions(msgspec.Struct, frozen=True, kw_only=True):
    """How many partitions each kind of topic gets. Fixed for the life of an installation."""

    tenant: int = 4
    market: int = 4
    agent: int = 4
    lease: int = 4

    def of(self, topic: Topic) -> int:
        """The partition count of ``topic``."""
        kind = topic.partitioned_by
        return 1 if kind == "one" else int(getattr(self, kind))
