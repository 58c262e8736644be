"""Two agents of two partitions of accounts, one market with one lease, and the wires between them.

Decides nothing: it carries records from lane to lane in order. A test says what happens when.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import builders
from bidplane_streams.market import invariants, ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import Effect, Emit
from bidplane_streams.market.market import MarketState
from bidplane_topics import bids, ids, offers, registry, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import OutcomeReported

SELLER, BUYER = ("t", "a"), ("u", "b")
PARTITION = {"t": 0, "u": 1}
MONEY = 1_000_000
DURATION_MS = 10_000
Rows = dict[str, dict[bytes, bytes]]


class Bazaar:
    """Accounts partition 0 has the seller t/a, partition 1 the buyer u/b; market m sells n0."""

    def __init__(self, **rules: Any) -> None:
        """Both are registered and have money; the market is open."""
        self.accounts: list[builders.Feed[AccountsState]] = [
            builders.Feed(AccountsState(number)) for number in range(2)
        ]
        self.market: builders.Feed[MarketState] = builders.Feed(MarketState(0))
        self.sequence: Counter[str] = Counter()
        self.mail: list[list[Settled]] = [[], []]
        self.settled: list[str] = []
        self.told: list[OutcomeReported] = []
        declared = builders.market("m", **({"reserve_micros": 3} | rules))
        for number, (tenant, agent) in enumerate((SELLER, BUYER)):
            feed = self.accounts[number]
            feed.give(builders.tenant(tenant, number))
            feed.give(builders.agent(agent, number, tenant=tenant))
            feed.give(builders.grant(MONEY, agent, tenant=tenant))
            feed.give(declared)
        self.market.give(declared)
        self.market.give(builders.node())
        self.alive()
        self.close()

    # -- time and wires ----------------------------------------------------------------------------

    def later(self, by_ms: int) -> None:
        """Let time pass for everyone."""
        self.market.now_ms += by_ms
        for feed in self.accounts:
            feed.now_ms += by_ms

    def alive(self) -> None:
        """The sink says that it works."""
        self.market.give(reports.SinkAlive(market="m", sink="s"))

    def close(self, after_ms: int = 1000) -> list[Effect]:
        """The window closes."""
        self.later(after_ms)
        return self.sent(self.market.close(0))

    def give(self, event: Any) -> list[Effect]:
        """The market reads one record."""
        return self.sent(self.market.give(event))

    def sent(self, effects: list[Effect]) -> list[Effect]:
        """Carry on what a lane wrote; settlements wait in the mail."""
        builders.check_wire(effects)
        emitted = [one for one in effects if isinstance(one, Emit)]
        for one in emitted:
            if isinstance(one.event, OutcomeReported):
                self.told.append(one.event)
            elif isinstance(one.event, Settled):
                self.settled.append(one.event.settlement_id)
                self.mail[one.partition].append(one.event)
        for one in emitted:
            if one.topic is registry.ORDERS:
                self.give(one.event)
        return effects

    def deliver(self, partition: int | None = None) -> None:
        """The accounts read their settlements: one of a partition, or all."""
        for number, feed in enumerate(self.accounts):
            while self.mail[number] and partition in (None, number):
                self.sent(feed.give(self.mail[number].pop(0)))
                if partition is not None:
                    return

    # -- agents and sinks --------------------------------------------------------------------------

    def say(self, who: tuple[str, str], command: Any) -> str:
        """An agent signs one command; its id."""
        tenant, agent = who
        number = PARTITION[tenant]
        self.sequence[tenant] += 1
        sequence = self.sequence[tenant]
        signed = builders.signed(sequence, command, name=agent, number=number, tenant=tenant)
        self.sent(self.accounts[number].give(signed))
        return ids.bid_id(tenant, agent, builders.key(number).key_id, sequence, 0)

    def won(self) -> LeaseChanged:
        """The seller bids for two devices and gets a lease of them."""
        way = builders.alternative("2", DURATION_MS)
        bid = self.say(SELLER, builders.place(10**5, way))
        self.close()
        self.deliver()
        return self.lease(ids.lease_id("m", bid))

    def lease(self, lease_id: str) -> LeaseChanged:
        """A lease as the market knows it."""
        return self.market.state.leases[lease_id].lease

    def report(self, lease_id: str, kind: type) -> None:
        """A sink's word with the lease's own epoch."""
        row = self.market.state.leases.get(lease_id)
        more = {"reason": "x"} if kind is reports.LeaseFailed else {}
        if row is not None:
            self.give(kind(market="m", lease_id=lease_id, epoch=row.lease.epoch, **more))

    def sink(self) -> None:
        """The sink does its work: what is ending is released, what is awarded is bound."""
        for row in list(self.market.state.leases.values()):
            if row.lease.state == "ending":
                self.report(row.lease.lease_id, reports.LeaseReleased)
        for row in list(self.market.state.leases.values()):
            if row.lease.state == "awarded":
                self.report(row.lease.lease_id, reports.LeaseBound)

    def offer(self, lease_id: str, price: int, to: tuple[str, str] = BUYER) -> str:
        """The holder offers its lease; the offer's id."""
        name = ids.agent_id(*to)
        self.say(SELLER, bids.Offer(lease_id=lease_id, to=name, price_micros=price))
        return offers.offer_id(offers.Terms("m", lease_id, name, price))

    def accept(self, offer_id: str) -> str:
        """The buyer accepts; the command's id."""
        return self.say(BUYER, bids.Accept(offer_id=offer_id))

    def release(self, who: tuple[str, str], lease_id: str) -> None:
        """An agent gives a lease back."""
        self.say(who, bids.Release(lease_id=lease_id))

    # -- what is true ------------------------------------------------------------------------------

    def balance(self, who: tuple[str, str]) -> tuple[int, int]:
        """What an agent has available and held."""
        names = ledger.available(*who), ledger.hold(*who)
        found = [self.accounts[PARTITION[who[0]]].state.balances.get(name) for name in names]
        return found[0].micros if found[0] else 0, found[1].micros if found[1] else 0

    def system(self, account: str) -> int:
        """A system account over both partitions."""
        rows = [feed.state.balances.get(account) for feed in self.accounts]
        return sum(row.micros for row in rows if row is not None)

    def audit(self) -> None:
        """What holds at any time: no settlement twice, money conserved, one holder a device."""
        assert len(set(self.settled)) == len(self.settled)
        told = [one.outcome_id for one in self.told]
        assert len(set(told)) == len(told)
        for feed in self.accounts:
            invariants.audit_accounts(feed.state)
        invariants.audit_market(self.market.state)

    def rest(self) -> None:
        """Let everything come to its end; then nothing is held, leased or on its way."""
        for _ in range(12):
            self.alive()
            self.sink()
            self.close(4000)
            self.deliver()
            self.audit()
        assert not len(self.market.state.leases)
        for feed in self.accounts:
            assert not len(feed.state.orders)
            assert not len(feed.state.leases)
        assert self.balance(SELLER)[1] == self.balance(BUYER)[1] == 0
        assert self.system(ledger.TRANSIT) == 0
        both = self.balance(SELLER)[0] + self.balance(BUYER)[0]
        assert both + self.system(ledger.REVENUE) == 2 * MONEY
        assert self.system(ledger.REVENUE) >= 0

    # -- copies ------------------------------------------------------------------------------------

    def copy(self) -> Bazaar:
        """The same moment, changed apart."""
        twin = Bazaar.__new__(Bazaar)
        twin.accounts = [_copied(one) for one in self.accounts]
        twin.market = _copied(self.market)
        twin.sequence = Counter(self.sequence)
        twin.mail = [list(one) for one in self.mail]
        twin.settled, twin.told = list(self.settled), list(self.told)
        return twin


def _copied(feed: Any) -> Any:
    twin = builders.Feed(type(feed.state)(feed.state.partition), feed.now_ms)
    rows = {name.encode(): row for name, row in builders.dump(feed.state).items()}
    builders.restore(twin.state, rows)
    twin.next_offset = dict(feed.next_offset)
    return twin
