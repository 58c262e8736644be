"""Offers and acceptances between agents, as the accounts lane passed them on.

Decides which offer a command should have made, and that exactly its price was held for who accepts.
Refuses to know whether an offer stood: the market's replay does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bidplane_agents.audit.answers import balances
from bidplane_agents.audit.books import missing
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.money import Balances, Group, Movement
from bidplane_agents.audit.settlements import available, hold
from bidplane_agents.audit.signatures import Signed
from bidplane_topics import bids, ids, offers, orders, registry
from bidplane_topics.rejections import Rejection

if TYPE_CHECKING:
    from bidplane_agents.audit.accounts import Accounts

OPEN_ORDERS_MAX = 4_096


class Dealings:
    """What one partition's agents offered and accepted; ``held`` by acceptance."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts, self.findings = accounts, accounts.findings
        self.books, self.partition = accounts.books, accounts.partition
        self.held: dict[str, int] = {}

    def offered(self, signed: Signed, index: int, offer: bids.Offer) -> None:
        """An offer was passed on as it was signed, or declined for a reason."""
        command = signed.bid_id(index)
        made = self.accounts.requests.dealt(command)
        if made is None:
            reasons = {Rejection.UNKNOWN_LEASE, Rejection.MARKET_REMOVED}
            if not offers.is_agent(offer.to):
                reasons.add(Rejection.UNKNOWN_AGENT)
            if signed.is_late:
                reasons = {Rejection.EXPIRED}
            self.accounts.answers.expect(
                signed.record, "declined", command, signed.whose, reasons=reasons,
                lease_id=offer.lease_id,
            )  # fmt: skip
            return
        found: orders.OfferMade = made.event
        terms = offers.Terms(found.market, offer.lease_id, offer.to, offer.price_micros)
        wanted = orders.OfferMade(
            v=found.v, offer_id=offers.offer_id(terms), command_id=command,
            lease_id=ids.lease_id(found.market, found.bid_id), bid_id=found.bid_id,
            tenant=signed.whose[0], agent=signed.whose[1], market=found.market, to=offer.to,
            price_micros=offer.price_micros, source=self.partition, seq=found.seq,
        )  # fmt: skip
        self.findings.same(1, wanted, found, made.record, f"offer {command}")
        right = not signed.is_late and offers.is_agent(offer.to)
        self.findings.check(1, right, made.record, f"offer {command}", "declined", "passed on")
        self._partition_of(made, found.market)

    def accepted(
        self, signed: Signed, index: int, accept: bids.Accept, had: Balances | None,
        rest: list[Seen],
    ) -> tuple[Balances | None, list[Seen]]:  # fmt: skip
        """Returns the balances after it, and the entries that later commands must explain."""
        command, terms = signed.bid_id(index), offers.terms_of(accept.offer_id)
        held = self.books.outcomes.find(f"held|{command}")
        made = self.accounts.requests.dealt(command)
        posted = rest[0] if rest and rest[0].event.reference == command else None
        if held is None and made is None and posted is None:
            self._declined(signed, command, accept, terms, had)
            return had, rest
        at = signed.record if held is None else held.record
        if terms is None or signed.is_late or terms.to != signed.agent_id:
            self.findings.check(2, False, at, f"acceptance {command}", "a refusal", "held")
            return had, rest
        price, owner = terms.price_micros, signed.agent_id
        if price and (had is None or posted is None or had.available_micros < price):
            self.findings.check(2, False, at, f"acceptance {command}", "its price held", had)
            return had, rest
        if posted is not None:
            move = Movement("hold", available(owner), hold(owner), price, command, owner)
            group = Group(signed.record.origin, [posted])
            self.accounts.money.compare(group, signed.record, [move])
        if had is not None:
            had = Balances(had.available_micros - price, had.held_micros + price)
        self.accounts.ordered_by[signed.whose] += 1
        self.held[command] = price
        told = self.accounts.answers.expect(
            signed.record, "held", command, signed.whose, bid_id=command, market=terms.market,
            amount_micros=price, offer_id=accept.offer_id,
        )  # fmt: skip
        if had is not None:
            self.accounts.answers.balances_told(told, had)
        self._passed_on(signed, command, terms, accept, made)
        return had, rest if posted is None else rest[1:]

    def _passed_on(
        self, signed: Signed, command: str, terms: offers.Terms, accept: bids.Accept,
        made: Seen | None,
    ) -> None:  # fmt: skip
        if made is None:
            at = missing(registry.ORDERS, 0, signed.record.timestamp_ms)
            what = f"acceptance {command} with money held"
            self.findings.check(1, False, at, what, "a request", "none")
            return
        found: orders.OfferAccepted = made.event
        wanted = orders.OfferAccepted(
            v=found.v, offer_id=accept.offer_id, lease_id=terms.lease_id, bid_id=command,
            tenant=signed.whose[0], agent=signed.whose[1], market=terms.market,
            price_micros=terms.price_micros, source=self.partition, seq=found.seq,
        )  # fmt: skip
        self.findings.same(2, wanted, found, made.record, f"acceptance {command}")
        self._partition_of(made, terms.market)

    def _partition_of(self, made: Seen, market: str) -> None:
        declared = self.accounts.declared
        named = [one.event.partition for one in declared if one.event.market == market]
        if named:
            self.findings.same(
                6, named[0], made.record.partition, made.record, "the partition of a request"
            )

    def _declined(
        self, signed: Signed, command: str, accept: bids.Accept, terms: offers.Terms | None,
        had: Balances | None,
    ) -> None:  # fmt: skip
        reasons = {Rejection.EXPIRED}
        if not signed.is_late:
            reasons = self._reasons(signed, command, terms, had)
        self.findings.check(
            1, bool(reasons), signed.record, f"acceptance {command}", "money held", "nothing"
        )
        self.accounts.answers.expect(
            signed.record, "declined", command, signed.whose,
            reasons=reasons or {Rejection.NO_FUNDS}, bid_id=command, offer_id=accept.offer_id,
        )  # fmt: skip

    def _reasons(
        self, signed: Signed, command: str, terms: offers.Terms | None, had: Balances | None
    ) -> set[Rejection]:
        """Every true reason against holding money for these terms."""
        if terms is None or terms.to != signed.agent_id:
            return {Rejection.UNKNOWN_OFFER}
        reasons = set()
        if self.accounts.may_be_unknown(terms.market, signed.record):
            reasons.add(Rejection.UNKNOWN_MARKET)
        told = self.books.outcomes.find(f"declined|{command}")
        if had is None and told is not None:
            had = balances(told.event)  # the claim itself is checked with the evidence
        if had is None or had.available_micros < terms.price_micros:
            reasons.add(Rejection.NO_FUNDS)
        if self.accounts.ordered_by[signed.whose] >= OPEN_ORDERS_MAX:
            reasons.add(Rejection.TOO_MANY_ORDERS)
        return reasons
