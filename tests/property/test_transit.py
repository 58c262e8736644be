"""Organisations over two partitions under any order of records: no credit is lost or made.

Decides what may arrive when, and how often. Refuses to know agents' bids: test_accounts.py does.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import builders
from bidplane_streams.market import allotting, invariants, ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import Emit
from bidplane_topics import agents, registry, transit
from bidplane_topics.ledger import LedgerPosted

# Where organisations and tenants live, and whose the tenants are.
ORGANISATIONS = {"o": 0, "p": 1}
TENANTS = {"t": (0, "o"), "u": (1, "o"), "v": (1, "p"), "w": (0, "")}
AMOUNTS = st.one_of(st.integers(0, 300), st.just(2**53 - 1))
Record = tuple[int, transit.CreditSent | transit.CreditReturned]


class Transit(RuleBasedStateMachine):
    """Two partitions, and a bag of records on their way between them."""

    def __init__(self) -> None:
        """``bag`` keeps what was delivered, too: it may come again."""
        super().__init__()
        self.feeds = [builders.Feed(AccountsState(number)) for number in range(2)]
        self.changelogs: list[dict[bytes, bytes | None]] = [{}, {}]
        self.bag: list[Record] = []
        self.waiting: list[int] = []
        self.folded: list[Counter[str]] = [Counter(), Counter()]
        self.credited: Counter[tuple[str, str]] = Counter()
        self.grants = 0

    def give(self, partition: int, event: object, after_ms: int = 0) -> None:
        """One record; what it sends to the other partition goes into the bag."""
        said = self.feeds[partition].give(event, after_ms)
        builders.check_wire(said)
        self.changelogs[partition] |= self.feeds[partition].state.drain()
        for one in said:
            if isinstance(one, Emit) and one.topic is registry.TRANSIT:
                self.waiting.append(len(self.bag))
                self.bag.append((one.partition, one.event))  # type: ignore[arg-type]
        for entry in builders.events(said, LedgerPosted):
            folded = self.folded[partition]
            folded[entry.debit] -= entry.amount_micros
            folded[entry.credit] += entry.amount_micros
            assert folded[entry.debit] >= 0 or entry.debit in ledger.MAY_BE_NEGATIVE
            if entry.kind == "transit":
                self.credited[entry.reference, entry.credit] += 1

    @initialize(late=st.sets(st.sampled_from(sorted(TENANTS))))
    def begin(self, late: set[str]) -> None:
        """Organisations with money; some tenants register later."""
        for name, partition in ORGANISATIONS.items():
            event = agents.OrganisationRegistered(organisation=name, partition=partition)
            self.give(partition, event)
            self.fund(name, 500)
        for tenant in sorted(set(TENANTS) - late):
            self.register(tenant)

    @rule(tenant=st.sampled_from(sorted(TENANTS)))
    def register(self, tenant: str) -> None:
        """A tenant with its agent."""
        partition, organisation = TENANTS[tenant]
        self.give(partition, builders.tenant(tenant, partition, organisation))
        number = sorted(TENANTS).index(tenant)
        self.give(partition, builders.agent("a", number, tenant=tenant))

    @rule(name=st.sampled_from(sorted(ORGANISATIONS)), amount=AMOUNTS)
    def fund(self, name: str, amount: int) -> None:
        """More to give."""
        self.grants += 1
        event = agents.OrganisationFunded(
            grant_id=f"g{self.grants}", organisation=name, amount_micros=amount
        )
        self.give(ORGANISATIONS[name], event)

    @rule(name=st.sampled_from(sorted(ORGANISATIONS)), tenant=st.sampled_from(sorted(TENANTS)),
          agent=st.sampled_from(("", "a", "b")), amount=AMOUNTS, copies=st.integers(1, 2),
          lost=st.booleans())  # fmt: skip
    def allot(
        self, name: str, tenant: str, agent: str, amount: int, copies: int, *, lost: bool
    ) -> None:
        """An organisation gives, at times to a stranger, to the wrong partition, or twice."""
        self.grants += 1
        home = TENANTS[tenant][0]
        event = builders.allotted(
            amount, agent, tenant=tenant, organisation=name, grant_id=f"g{self.grants}",
            tenant_partition=1 - home if lost else home,
        )  # fmt: skip
        for _ in range(copies):
            self.give(ORGANISATIONS[name], event)

    @rule(name=st.sampled_from(("o", "p", "t", "w")), amount=st.integers(0, 40),
          decay=st.sampled_from((0, 100, 1000)))  # fmt: skip
    def budget(self, name: str, amount: int, decay: int) -> None:
        """What every second does to an account."""
        if name in ORGANISATIONS:
            event = builders.budget(amount, 1000, decay, organisation=name)
            self.give(ORGANISATIONS[name], event)
        else:
            self.give(0, builders.budget(amount, 1000, decay, tenant=name))

    @precondition(lambda self: self.bag)
    @rule(data=st.data(), again=st.booleans(), after_ms=st.sampled_from((0, 700, 3000)))
    def deliver(self, data: st.DataObject, after_ms: int, *, again: bool) -> None:
        """Some record arrives: any that waits, or one that came before."""
        some = range(len(self.bag)) if again or not self.waiting else self.waiting
        index = data.draw(st.sampled_from(list(some)))
        if index in self.waiting:
            self.waiting.remove(index)
        partition, event = self.bag[index]
        self.give(partition, event, after_ms)

    @rule(partition=st.integers(0, 1))
    def restart(self, partition: int) -> None:
        """A partition forgets everything and comes back from its changelog."""
        feed = self.feeds[partition]
        before = builders.dump(feed.state)
        feed.restart(self.changelogs[partition])
        assert builders.dump(feed.state) == before

    @invariant()
    def each_partitions_books_balance(self) -> None:
        """Balances are what the entries add up to, and none is overdrawn."""
        for feed, folded in zip(self.feeds, self.folded, strict=True):
            invariants.audit_accounts(feed.state)
            balances = {name: row.micros for name, row in feed.state.balances.items() if row.micros}
            assert balances == {name: micros for name, micros in folded.items() if micros}

    @invariant()
    def what_is_under_way_is_what_waits(self) -> None:
        """Over both partitions, transit holds the amounts of the records that wait, and no more."""
        under_way = sum(folded[ledger.TRANSIT] for folded in self.folded)
        assert under_way == sum(self.bag[index][1].amount_micros for index in self.waiting)

    @invariant()
    def a_transfer_is_credited_once(self) -> None:
        """No transfer leaves, arrives or comes back twice."""
        assert set(self.credited.values()) <= {1}


Transit.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True, deadline=None,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
FIRST_BUG = settings(Transit.TestCase.settings, phases=[Phase.generate], report_multiple_bugs=False)
TestTransit = Transit.TestCase
TestTransit.__doc__ = "Whatever arrives, in any order and however often, credit is conserved."


def test_a_lane_that_forgets_arrivals_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk above notices a transfer that is credited as often as its record comes."""
    arrived = allotting.arrived

    def forgetful(turn: AccountTurn, event: transit.CreditSent) -> None:
        arrived(turn, event)
        turn.state.arrived.remove(event.transfer_id)

    monkeypatch.setattr(allotting, "arrived", forgetful)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Transit, settings=FIRST_BUG)


def test_a_return_that_counts_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk above notices an organisation that gets its money back again and again."""
    returned = allotting.returned

    def forgetful(turn: AccountTurn, event: transit.CreditReturned) -> None:
        returned(turn, event)
        turn.state.returned.remove(event.transfer_id)

    monkeypatch.setattr(allotting, "returned", forgetful)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Transit, settings=FIRST_BUG)
