"""The accounts under any sequence of records: money conserved, every bid answered once.

Decides what may happen in which order. Refuses to know the market: a pretend one answers orders.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import builders
from bidplane_streams.market import invariants, ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_topics import agents, bids, ids, markets, orders
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.outcomes import TERMINAL_BID_KINDS

AGENTS = (("t", "a"), ("t", "b"), ("u", "a"))
MARKETS = {"m": 0, "n": 1}
AMOUNTS = st.one_of(st.integers(1, 500), st.sampled_from((1, 7, 2**53 - 1)))
RARELY = st.sampled_from((False,) * 9 + (True,))
WHO = st.sampled_from(range(len(AGENTS)))


class Accounts(RuleBasedStateMachine):
    """Two tenants, three agents, two markets, and a shadow that is restarted at random."""

    def __init__(self) -> None:
        """``shadow`` hears all that ``feed`` hears, and restarts now and then."""
        super().__init__()
        self.feed: builders.Feed[AccountsState] = builders.Feed(AccountsState(0))
        self.shadow = builders.Feed(AccountsState(0))
        self.changelog: dict[bytes, bytes | None] = {}
        self.sequence: Counter[int] = Counter()
        self.heard: Counter[int] = Counter()
        self.open: dict[str, orders.OrderPlaced] = {}
        self.leases: dict[str, tuple[orders.OrderPlaced, int]] = {}
        self.asked: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.folded: Counter[str] = Counter()
        self.grants = 0

    def give(self, event: object, after_ms: int = 0) -> None:
        """One record to both; they must say the same, byte for byte, and change the same rows."""
        said = self.feed.give(event, after_ms)
        assert builders.wire(self.shadow.give(event, after_ms)) == builders.wire(said)
        rows = self.feed.state.drain()
        assert self.shadow.state.drain() == rows
        self.changelog |= rows
        builders.check_wire(said)
        for order in builders.events(said, orders.OrderPlaced):
            self.open[order.bid_id] = order
        for outcome in builders.outcomes(said):
            self.told[outcome.outcome_id] += 1
            self.ended[outcome.bid_id] += outcome.kind in TERMINAL_BID_KINDS
        for entry in builders.events(said, LedgerPosted):
            self.post(entry)
        self.ended = +self.ended

    def post(self, entry: LedgerPosted) -> None:
        """Fold an entry as a reader of the ledger would: no agent is ever below zero."""
        assert entry.amount_micros > 0
        self.told[entry.entry_id] += 1
        self.folded[entry.debit] -= entry.amount_micros
        self.folded[entry.credit] += entry.amount_micros
        assert self.folded[entry.debit] >= 0 or entry.debit in ledger.MAY_BE_NEGATIVE

    @initialize(registered=st.integers(0, 3).map(lambda few: 3 - few), money=AMOUNTS)
    def begin(self, registered: int, money: int) -> None:
        """Tenants, markets, and most agents with some money."""
        self.give(builders.tenant("t"))
        self.give(builders.tenant("u"))
        self.give(builders.market("m", 0))
        self.give(builders.market("n", 1))
        for who in range(registered):
            self.register(who, second=True)
            self.grant(who, money, "treasury", again=False, to_tenant=False)

    @rule(who=WHO, second=st.booleans())
    def register(self, who: int, *, second: bool) -> None:
        """An agent, with one key or with two."""
        tenant, name = AGENTS[who]
        numbers = (who, who + 10) if second else (who,)
        self.give(builders.agent(name, *numbers, tenant=tenant))

    @rule(who=WHO, amount=AMOUNTS, source=st.sampled_from(("treasury", "tenant")),
          again=RARELY, to_tenant=RARELY)  # fmt: skip
    def grant(self, who: int, amount: int, source: str, *, again: bool, to_tenant: bool) -> None:
        """Money from above, at times the same grant again."""
        self.grants += not again
        tenant, name = AGENTS[who]
        self.give(
            builders.grant(
                amount, "" if to_tenant else name, tenant=tenant, source=source,
                grant_id=f"g{self.grants}",
            )
        )  # fmt: skip

    @rule(who=WHO, amount=st.integers(0, 50), period_ms=st.sampled_from((1000, 7777)))
    def refill(self, who: int, amount: int, period_ms: int) -> None:
        """Money by the clock."""
        tenant, name = AGENTS[who]
        self.give(
            agents.RefillSet(tenant=tenant, agent=name, amount_micros=amount, period_ms=period_ms)
        )

    @rule(who=WHO, amount=st.integers(0, 50), period_ms=st.sampled_from((1000, 7777)),
          decay=st.sampled_from((0, 1, 100, 1000)), payer=st.sampled_from(("treasury", "tenant")),
          of_tenant=RARELY)  # fmt: skip
    def budget(
        self, who: int, amount: int, period_ms: int, decay: int, payer: str, *, of_tenant: bool
    ) -> None:
        """Money that comes and goes by the clock, for an agent or its tenant."""
        tenant, name = AGENTS[who]
        whose = {"tenant": tenant} if of_tenant else {"tenant": tenant, "agent": name}
        source = {} if of_tenant else {"source": payer}
        self.give(builders.budget(amount, period_ms, decay, **whose, **source))

    @rule(who=WHO, number=st.integers(0, 12), value=AMOUNTS, levels=st.integers(0, 4),
          market=st.sampled_from(("m", "m", "n", "n", "x")), late=RARELY, replay=RARELY,
          copies=st.integers(1, 3), after_ms=st.sampled_from((0, 1, 900, 20_000)))  # fmt: skip
    def bid(
        self, who: int, number: int, value: int, levels: int, market: str, *, late: bool,
        replay: bool, copies: int, after_ms: int,
    ) -> None:  # fmt: skip
        """An envelope of equal bids: elastic from level one up, late or replayed at times."""
        tenant, name = AGENTS[who]
        key = who + 10 if number > 9 else who
        changes = {"mode": "elastic", "level_min": (levels + 1) // 2, "level_max": levels}
        place = builders.place(value, market=market, **(changes if levels else {}))
        before = Counter(self.ended)
        replay = replay and self.sequence[key] > 0
        if not replay:
            self.sequence[key] += 1
        envelope = builders.signed(
            self.sequence[key], *[place] * copies, tenant=tenant, name=name, number=key,
            expires_at_ms=self.feed.now_ms + after_ms - 1 if late else 2**53 - 1,
        )  # fmt: skip
        self.give(envelope, after_ms)
        owner = self.feed.state.keys.get(builders.key(key).key_id)
        if owner is None or owner.revoked or replay:
            assert self.ended == before
            if owner is None or owner.revoked:
                self.sequence[key] -= not replay
            return
        for index in range(copies):
            bid = ids.bid_id(tenant, name, builders.key(key).key_id, self.sequence[key], index)
            self.asked.add(bid)
            if late or market not in self.feed.state.markets:
                assert self.ended[bid] == 1

    @rule(who=WHO, data=st.data(), kind=st.sampled_from((bids.Cancel, bids.Release)))
    def ask(self, who: int, data: st.DataObject, kind: type) -> None:
        """A cancel or a release of something, not always one's own, not always there."""
        known = sorted(self.open if kind is bids.Cancel else self.leases)
        about = data.draw(st.sampled_from([*known, "nothing"]))
        tenant, name = AGENTS[who]
        self.sequence[who] += 1
        field = "bid_id" if kind is bids.Cancel else "lease_id"
        envelope = builders.signed(
            self.sequence[who], kind(**{field: about}), tenant=tenant, name=name, number=who
        )
        self.give(envelope)
        if builders.dead(self.feed.out[-1:]):
            self.sequence[who] -= 1

    @rule(name=st.sampled_from(("m", "n")), gone=RARELY)
    def market(self, name: str, *, gone: bool) -> None:
        """A market comes, comes again or goes."""
        removed = markets.MarketRemoved(market=name)
        self.give(removed if gone else builders.market(name, MARKETS[name]))

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        cause=st.sampled_from(("won",) * 4 + ("lost", "refused", "cancelled", "expired")),
    )
    def settle(self, data: st.DataObject, cause: str) -> None:
        """The market answers an order; a winner pays anything up to its hold."""
        bid = data.draw(st.sampled_from(sorted(self.open)))
        order = self.open.pop(bid)
        held = order.value_micros * order.level_max
        charge = data.draw(st.integers(0, held)) if cause == "won" else 0
        lease = ids.lease_id(order.market, bid) if cause == "won" else ""
        self.hear(order, cause, charge=charge, lease_id=lease)
        self.ended[bid] += 1  # the markets lane tells it
        if cause == "won":
            self.leases[lease] = (order, charge)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), cause=st.sampled_from(("voided", "ended")))
    def end(self, data: st.DataObject, cause: str) -> None:
        """A lease ends and gives some of its price back."""
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        order, paid = self.leases.pop(lease)
        refund = data.draw(st.integers(0, paid))
        self.hear(order, cause, refund=refund, lease_id=lease)

    def hear(self, order: orders.OrderPlaced, cause: str, **changes: Any) -> None:
        """The next settlement of the order's market."""
        source = MARKETS[order.market]
        self.heard[source] += 1
        event = builders.settled(
            order.bid_id, cause, self.heard[source], tenant=order.tenant, agent=order.agent,
            market=order.market, source=source, **changes,
        )  # fmt: skip
        self.give(event)

    @rule()
    def restart(self) -> None:
        """The shadow forgets everything and comes back from the changelog."""
        self.shadow.restart(self.changelog)
        assert builders.dump(self.shadow.state) == builders.dump(self.feed.state)

    @invariant()
    def the_books_balance(self) -> None:
        """The audit holds, and the ledger's entries add up to the balances."""
        state = self.feed.state
        assert isinstance(state, AccountsState)
        invariants.audit_accounts(state)
        balances = {name: row.micros for name, row in state.balances.items() if row.micros}
        assert balances == {name: micros for name, micros in self.folded.items() if micros}

    @invariant()
    def every_bid_has_one_end_or_one_hold(self) -> None:
        """A verified bid is either held or has ended, and that once."""
        held = {bid for bid, _ in self.feed.state.orders.items()}
        assert held == set(self.open)
        assert held | set(self.ended) == self.asked
        assert not held & set(self.ended)
        assert set(self.ended.values()) <= {1}

    @invariant()
    def records_have_ids_of_their_own(self) -> None:
        """No two outcomes or entries share an id, so a reader may keep the first."""
        assert set(self.told.values()) <= {1}


Accounts.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, derandomize=True, deadline=None,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
TestAccounts = Accounts.TestCase
TestAccounts.__doc__ = "Whatever the accounts hear, in any order, their books balance."
