"""Sales between two agents, exhausted: every order of what agents, sinks and time may do.

Decides what may happen to a lease that is on offer. Refuses to know what should follow: money,
devices and settlements are checked after every step, and everything must come to rest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import builders
from bazaar import BUYER, SELLER, Bazaar
from bazaar_walks import PRICE, Walker, reached
from bidplane_streams.market import ledger
from bidplane_topics import bids, ids, offers, reports

DEPTH = 5


class Deal(Walker):
    """A bazaar whose seller's lease is bound and offered; every event is one method call."""

    # And of the market: its window, and what it froze when that opened.
    counted = (*Walker.counted, "market/", "sellable/")

    def on_offer(self) -> Deal:
        """The seller has a lease of two devices and has offered it."""
        self.old = self.won().lease_id
        self.sink()
        self.offer(self.old, PRICE)
        self.audit()
        return self


def bought(deal: Deal) -> list[str]:
    """The leases that the buyer has or waits for."""
    rows = deal.market.state.leases.values()
    return [row.lease.lease_id for row in rows if row.lease.bought_from]


def buyer_releases(deal: Deal) -> None:
    """The buyer gives back what it has, or what it will have."""
    for lease_id in bought(deal) or ["nothing"]:
        deal.release(BUYER, lease_id)


EVENTS: dict[str, Callable[[Deal], object]] = {
    "accept": Deal.accepted,
    "offer for more": lambda deal: deal.offer(deal.old, PRICE + 1),
    "offer to another": lambda deal: deal.offer(deal.old, PRICE, to=("u", "c")),
    "release": lambda deal: deal.release(SELLER, deal.old),
    "buyer releases": buyer_releases,
    "bound": lambda deal: deal.report_all(reports.LeaseBound),
    "failed": lambda deal: deal.report_all(reports.LeaseFailed),
    "released": lambda deal: deal.report_all(reports.LeaseReleased),
    "node lost": lambda deal: deal.give(reports.NodeLost(market="m", node="n0", reason="x")),
    "time": Deal.window,
    "post": lambda deal: deal.deliver(),
}


@pytest.mark.parametrize("pending_ms", [0, 7000])
def test_any_sequence_of_events_settles_a_sale_once_and_comes_to_rest(pending_ms: int) -> None:
    """After any five events nobody is paid twice, no device has two holders, and all ends well."""
    found = reached(Deal(pending_ms=pending_ms, release_fee_micros=7).on_offer(), EVENTS, DEPTH)
    causes = {one.split("|")[2] for deal in found for one in deal.settled}
    assert causes >= {"won", "declined", "bought", "sold", "ended"}
    for deal in found[:: len(found) // 150 or 1]:
        deal.rest()
        ends = [one for one in deal.settled if one.split("|")[2] in ("voided", "ended", "sold")]
        assert len(ends) == len({one.rpartition("|")[0].rpartition("|")[0] for one in ends})


class Sales(RuleBasedStateMachine):
    """Two partitions of accounts hear of sales in any order and pace; money is conserved."""

    def __init__(self) -> None:
        """A bazaar, and accounts that restart at random."""
        super().__init__()
        self.world = Bazaar()
        self.known: list[str] = []
        self.mine: list[tuple[tuple[str, str], str]] = []

    @initialize(pending_ms=st.sampled_from((0, 4000)), fee=st.integers(0, 40))
    def begin(self, pending_ms: int, fee: int) -> None:
        """A market of these rules, and a first lease."""
        self.world = Bazaar(pending_ms=pending_ms, release_fee_micros=fee)
        self.mine.append((SELLER, self.world.won().lease_id))
        self.world.sink()

    @rule(who=st.sampled_from((SELLER, BUYER)), value=st.sampled_from((300, 70_000)))
    def bid(self, who: tuple[str, str], value: int) -> None:
        """One of them bids for devices of its own."""
        way = builders.alternative("4", 6000)
        bid = self.world.say(who, builders.place(value, way))
        self.mine.append((who, ids.lease_id("m", bid)))

    @rule(data=st.data(), price=st.sampled_from((0, 7, 5000, 2_000_000)), swap=st.booleans())
    def offer(self, data: st.DataObject, price: int, *, swap: bool) -> None:
        """One offers the other a lease, not always its own."""
        who, lease_id = data.draw(st.sampled_from(self.mine))
        other = BUYER if who == SELLER else SELLER
        seller, buyer = (other, who) if swap and price == 7 else (who, other)
        name = ids.agent_id(*buyer)
        self.world.say(seller, bids.Offer(lease_id=lease_id, to=name, price_micros=price))
        self.known.append(offers.offer_id(offers.Terms("m", lease_id, name, price)))

    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        """One takes an offer, not always one to itself, not always one that stands."""
        offer = data.draw(st.sampled_from([*self.known[-5:], "offer:m:l:u/b:1:0"]))
        terms = offers.terms_of(offer)
        who = SELLER if terms is not None and terms.to == ids.agent_id(*SELLER) else BUYER
        command = self.world.say(who, bids.Accept(offer_id=offer))
        self.mine.append((who, ids.lease_id("m", command)))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """One gives a lease back."""
        self.world.release(*data.draw(st.sampled_from(self.mine)))

    @rule(after_ms=st.sampled_from((1, 1000, 1000, 6000)))
    def window(self, after_ms: int) -> None:
        """The window closes."""
        self.world.alive()
        self.world.close(after_ms)

    @rule(kind=st.sampled_from((reports.LeaseBound, reports.LeaseReleased, reports.LeaseReleased)))
    def sink(self, kind: type) -> None:
        """The sink does half of its work."""
        for row in list(self.world.market.state.leases.values()):
            self.world.report(row.lease.lease_id, kind)

    @rule(partition=st.sampled_from((0, 1)))
    def post(self, partition: int) -> None:
        """One partition reads one settlement; the other may lag behind for long."""
        self.world.deliver(partition)

    @rule()
    def restart(self) -> None:
        """All lanes forget everything and come back from what they wrote."""
        self.world = self.world.copy()

    @invariant()
    def the_books_balance(self) -> None:
        """Every partition's accounts add up, and no device has two holders."""
        self.world.audit()

    @invariant()
    def transit_is_what_one_side_has_not_heard(self) -> None:
        """Between the partitions is exactly the money of sales that one of them has still to book.

        A seller may be paid before the buyer's partition has read that it pays.
        """
        waiting = [one for mail in self.world.mail for one in mail]
        open_micros = sum(one.paid_micros - one.charge_micros for one in waiting
                          if one.cause in ("bought", "sold"))  # fmt: skip
        assert self.world.system(ledger.TRANSIT) == open_micros

    def teardown(self) -> None:
        """Whatever happened, everything comes to rest."""
        self.world.deliver()
        self.world.rest()


Sales.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, derandomize=True, deadline=None,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
TestSales = Sales.TestCase
TestSales.__doc__ = "Whatever two agents sell each other, in any order, their books balance."
