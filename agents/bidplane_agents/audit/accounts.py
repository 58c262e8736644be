"""What the accounts lane did with every record it read: one effect and one answer each.

Decides what each command, grant and settlement should have led to, given the money at its place in
the ledger. Refuses to know what markets answered.
"""

from __future__ import annotations

from collections import Counter

from bidplane_agents.audit import admission
from bidplane_agents.audit.answers import Answers, balances
from bidplane_agents.audit.books import Books, missing
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.dealings import Dealings
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.money import Balances, Group, Money, Movement
from bidplane_agents.audit.requests import Requests, reach_of_bids
from bidplane_agents.audit.settlements import REFUNDS, available, hold
from bidplane_agents.audit.signatures import Keys, Signed, verified
from bidplane_topics import agents, bids, envelope, ids, ledger, markets, orders, registry, transit
from bidplane_topics.rejections import Rejection

# Between the declaration of a market and the moment at which a lane surely knows it.
SPREAD_MS = 60_000
OPEN_ORDERS_MAX = 4_096


class Accounts:
    """One partition of tenants, audited."""

    def __init__(self, books: Books, money: Money, findings: Findings) -> None:
        """``money`` must have been folded."""
        self.books, self.money, self.findings = books, money, findings
        self.contents, self.partition = books.contents, money.partition
        self.answers = Answers(books, self.partition, findings)
        self.requests = Requests(books, self.partition)
        self.dealings = Dealings(self)
        self._sequences: dict[str, int] = {}
        self.ordered_by: Counter[tuple[str, str]] = Counter()
        self.reach = reach_of_bids(books, money)
        keys = Keys(self.contents, self.partition)
        self.signed = verified(self.contents, keys, self.partition, self.reach, findings)
        every = list(self.contents.all(registry.MARKETS))
        self.declared = [one for one in every if isinstance(one.event, markets.MarketDeclared)]
        self._removed = {
            one.event.market for one in every if isinstance(one.event, markets.MarketRemoved)
        }

    def audit(self) -> None:
        """Check every command, grant and settlement that the lane has read."""
        for signed in self.signed:
            if signed.record.offset > self.reach:
                self.findings.left_open("envelopes not judged yet")
                self.requests.excuse(signed)
            else:
                self._envelope(signed)
        self._words_of_operators()
        for one in self.contents.of(registry.SETTLEMENTS, self.partition):
            self._settlement(one)
        if not self._forgotten():
            self.requests.check_made(self.findings)
            self._nobodys_money()
        self.answers.check_evidence(self.money.history)

    def _words_of_operators(self) -> None:
        """Registrations, grants and what an organisation gave."""
        for one in self.contents.of(registry.AGENTS, self.partition):
            if isinstance(one.event, agents.AgentRegistered):
                self._registration(one)
        for one in self.contents.of(registry.ACCOUNTS, self.partition):
            if isinstance(one.event, agents.CreditGranted):
                self._grant(one)
        for one in self.contents.of(registry.TRANSIT, self.partition):
            if isinstance(one.event, transit.CreditSent):
                self._arrival(one)

    def _forgotten(self) -> bool:
        """Whether bids are older than their log: commands of then cannot be found."""
        return bool(self.contents.log.begins(registry.BIDS.name, self.partition))

    def _nobodys_money(self) -> None:
        """Entries that bids caused were caused by somebody's word."""
        words = {signed.record.origin for signed in self.signed}
        for origin, group in self.money.groups.items():
            if origin[0] == registry.BIDS.name:
                self.findings.check(
                    2, origin in words, group.entries[0].record, "the cause of a hold",
                    "a signed envelope", origin,
                )  # fmt: skip

    # -- envelopes ---------------------------------------------------------------------------------

    def _envelope(self, signed: Signed) -> None:
        last, sequence = self._sequences.get(signed.key_id), signed.envelope.sequence
        place = ids.joined(*signed.record.origin)
        refused = self.books.outcomes.find(f"replayed|{place}") is not None
        if last is None and self._forgotten() and refused:
            self.books.outcomes.claim(f"replayed|{place}")
        elif last is not None and sequence <= last:
            self.answers.expect(
                signed.record, "replayed", place, signed.whose, reasons={Rejection.REPLAYED}
            )
            self.findings.check(
                6, signed.record.origin not in self.money.groups, signed.record,
                "a replayed envelope", "no money moved", "entries of the ledger",
            )  # fmt: skip
        else:
            self.findings.check(
                6, not refused, signed.record, f"sequence {sequence} after {last}",
                "its commands", "refused as a replay",
            )  # fmt: skip
            self._sequences[signed.key_id] = sequence
            self._commands(signed)

    def _commands(self, signed: Signed) -> None:
        """Judge the commands in order, with the money that the ledger shows at this place."""
        group = self.money.groups.get(signed.record.origin)
        rest = [] if group is None else group.own()
        had = self.money.before.get(signed.record.origin)
        for index, command in enumerate(signed.envelope.commands):
            match command.chosen():
                case bids.Place() as place:
                    had, rest = self._placed(signed, index, place, had, rest)
                case bids.Cancel() as cancel:
                    unknown = {Rejection.UNKNOWN_BID, Rejection.MARKET_REMOVED}
                    self._asked(signed, index, unknown, bid_id=cancel.bid_id)
                case bids.Release() as release:
                    unknown = {Rejection.UNKNOWN_LEASE, Rejection.MARKET_REMOVED}
                    self._asked(signed, index, unknown, lease_id=release.lease_id)
                case bids.Offer() as offer:
                    self.dealings.offered(signed, index, offer)
                case bids.Accept() as accept:
                    had, rest = self.dealings.accepted(signed, index, accept, had, rest)
        for one in rest:
            self.findings.check(
                2, False, one.record, "an entry that no command explains", "none", one.event
            )

    def _placed(
        self, signed: Signed, index: int, place: bids.Place, had: Balances | None,
        rest: list[Seen],
    ) -> tuple[Balances | None, list[Seen]]:  # fmt: skip
        """Returns the balances after this bid, and the entries that later bids must explain."""
        bid = signed.bid_id(index)
        held = self.books.outcomes.find(f"held|{bid}")
        order = self.books.orders.claim(bid)
        posted = rest[0] if rest and rest[0].event.reference == bid else None
        if held is None and order is None and posted is None:
            self._refused(signed, index, place, had)
            return had, rest
        covered = None
        if had is not None and not signed.is_late:
            covered = admission.admitted(place, had.available_micros)
        at = signed.record if held is None else held.record
        if had is None or covered is None or posted is None:
            wanted = "money held in the ledger" if had is None or covered else "a refusal"
            self.findings.check(2, False, at, f"bid {bid}", wanted, "held")
            return had, rest
        amount, owner = covered[0] * covered[1], signed.agent_id
        move = Movement("hold", available(owner), hold(owner), amount, bid, owner)
        group = Group(signed.record.origin, [posted])
        self.money.compare(group, signed.record, [move])
        had = Balances(had.available_micros - amount, had.held_micros + amount)
        self.ordered_by[signed.whose] += 1
        told = self.answers.expect(
            signed.record, "held", bid, signed.whose, bid_id=bid, market=place.market,
            amount_micros=amount,
        )  # fmt: skip
        self.answers.balances_told(told, had)
        self._ordered(signed, index, place, covered, order)
        return had, rest[1:]

    def _ordered(
        self, signed: Signed, index: int, place: bids.Place, covered: tuple[int, int],
        order: Seen | None,
    ) -> None:  # fmt: skip
        bid, one = signed.bid_id(index), signed.envelope
        named = [
            seen.event.partition for seen in self.declared if seen.event.market == place.market
        ]
        if order is None:
            at = missing(registry.ORDERS, named[0] if named else 0, signed.record.timestamp_ms)
            self.findings.check(1, False, at, f"bid {bid} with money held", "an order", "none")
            return
        found: orders.OrderPlaced = order.event
        if named:
            self.findings.same(
                6, named[0], order.record.partition, order.record, "the partition of an order"
            )
        expected = orders.OrderPlaced(
            v=found.v, bid_id=bid, tenant=one.tenant, agent=one.agent, market=place.market,
            source=self.partition, seq=found.seq, sequence=one.sequence, index=index,
            mode=place.mode, value_micros=covered[0], level_min=place.level_min,
            level_max=covered[1], not_before_ms=place.not_before_ms,
            rest_until_ms=place.rest_until_ms, alternatives=place.alternatives,
            seal=envelope.seal_of(signed.record.headers), renews=place.renews,
        )  # fmt: skip
        self.findings.same(2, expected, found, order.record, f"order {bid}")

    def _refused(self, signed: Signed, index: int, place: bids.Place, had: Balances | None) -> None:
        bid, reasons = signed.bid_id(index), {Rejection.EXPIRED}
        if not signed.is_late:
            reasons = set()
            if self.may_be_unknown(place.market, signed.record):
                reasons.add(Rejection.UNKNOWN_MARKET)
            told = self.books.outcomes.find(f"refused|{bid}")
            if had is None and told is not None:
                had = balances(told.event)  # the claim itself is checked with the evidence
            if had is None or admission.admitted(place, had.available_micros) is None:
                reasons.add(Rejection.NO_FUNDS)
            # How many of them were settled by then, no record says: that many were made at all.
            if self.ordered_by[signed.whose] >= OPEN_ORDERS_MAX:
                reasons.add(Rejection.TOO_MANY_ORDERS)
        self.findings.check(
            1, bool(reasons), signed.record, f"bid {bid}", "money held for it", "nothing"
        )
        self.answers.expect(
            signed.record, "refused", bid, signed.whose,
            reasons=reasons or {Rejection.NO_FUNDS}, bid_id=bid, market=place.market,
        )  # fmt: skip

    def may_be_unknown(self, market: str, record: Record) -> bool:
        """Whether the lane may not have known the market: undeclared, removed, or just made."""
        known = [
            one.record.timestamp_ms for one in self.declared if one.event.market == market
        ]  # fmt: skip
        if market in self._removed or not known:
            return True
        return record.timestamp_ms - min(known) < SPREAD_MS

    def _asked(
        self, signed: Signed, index: int, unknown: set[Rejection], bid_id: str = "",
        lease_id: str = "",
    ) -> None:  # fmt: skip
        """A cancel or release was passed on to its market, or declined."""
        command = signed.bid_id(index)
        declined = self.books.outcomes.find(f"declined|{command}") is not None
        made = None if declined or signed.is_late else self.requests.take(bid_id, lease_id)
        if made is None:
            self.answers.expect(
                signed.record, "declined", command, signed.whose,
                reasons={Rejection.EXPIRED} if signed.is_late else unknown, bid_id=bid_id,
                lease_id=lease_id,
            )  # fmt: skip
            return
        event = made.event
        self.findings.same(1, signed.whose, (event.tenant, event.agent), made.record, "who asked")
        order = self.books.orders.find(event.bid_id)
        if order is not None:
            subject = lease_id == ids.lease_id(event.market, event.bid_id) or bid_id == event.bid_id
            right = subject and order.event.market == event.market
            market = order.event.market
            self.findings.check(1, right, made.record, "a request's subject", market, event)

    # -- registrations, grants and settlements ---------------------------------------------------

    def _registration(self, one: Seen) -> None:
        event: agents.AgentRegistered = one.event
        place = ids.joined(*one.record.origin)
        told = self.books.outcomes.find(f"registered|{place}")
        if told is None:
            if one.record.origin not in self.contents.dead:
                self.findings.left_open("registrations without an answer")
            return
        self.answers.expect(one.record, "registered", place, (event.tenant, event.agent))

    def _grant(self, one: Seen) -> None:
        event: agents.CreditGranted = one.event
        group = self.money.groups.get(one.record.origin)
        if group is not None and group.own():
            if event.agent:
                self.answers.expect(
                    one.record, "granted", event.grant_id, (event.tenant, event.agent),
                    owed=not self.contents.late(group.entries[0]),
                    amount_micros=event.amount_micros,
                )  # fmt: skip
            return
        read = one.record.offset <= self.money.reach.get(registry.ACCOUNTS.name, -1)
        moves = event.amount_micros > 0 and (event.source == "treasury" or event.agent)
        if read and moves and one.record.origin not in self.contents.dead:
            again = self.money.was_granted(event.grant_id)
            self.findings.check(
                2, again, one.record, f"grant {event.grant_id}", "its entries", "none"
            )

    def _arrival(self, one: Seen) -> None:
        """An agent that money from its organisation reached was told; where it went: transits."""
        event: transit.CreditSent = one.event
        group = self.money.groups.get(one.record.origin)
        if event.agent and group is not None and group.own():
            self.answers.expect(
                one.record, "granted", event.transfer_id, (event.tenant, event.agent),
                owed=not self.contents.late(group.entries[0]), amount_micros=event.amount_micros,
            )  # fmt: skip

    def _moves(self, event: ledger.Settled) -> bool:
        """Whether a settlement must have moved money."""
        if event.cause in REFUNDS:
            return event.refund_micros > 0
        if event.cause == "declined":
            return self.dealings.held.get(event.bid_id, 0) > 0
        dealt = event.cause in ("bought", "sold")
        return not dealt or event.charge_micros + event.paid_micros > 0

    def _settlement(self, one: Seen) -> None:
        event: ledger.Settled = one.event
        told = self.books.outcomes.find(f"settled|{event.settlement_id}")
        group = self.money.groups.get(one.record.origin)
        read = one.record.offset <= self.money.reach.get(registry.SETTLEMENTS.name, -1)
        if told is None and group is None and not read:
            self.findings.left_open("settlements not booked yet")
            return
        fresh = any(
            traced is not None and self.contents.late(traced)
            for traced in (told, None if group is None else group.entries[0])
        )
        moves = self._moves(event)
        self.findings.check(
            2, group is not None or fresh or not moves, one.record,
            f"settlement {event.settlement_id}", "its entries", "none",
        )  # fmt: skip
        self.answers.expect(
            one.record, "settled", event.settlement_id, (event.tenant, event.agent),
            owed=not fresh, bid_id=event.bid_id, market=event.market, lease_id=event.lease_id,
            price_micros=event.charge_micros, refund_micros=event.refund_micros,
            amount_micros=event.paid_micros, epoch=event.epoch,
        )  # fmt: skip
