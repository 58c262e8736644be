"""The ledger, entry by entry: its balances, and what each cause should have moved.

Decides every balance at every offset, in ledger order. Refuses to know devices and prices: a
settlement's charge is taken as given here and judged where rounds are recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

from bidplane_agents.audit.accruals import KINDS, Accruals, Turn, account_of, plan_of
from bidplane_agents.audit.contents import Contents, Origin, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.settlements import REVENUE, TRANSIT, Settlements, available, hold
from bidplane_topics import agents, codec, ids, registry, transit
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.ledger import EntryKind, LedgerPosted, Settled

TREASURY: Final = "treasury"
# What may move money.
_MOVING: Final = frozenset(
    topic.name
    for topic in (registry.ACCOUNTS, registry.TRANSIT, registry.SETTLEMENTS, registry.BIDS)
)
SYSTEM: Final = frozenset({TREASURY, REVENUE, TRANSIT})


class Movement(NamedTuple):
    """An entry as it should be."""

    kind: EntryKind
    debit: str
    credit: str
    amount_micros: int
    reference: str
    agent_id: str
    organisation: str = ""


class Group(NamedTuple):
    """The entries of one cause; its own ones are those that are not about time alone."""

    origin: Origin
    entries: list[Seen]

    def own(self) -> list[Seen]:
        """The entries that the cause itself made."""
        return [one for one in self.entries if one.event.kind not in KINDS]


class Balances(NamedTuple):
    """What an agent had: free to bid, and held for orders."""

    available_micros: int
    held_micros: int


class Money:
    """One partition's ledger, folded."""

    def __init__(self, contents: Contents, partition: int, findings: Findings) -> None:
        """Nothing is folded yet."""
        self.contents = contents
        self.partition = partition
        self.findings = findings
        self.balance: dict[str, int] = {}
        self.settlements = Settlements(contents.of(registry.SETTLEMENTS, partition), findings)
        # What the agent had before each envelope's first hold, and after every entry that touched
        # it.
        self.before: dict[Origin, Balances] = {}
        self.history: dict[str, list[Balances]] = {}
        self.groups: dict[Origin, Group] = {}
        self.reach: dict[str, int] = {}
        self._accruals = Accruals(contents, partition)
        self._organisation_of = {
            one.event.tenant: one.event.organisation
            for one in reversed(contents.of(registry.AGENTS, partition))
            if isinstance(one.event, agents.TenantRegistered)
            and one.record.origin not in contents.dead
        }
        self._granted: set[str] = set()
        self._passed: set[tuple[str, str]] = set()

    def fold(self) -> None:
        """Go through the ledger in its order."""
        for group in self._grouped():
            self._ordered(group)
            self.groups[group.origin] = group
            self._accruals.set_before(self.reach.get(registry.ACCOUNTS.name, -1))
            turn = Turn(
                self._accruals, group.entries, self.findings,
                lambda account: self.balance.get(account, 0), self._post,
            )  # fmt: skip
            turn.touch(self._named(group))
            if group.origin[0] == registry.BIDS.name:
                self.before[group.origin] = self.of(self._agent_of(group))
            else:
                self._caused(group)
            turn.finish()
            if group.origin[0] == registry.ACCOUNTS.name:
                self._accruals.set_before(group.origin[2] + 1)
        self._check_plans()
        self._check_holds()

    def of(self, agent_id: str) -> Balances:
        """What an agent has now."""
        return Balances(
            self.balance.get(available(agent_id), 0), self.balance.get(hold(agent_id), 0)
        )

    def was_granted(self, grant_id: str) -> bool:
        """Whether some record of this grant has moved its money."""
        return grant_id in self._granted

    def is_member(self, tenant: str, organisation: str) -> bool:
        """Whether the tenant was registered here with that organisation; "" is none."""
        return self._organisation_of.get(tenant) == organisation

    # -- order -------------------------------------------------------------------------------------

    def _grouped(self) -> Iterator[Group]:
        def cause(one: Seen) -> Origin:
            origin = one.event.origin
            return origin.topic, origin.partition, origin.offset

        for origin, entries in groupby(self.contents.of(registry.LEDGER, self.partition), cause):
            yield Group(origin, list(entries))

    def _ordered(self, group: Group) -> None:
        """Causes come in their topic's order, each once; their entries count up from 0."""
        topic, partition, offset = group.origin
        first = group.entries[0].record
        self.findings.check(
            6, offset > self.reach.get(topic, -1), first, f"entries caused by {topic}",
            f"a cause after offset {self.reach.get(topic)}", offset,
        )  # fmt: skip
        self.findings.check(
            2, partition == self.partition, first, "the partition of an entry's cause",
            self.partition, partition,
        )  # fmt: skip
        self.reach[topic] = max(offset, self.reach.get(topic, -1))
        found = self.contents.log.find(group.origin) if self._may_cause(topic, partition) else None
        for index, one in enumerate(group.entries):
            event: LedgerPosted = one.event
            name = ids.joined(topic, partition, offset, index)
            self.findings.same(
                2, (name, index), (event.entry_id, event.origin.index), one.record, "an entry's id"
            )
            since_ms = event.at_ms if found is None else found.timestamp_ms
            self.findings.same(2, since_ms, event.at_ms, one.record, "an entry's time")

    def _post(self, one: Seen) -> None:
        event: LedgerPosted = one.event
        for account, by in ((event.debit, -1), (event.credit, 1)):
            after = self.balance.get(account, 0) + by * event.amount_micros
            self.balance[account] = after
            self.findings.check(
                2, after >= 0 or account in SYSTEM, one.record, f"the balance of {account}",
                "at least 0", after,
            )  # fmt: skip
        self.findings.check(
            2, event.debit != event.credit, one.record, "an entry's accounts", "two", event.debit
        )
        owner = ids.agent_id(event.tenant, event.agent)
        self.history.setdefault(owner, [Balances(0, 0)]).append(self.of(owner))
        if event.kind == "hold":
            held = self.settlements.held
            held[event.reference] = held.get(event.reference, 0) + event.amount_micros

    def _check_holds(self) -> None:
        """Every hold account holds exactly what its open orders need."""
        needed: dict[str, int] = {}
        for bid, amount in self.settlements.held.items():
            owner = ids.agent_of_bid(bid)
            account = hold(ids.agent_id(*owner)) if owner else f"hold/{bid}"
            needed[account] = needed.get(account, 0) + amount
        entries = self.contents.of(registry.LEDGER, self.partition)
        for account in sorted({*needed, *(a for a in self.balance if a.startswith("hold/"))}):
            self.findings.same(
                2, needed.get(account, 0), self.balance.get(account, 0), entries[-1].record,
                f"{account} covers its open orders",
            )  # fmt: skip

    # -- causes ------------------------------------------------------------------------------------

    def _may_cause(self, topic: str, partition: int) -> bool:
        return partition == self.partition and topic in _MOVING

    def _cause(self, group: Group) -> Seen | None:
        """The record that is no bid and moved this money."""
        topic, partition, offset = group.origin
        if topic == registry.BIDS.name or not self._may_cause(topic, partition):
            return None
        return self.contents.find(registry.by_name(topic), partition, offset)

    def _caused(self, group: Group) -> None:
        cause = self._cause(group)
        first = group.entries[0].record
        if cause is None:
            gone = group.origin[2] < self.contents.log.begins(group.origin[0], self.partition)
            if gone:
                self._believe(group)
                self.findings.note(f"{group.origin[0]} is older than its log: causes not checked")
            else:
                self.findings.check(2, False, first, "an entry's cause", "a record", group.origin)
            return
        match cause.event:
            case agents.CreditGranted():
                self.compare(group, cause.record, self.movements_of_grant(cause.event))
                self._check_source(cause, cause.event.tenant, cause.event.source)
            case agents.RefillSet() | agents.BudgetSet():
                self.compare(group, cause.record, [])
            case Settled():
                self.compare(group, cause.record, self.movements_of_settlement(cause))
            case _:
                self.compare(group, cause.record, self._movements_of_transit(cause.event))

    def _believe(self, group: Group) -> None:
        """A settlement that retention took is known from its entries: their reference names it."""
        for one in group.entries:
            self.settlements.believe(one.event.reference)

    def compare(self, group: Group, cause: Record, expected: list[Movement]) -> None:
        """Check a cause's entries against those it should have."""
        own = group.own()
        if not own and cause.origin in self.contents.dead:
            return  # refused, but its accounts were brought up to date
        found = [movement_of(one.event) for one in own]
        for index, wanted in enumerate(expected):
            at = own[min(index, len(found) - 1)] if own else group.entries[0]
            record = at.record
            given = found[index] if index < len(found) else None
            self.findings.same(2, wanted, given, record, f"entry {index} of {cause.origin}")
        for one in own[len(expected) :]:
            self.findings.check(2, False, one.record, "an entry too many", "none", one.event)

    def movements_of_grant(self, event: agents.CreditGranted) -> list[Movement]:
        """What a grant moves: nothing the second time."""
        if event.grant_id in self._granted or event.amount_micros == 0:
            return []
        self._granted.add(event.grant_id)
        own, owner = f"tenant/{event.tenant}", ids.agent_id(event.tenant, event.agent)
        make: Callable[[str, str], Movement] = lambda debit, credit: Movement(  # noqa: E731
            "grant", debit, credit, event.amount_micros, event.grant_id, owner
        )
        down = [make(TREASURY, own)] if event.source == "treasury" else []
        return [*down, make(own, available(owner))] if event.agent else down

    def movements_of_settlement(self, cause: Seen) -> list[Movement]:
        """What a settlement moves; notes what becomes of the hold."""
        event: Settled = cause.event
        owner = ids.agent_id(event.tenant, event.agent)
        routes = self.settlements.routes(cause)
        return [Movement(*route, event.settlement_id, owner) for route in routes]

    # -- time and organisations --------------------------------------------------------------------

    def _named(self, group: Group) -> list[str]:
        """The accounts that a cause brings up to date before it moves anything, in order."""
        cause = self._cause(group)
        match None if cause is None else cause.event:
            case agents.RefillSet() as event:
                return [account_of("", event.tenant, event.agent)]
            case agents.BudgetSet() as event:
                return [account_of(event.organisation, event.tenant, event.agent)]
            case agents.CreditGranted() as event:
                own = [f"tenant/{event.tenant}"] if event.source == "tenant" else []
                return [f"agent/{event.tenant}/{event.agent}", *own]
            case agents.CreditAllotted() as event:
                return [account_of(event.organisation, "", "")]
            case agents.OrganisationFunded() | transit.CreditReturned():
                return []
            case _:
                return [available(self._agent_of(group))]

    def _agent_of(self, group: Group) -> str:
        """Whose command or settlement it was; entries about its tenant's account do not say."""
        for one in group.entries:
            if one.event.agent:
                return ids.agent_id(one.event.tenant, one.event.agent)
        record = self.contents.log.find(group.origin)
        if record is None:
            return ""
        try:
            event = codec.decode(registry.by_name(record.topic), record.value)
        except MalformedRecord:
            return ""  # nobody's: whoever owes these entries will miss their cause
        return ids.agent_id(getattr(event, "tenant", ""), getattr(event, "agent", ""))

    def _movements_of_transit(self, event: Any) -> list[Movement]:
        """What leaves an organisation, arrives at a tenant or goes back."""
        organisation = account_of(event.organisation, "", "")
        if isinstance(event, agents.OrganisationFunded):
            route = [("grant", TREASURY, organisation)]
        elif isinstance(event, agents.CreditAllotted):
            route = [("transit", organisation, TRANSIT)]
        elif isinstance(event, transit.CreditReturned):
            route = [("transit", TRANSIT, organisation)]
        else:
            own = account_of("", event.tenant, "")
            route = [("transit", TRANSIT, own)]
            if event.agent:
                route.append(("grant", own, account_of("", event.tenant, event.agent)))
        return self._once(event, route)

    def _once(self, event: Any, route: list[tuple[str, str, str]]) -> list[Movement]:
        """The movements of a grant or transfer: nothing the second time."""
        name = getattr(event, "grant_id", "") or getattr(event, "transfer_id", "")
        kind = "granted" if hasattr(event, "grant_id") else type(event).__name__
        if (kind, name) in self._passed or (kind == "granted" and name in self._granted):
            return []
        self._passed.add((kind, name))
        if kind == "granted":
            self._granted.add(name)
        owner = ids.agent_id(getattr(event, "tenant", ""), getattr(event, "agent", ""))
        return [
            Movement(
                entry, debit, credit, event.amount_micros, name, owner,  # type: ignore[arg-type]
                "" if credit.startswith("agent/") else event.organisation,
            )
            for entry, debit, credit in route
        ]  # fmt: skip

    def _check_source(self, cause: Seen, tenant: str, source: str) -> None:
        """What a tenant of an organisation has came from that organisation."""
        whose = self._organisation_of.get(tenant, "")
        self.findings.check(
            2, not whose or source == "tenant", cause.record, f"money for tenant {tenant}",
            f"from {whose}", source,
        )  # fmt: skip

    def _check_plans(self) -> None:
        for one in self.contents.of(registry.ACCOUNTS, self.partition):
            plan = plan_of(one)
            if plan is None or one.record.origin in self.contents.dead:
                continue
            read = one.record.offset <= self.reach.get(registry.ACCOUNTS.name, -1)
            if read and plan.amount_micros and plan.payer == TREASURY and one.event.tenant:
                self._check_source(one, one.event.tenant, plan.payer)


def movement_of(event: Any) -> Movement:
    """An entry without what only its place in the ledger decides."""
    owner = ids.agent_id(event.tenant, event.agent)
    return Movement(
        event.kind, event.debit, event.credit, event.amount_micros, event.reference, owner,
        event.organisation,
    )  # fmt: skip
