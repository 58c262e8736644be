"""What an operator does by writing records: organisations, tenants, agents, money, markets.

Decides partitions (a tenant's and a market's are named once and never change) and refuses what
contradicts the log. Refuses to hold an agent's secret: a fresh key goes to its profile file only.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import secrets
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer

from bidplane_agents import budgets, errors, log, market_rules, placing, profiles, topology
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_topics import agents, codec, envelope, ids, markets, outcomes, registry


class Directory(msgspec.Struct, frozen=True):
    """Who is registered: partitions by tenant and by organisation, agents by TENANT/NAME.

    ``members`` names the organisation of each tenant that has one.
    """

    tenants: dict[str, int]
    agents: dict[str, agents.AgentRegistered]
    organisations: dict[str, int] = msgspec.field(default_factory=dict)
    members: dict[str, str] = msgspec.field(default_factory=dict)

    def partition_of(self, account: str) -> int:
        """Where ``org:NAME``, TENANT or TENANT/NAME has its account.

        Raises:
            BadInput: nobody of that name is registered.
        """
        tenant, _, agent = account.partition("/")
        organisation = budgets.organisation_in(account)
        if organisation in self.organisations:
            return self.organisations[organisation]
        if tenant not in self.tenants or (agent and account not in self.agents):
            listed = "bidplane org list" if organisation else "bidplane agent list"
            near = errors.meant(account, self._accounts())
            raise BadInput(f"{account} is not registered: {near}see `{listed}`")
        return self.tenants[tenant]

    def _accounts(self) -> list[str]:
        return [*map(ids.organisation_id, self.organisations), *self.tenants, *self.agents]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as registered; ``profile`` holds its new secret key, if one was made."""

    agent: str
    partition: int
    key_ids: tuple[str, ...]
    cluster: bool
    profile: profiles.Profile | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as written: its id, and where its record stands on the accounts topic."""

    grant_id: str
    partition: int
    offset: int


class Operator:
    """An operator's connection, as an async context manager."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._producer: AIOKafkaProducer | None = None
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            Unreachable: Kafka does not answer.
        """
        opened = self.connection.opened(self.connection.producer())
        self._producer = await self._closing.enter_async_context(opened)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        self._producer = None
        await self._closing.aclose()

    async def _write(
        self, topic: registry.Topic, partition: int, key: str, event: msgspec.Struct
    ) -> int:
        """Write a record; its offset."""
        assert self._producer is not None, "use the operator inside `async with`"
        value = codec.encode(event)
        codec.decode(topic, value)  # refuse here what nobody could read there
        with self.connection.reaching():
            done = await self._producer.send_and_wait(topic.name, value, key.encode(), partition)
        return int(done.offset)

    # -- agents --------------------------------------------------------------------------------

    async def directory(self) -> Directory:
        """Everyone who is registered, from the whole topic."""
        known = Directory({}, {})
        async for _, event in log.events(self.connection, registry.AGENTS):
            if isinstance(event, agents.OrganisationRegistered):
                known.organisations.setdefault(event.organisation, event.partition)
            elif isinstance(event, agents.TenantRegistered):
                known.tenants.setdefault(event.tenant, event.partition)
                if event.organisation:
                    known.members.setdefault(event.tenant, event.organisation)
            else:
                known.agents[ids.agent_id(event.tenant, event.agent)] = event
        return known

    async def register_organisation(
        self, organisation: str, directory: Directory | None = None
    ) -> int:
        """The organisation's partition; the least used one for a new organisation."""
        ids.check_name("organisation", organisation)
        known = (directory or await self.directory()).organisations
        if organisation in known:
            return known[organisation]
        count = await topology.partition_count(self.connection, registry.AGENTS)
        partition = least_used(known.values(), count)
        event = agents.OrganisationRegistered(organisation=organisation, partition=partition)
        name = ids.organisation_id(organisation)
        await self._write(registry.AGENTS, partition, name, event)
        return partition

    async def register_tenant(
        self, tenant: str, known: Directory | None = None, organisation: str = ""
    ) -> int:
        """The tenant's partition; the least used one for a new tenant.

        Raises:
            BadInput: the organisation is not registered, or not the one the tenant has.
        """
        ids.check_name("tenant", tenant)
        known = known or await self.directory()
        if organisation and organisation not in known.organisations:
            raise BadInput(
                f"organisation {organisation} is not registered: "
                f"{errors.meant(organisation, known.organisations)}`bidplane org register` does it"
            )
        if tenant in known.tenants:
            before = known.members.get(tenant, "")
            if organisation and before != organisation:
                raise BadInput(
                    f"tenant {tenant} was registered with organisation {before or 'none'}, and "
                    "that never changes: use another name"
                )
            return known.tenants[tenant]
        count = await topology.partition_count(self.connection, registry.AGENTS)
        partition = least_used(known.tenants.values(), count)
        event = agents.TenantRegistered(
            tenant=tenant, partition=partition, organisation=organisation
        )
        await self._write(registry.AGENTS, partition, tenant, event)
        known.tenants[tenant] = partition
        if organisation:
            known.members[tenant] = organisation
        return partition

    async def register_agent(
        self, agent_id: str, *, public_key: str = "", keep_key: profiles.Profile | None = None,
        new_key: bool = False, cluster: bool | None = None,
    ) -> Registered:  # fmt: skip
        """Register an agent, or change it: keys are only ever added, ``cluster`` None keeps it.

        A fresh key is made unless ``public_key`` (base64) or the profile that it has is given.

        Raises:
            BadInput: the agent exists and no key for it is given.
        """
        tenant, name = ids.split_agent(agent_id)
        known = await self.directory()
        before = known.agents.get(agent_id)
        made, public = _key(agent_id, before, public_key, keep_key, new_key=new_key)
        partition = await self.register_tenant(tenant, known)
        event = agents.AgentRegistered(
            tenant=tenant, agent=name, keys=_keys(before, public),
            cluster=cluster if cluster is not None else before is not None and before.cluster,
        )  # fmt: skip
        await self._write(registry.AGENTS, partition, agent_id, event)
        profile = made and profiles.Profile(
            tenant=tenant, agent=name, partition=partition, key=made.to_text()
        )
        return Registered(
            agent=agent_id, partition=partition, cluster=event.cluster, profile=profile or None,
            key_ids=tuple(key.key_id for key in event.keys),
        )  # fmt: skip

    # -- money ---------------------------------------------------------------------------------

    async def grant(
        self, account: str, amount_micros: int, *, grant_id: str = "", source: str = "treasury",
        known: Directory | None = None,
    ) -> Given:  # fmt: skip
        """Give money to ``org:NAME``, TENANT or TENANT/NAME. A repeated id counts once.

        What a tenant of an organisation gets is the organisation's, unless ``source`` is "tenant".

        Raises:
            BadInput: nobody of that name is registered.
        """
        known = known or await self.directory()
        partition = known.partition_of(account)
        organisation, (tenant, _, name) = budgets.organisation_in(account), account.partition("/")
        grant_id = grant_id or f"{account}|{uuid.uuid4().hex}"
        event: msgspec.Struct
        if organisation:
            event = agents.OrganisationFunded(
                grant_id=grant_id, organisation=organisation, amount_micros=amount_micros
            )
        elif tenant in known.members and source == "treasury":
            home = known.members[tenant]
            event = agents.CreditAllotted(
                grant_id=grant_id, organisation=home, tenant=tenant, tenant_partition=partition,
                agent=name, amount_micros=amount_micros,
            )  # fmt: skip
            partition = known.partition_of(ids.organisation_id(home))
        else:
            return await self.grant_known(
                partition, account, amount_micros, grant_id=grant_id, source=source
            )
        offset = await self._write(registry.ACCOUNTS, partition, grant_id, event)
        return Given(grant_id=grant_id, partition=partition, offset=offset)

    async def grant_known(
        self, partition: int, account: str, amount_micros: int, *, grant_id: str = "",
        source: str = "treasury",
    ) -> Given:  # fmt: skip
        """``grant`` for an account of no organisation that is known to live on ``partition``."""
        tenant, _, name = account.partition("/")
        grant_id = grant_id or f"{account}|{uuid.uuid4().hex}"
        event = agents.CreditGranted(
            grant_id=grant_id, tenant=tenant, agent=name, amount_micros=amount_micros,
            source="tenant" if source == "tenant" else "treasury",
        )  # fmt: skip
        offset = await self._write(registry.ACCOUNTS, partition, grant_id, event)
        return Given(grant_id=grant_id, partition=partition, offset=offset)

    async def set_budget(
        self, account: str, plan: budgets.Plan, *, known: Directory | None = None
    ) -> None:
        """From now on every whole period decays and refills the account as ``plan`` says.

        An agent of a tenant that belongs to an organisation is refilled from its tenant.

        Raises:
            BadInput: nobody of that name is registered, or only its organisation may pay it.
        """
        known = known or await self.directory()
        partition = known.partition_of(account)
        organisation, (tenant, _, name) = budgets.organisation_in(account), account.partition("/")
        member = not organisation and tenant in known.members
        if member and not name and plan.amount_micros:
            raise BadInput(
                f"tenant {tenant} belongs to organisation {known.members[tenant]}, which refills "
                f"nobody by the clock: refill org:{known.members[tenant]}, and grant"
            )
        event = agents.BudgetSet(
            organisation=organisation, tenant="" if organisation else tenant, agent=name,
            amount_micros=plan.amount_micros, period_ms=plan.period_ms,
            decay_permille=plan.decay_permille, source="tenant" if member and name else "treasury",
        )  # fmt: skip
        await self._write(registry.ACCOUNTS, partition, account, event)

    # -- markets -------------------------------------------------------------------------------

    async def declared_markets(self) -> dict[str, markets.MarketDeclared]:
        """The markets that are declared now."""
        known: dict[str, markets.MarketDeclared] = {}
        async for _, event in log.events(self.connection, registry.MARKETS):
            if isinstance(event, markets.MarketDeclared):
                known[event.market] = event
            elif isinstance(event, markets.MarketRemoved):
                known.pop(event.market, None)
        return known

    async def create_market(
        self, rules: dict[str, Any], *, if_missing: bool = False,
        known: Mapping[str, markets.MarketDeclared] | None = None,
    ) -> markets.MarketDeclared:  # fmt: skip
        """Declare a market; ``rules`` are MarketDeclared's fields without the partition.

        With ``if_missing`` a market that is declared is left as it is. ``known`` are the declared
        ones, where the caller has read them.

        Raises:
            BadInput: it exists, a rule cannot be used, or every partition has or had a market.
        """
        name = ids.check_name("market", str(rules.get("market", "")))
        if known is None:
            known = await self.declared_markets()
        if declared := known.get(name):
            if if_missing:
                return declared
            raise BadInput(f"market {name} exists already: see `bidplane market list`")
        count = await topology.partition_count(self.connection, registry.ORDERS)
        partition = market_rules.home(name, await market_rules.homes(self.connection), count)
        raw = {"type": "market_declared", "partition": partition, **rules}
        try:
            event: markets.MarketDeclared = msgspec.convert(raw, markets.MarketDeclared)
        except msgspec.ValidationError as error:
            raise BadInput(f"market {name}: {placing.plainly(error)}") from error
        await self._write(registry.MARKETS, 0, name, event)
        return event

    async def remove_market(self, name: str) -> None:
        """No more orders: those in the book are refused, leases run to their end.

        Raises:
            BadInput: there is no such market.
        """
        declared = await self.declared_markets()
        if name not in declared:
            raise errors.no_market(name, declared)
        await self._write(registry.MARKETS, 0, name, markets.MarketRemoved(market=name))

    async def assign_node(self, node: str, market: str) -> int:
        """Have a node sold in this market alone; the record's offset. ``moving`` checks names."""
        event = markets.NodeAssigned(node=node, market=market)
        return await self._write(registry.MARKETS, 0, f"node/{node}", event)


async def first_outcome(
    tail: log.Tail, agent_id: str, kind: str, timeout_s: float
) -> outcomes.OutcomeReported:
    """The next outcome of ``kind`` for ``agent_id`` on ``tail``, a tail of the outcomes topic.

    Raises:
        TimeoutError: none came.
    """
    async with asyncio.timeout(timeout_s), contextlib.aclosing(tail.records()) as records:
        async for record in records:
            outcome: outcomes.OutcomeReported = codec.decode(registry.OUTCOMES, record.value)
            if outcome.kind == kind and ids.agent_id(outcome.tenant, outcome.agent) == agent_id:
                return outcome
    raise AssertionError("a tail has no end")


def least_used(taken: Iterable[int], count: int) -> int:
    """The partition with the fewest tenants, the lowest of equals."""
    used = Counter(taken)
    return min(range(count), key=lambda partition: (used[partition], partition))


def _key(
    agent_id: str, before: agents.AgentRegistered | None, public_key: str,
    keep: profiles.Profile | None, *, new_key: bool,
) -> tuple[envelope.SigningKey | None, str]:  # fmt: skip
    """The new secret key, if one is made, and the public key that will be registered."""
    if public_key:
        return None, _checked_public(public_key)
    if keep is not None and not new_key:
        return None, keep.signing_key().public_text()
    if before is not None and not new_key:
        raise BadInput(
            f"{agent_id} is registered, but its profile is not on this machine: add a key with "
            "--new-key or --public-key"
        )
    made = envelope.SigningKey(secrets.token_bytes(32))
    return made, made.public_text()


def _checked_public(text: str) -> str:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise BadInput("the public key is no Ed25519 key: expected 32 bytes in base64")
    return text.strip()


def _keys(before: agents.AgentRegistered | None, public: str) -> tuple[agents.AgentKey, ...]:
    known = () if before is None else before.keys
    key_id = ids.key_id(base64.b64decode(public))
    if any(key.key_id == key_id for key in known):
        return known
    return (*known, agents.AgentKey(key_id=key_id, public_key=public))
