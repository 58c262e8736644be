"""Renewals, exhausted: every order of what the holder, a rival, sinks and time may do.

Decides what may happen to a lease that could be renewed. Refuses to know what should follow: money,
devices and settlements are checked after every step, and everything must come to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import builders
from bazaar import BUYER, SELLER
from bazaar_walks import PRICE, Walker, reached
from bidplane_topics import bids, ids, reports
from bidplane_topics.outcomes import TERMINAL_BID_KINDS

DEPTH = 4
TERM_MS = 4000


class Term(Walker):
    """A bazaar whose seller has a lease of two devices that ends after the next window.

    Its bid for another term is in the book.
    """

    def held(self) -> Term:
        """The seller has its lease, and it is bound."""
        way = builders.alternative("2", TERM_MS)
        bid = self.say(SELLER, builders.place(10**5, way))
        self.close()
        self.deliver()
        self.old = ids.lease_id("m", bid)
        self.sink()
        self.renew(20_000)
        self.audit()
        return self

    def renew(self, value: int, **more: Any) -> None:
        """The seller bids for another term."""
        way = builders.alternative("2", TERM_MS)
        self.say(SELLER, builders.place(value, way, renews=self.old, **more))

    def rival(self) -> None:
        """The buyer bids for all devices of the node, for one window."""
        self.say(BUYER, builders.place(300_000, builders.alternative("8", 2000)))


EVENTS: dict[str, Callable[[Term], object]] = {
    "renew": lambda term: term.renew(20_000),
    "rival": Term.rival,
    "time": Term.window,
    "offer": lambda term: term.offer(term.old, PRICE),
    "accept": Term.accepted,
    "release": lambda term: term.release(SELLER, term.old),
    "bound": lambda term: term.report_all(reports.LeaseBound),
    "released": lambda term: term.report_all(reports.LeaseReleased),
    "failed": lambda term: term.report_all(reports.LeaseFailed),
    "node lost": lambda term: term.give(reports.NodeLost(market="m", node="n0", reason="x")),
    "post": lambda term: term.deliver(),
}


def test_any_sequence_of_events_comes_to_rest_and_is_paid_once() -> None:
    """Renewed, lost or sold, after any four events a lease is settled once and ends well."""
    found = reached(Term(pending_ms=7000, release_fee_micros=7).held(), EVENTS, DEPTH)
    seen: Counter[str] = Counter()
    for term in found:
        row = term.market.state.leases.get(term.old)
        seen["renewed"] += row is not None and row.lease.term > 0
        seen["awaited"] += row is not None and term.market.state.is_awaited(row.lease)
        seen["sold"] += row is not None and row.lease.cause == "transferred" and row.lease.term > 0
    assert min(seen[what] for what in ("renewed", "awaited", "sold")) > 0, seen
    for term in found[:: len(found) // 150 or 1]:
        term.rest()
        ends = [one for one in term.settled if one.split("|")[2] in ("voided", "ended", "sold")]
        assert len(ends) == len({one.rpartition("|")[0].rpartition("|")[0] for one in ends})


def test_a_holder_that_renews_for_ever_pays_for_every_term() -> None:
    """Ten terms are ten charges, one bound report, and one end that gives back what is left."""
    term = Term(pending_ms=7000, slot_ms=100).held()
    for number in range(1, 11):
        while term.lease(term.old).term < number:
            term.alive()
            term.close(1000)
            term.deliver()
            term.audit()
        term.renew(50_000)
    lease = term.lease(term.old)
    assert lease.ends_at_ms == lease.bound_at_ms + 11 * TERM_MS
    before = term.balance(SELLER)[0]
    term.release(SELLER, term.old)
    term.deliver()
    assert term.balance(SELLER)[0] - before > lease.price_micros
    assert [one.split("|")[2] for one in term.settled].count("won") == 11
    term.rest()


def test_a_renewal_that_loses_frees_its_hold() -> None:
    """The loser's money is free again at once, and the lease runs to its end."""
    term = Term(pending_ms=7000).held()
    term.rival()
    held = term.balance(SELLER)[1]
    term.window()
    term.deliver()
    assert held == 20_000
    assert term.balance(SELLER)[1] == 0
    assert term.lease(term.old).state == "bound"
    term.rest()


def test_every_word_on_a_renewal_is_told_once() -> None:
    """A renewal that rests through a silent sink is settled by one word, won or lost."""
    term = Term(pending_ms=7000, stale_after_ms=2500).held()
    (first,) = (one for one in term.market.state.book.values() if one.renews)
    term.say(SELLER, bids.Cancel(bid_id=first.bid_id))
    term.renew(20_000, rest_until_ms=term.market.now_ms + 60_000)
    term.close(3000)  # nobody heard the sink for three seconds
    assert term.lease(term.old).term == 0
    term.alive()
    term.close(999)
    assert term.lease(term.old).term == 1
    term.rest()
    last = [one.kind for one in term.told if one.kind in TERMINAL_BID_KINDS]
    assert last == ["won", "cancelled", "won"]
