"""The ledger, entry by entry: its balances, and what each cause should have moved.

Decides every balance at every offset, in ledger order. Refuses to know devices and prices: a
settlement's charge is taken as given here and judged where rounds are recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

from bidplane_agents.audit.contents import Contents, Origin, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.refills import Refills
from bidplane_topics import agents, ids, registry
from bidplane_topics.ledger import EntryKind, LedgerPosted, Settled

TREASURY: Final = "treasury"
REVENUE: Final = "revenue"
SYSTEM: Final = frozenset({TREASURY, REVENUE})
ENDINGS: Final = frozenset({"voided", "ended"})


class Movement(NamedTuple):
    """An entry as it should be."""

    kind: EntryKind
    debit: str
    credit: str
    amount_micros: int
    reference: str
    agent_id: str


class Group(NamedTuple):
    """The entries of one cause."""

    origin: Origin
    entries: list[Seen]


class Balances(NamedTuple):
    """What an agent had: free to bid, and held for orders."""

    available_micros: int
    held_micros: int


def available(agent_id: str) -> str:
    """The account an agent bids from."""
    return f"agent/{agent_id}"


def hold(agent_id: str) -> str:
    """The account of what is reserved for an agent's orders."""
    return f"hold/{agent_id}"


class Money:
    """One partition's ledger, folded."""

    def __init__(self, contents: Contents, partition: int, findings: Findings) -> None:
        """Nothing is folded yet."""
        self.contents = contents
        self.partition = partition
        self.findings = findings
        self.balance: dict[str, int] = {}
        # Money held for each order, until its settlement; and what each lease has cost.
        self.held: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        # What the agent had before each envelope's first hold, and after every entry that touched
        # it.
        self.before: dict[Origin, Balances] = {}
        self.history: dict[str, list[Balances]] = {}
        self.groups: dict[Origin, Group] = {}
        self.reach: dict[str, int] = {}
        self._refills = Refills(contents, partition)
        self._causes = {
            one.record.origin: one
            for topic in (registry.ACCOUNTS, registry.SETTLEMENTS)
            for one in contents.of(topic, partition)
        }
        self._times = {
            record.origin: record.timestamp_ms
            for topic in (registry.ACCOUNTS, registry.SETTLEMENTS, registry.BIDS)
            for record in contents.log.of(topic.name, partition)
        }
        self._granted: set[str] = set()

    def fold(self) -> None:
        """Go through the ledger in its order."""
        for group in self._grouped():
            self._ordered(group)
            self.groups[group.origin] = group
            if group.origin[0] == registry.BIDS.name:
                entry: LedgerPosted = group.entries[0].event
                self.before[group.origin] = self.of(ids.agent_id(entry.tenant, entry.agent))
                self._refilled(group)
            else:
                self._caused(group)
            for one in group.entries:
                self._post(one)
        self._check_holds()

    def of(self, agent_id: str) -> Balances:
        """What an agent has now."""
        return Balances(
            self.balance.get(available(agent_id), 0), self.balance.get(hold(agent_id), 0)
        )

    def was_granted(self, grant_id: str) -> bool:
        """Whether some record of this grant has moved its money."""
        return grant_id in self._granted

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
        for index, one in enumerate(group.entries):
            event: LedgerPosted = one.event
            name = ids.joined(topic, partition, offset, index)
            self.findings.same(
                2, (name, index), (event.entry_id, event.origin.index), one.record, "an entry's id"
            )
            since_ms = self._times.get(group.origin, event.at_ms)
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
            self.held[event.reference] = self.held.get(event.reference, 0) + event.amount_micros

    def _check_holds(self) -> None:
        """Every hold account holds exactly what its open orders need."""
        needed: dict[str, int] = {}
        for bid, amount in self.held.items():
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

    def _caused(self, group: Group) -> None:
        cause = self._causes.get(group.origin)
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
                self.compare(group, cause, self.movements_of_grant(cause.event))
            case agents.RefillSet():
                self._refilled(group)
            case Settled():
                self.compare(group, cause, self.movements_of_settlement(cause))

    def _believe(self, group: Group) -> None:
        """A settlement that retention took is known from its entries: their reference names it."""
        for one in group.entries:
            parts = one.event.reference.split("|")
            if len(parts) == 4 and parts[2] not in ENDINGS:
                market, bid, cause, _ = parts
                self.held.pop(bid, None)
                if cause == "won":
                    paid = one.event.amount_micros if one.event.kind == "charge" else 0
                    lease_id = ids.lease_id(market, bid)
                    self.paid[lease_id] = self.paid.get(lease_id, 0) + paid

    def compare(self, group: Group, cause: Seen, expected: list[Movement]) -> None:
        """Check a cause's entries against those it should have."""
        found = [movement_of(one.event) for one in group.entries]
        for index, wanted in enumerate(expected):
            record = group.entries[min(index, len(found) - 1)].record
            given = found[index] if index < len(found) else None
            self.findings.same(2, wanted, given, record, f"entry {index} of {cause.record.origin}")
        for one in group.entries[len(expected) :]:
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
        if event.cause in ENDINGS:
            paid = self.paid.pop(event.lease_id, None)
            self.findings.check(
                2, paid is not None and event.refund_micros <= paid, cause.record, "a refund",
                f"at most the {paid} paid, once", event.refund_micros,
            )  # fmt: skip
            moves = [("refund", REVENUE, available(owner), event.refund_micros)]
        else:
            held = self.held.pop(event.bid_id, None)
            self.findings.check(
                5, held is not None and event.charge_micros <= held, cause.record, "a charge",
                f"at most the {held} held for the order, once", event.charge_micros,
            )  # fmt: skip
            self.findings.check(
                5, event.cause == "won" or event.charge_micros == 0, cause.record,
                f"the charge of an order that ended as {event.cause}", 0, event.charge_micros,
            )  # fmt: skip
            if event.cause == "won":
                self.paid[event.lease_id] = event.charge_micros
            moves = [
                ("charge", hold(owner), REVENUE, event.charge_micros),
                ("unhold", hold(owner), available(owner), (held or 0) - event.charge_micros),
            ]
        return [
            Movement(kind, debit, credit, amount, event.settlement_id, owner)  # type: ignore[arg-type]
            for kind, debit, credit, amount in moves if amount
        ]  # fmt: skip

    def _refilled(self, group: Group) -> None:
        for one in group.entries:
            if one.event.kind == "refill":
                self._refills.check(one, self.findings)


def movement_of(event: Any) -> Movement:
    """An entry without what only its place in the ledger decides."""
    owner = ids.agent_id(event.tenant, event.agent)
    return Movement(
        event.kind, event.debit, event.credit, event.amount_micros, event.reference, owner
    )
