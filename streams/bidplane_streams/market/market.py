"""What each record does to a market before the window closes.

Decides what a report, an order or a supply record changes. Refuses to clear: that is rounds.py,
which runs when the window closes.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.market import addresses, assigning, leases, renewals, transfers
from bidplane_streams.market.effects import DeadLetter, Effect, Emit, Input, SequenceGap
from bidplane_streams.market.market_rows import GENESIS, Lease, Market, MarketState
from bidplane_topics import ids, markets, orders, registry, reports, supply
from bidplane_topics import ledger as ledger_events
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection, sentence

__all__ = ["GENESIS", "Lease", "Market", "MarketState", "Turn"]

Request = (
    orders.CancelRequested
    | orders.ReleaseRequested
    | orders.OfferMade
    | orders.OfferAccepted
)  # fmt: skip
_ENDINGS: dict[str, tuple[OutcomeKind, Rejection | None]] = {
    "expired": ("ending", None),
    "released": ("ending", None),
    "pending_timeout": ("voided", Rejection.PENDING_TIMEOUT),
    "bind_timeout": ("voided", Rejection.BIND_TIMEOUT),
    "bind_failed": ("voided", Rejection.BIND_FAILED),
    "node_lost": ("ending", Rejection.NODE_LOST),
    "market_removed": ("ending", Rejection.MARKET_REMOVED),
}


class Turn:
    """Collects the records that one input or one closing causes."""

    def __init__(self, state: MarketState, now_ms: int) -> None:
        """``now_ms``: the record's append time, or the closing's."""
        self.state = state
        self.now_ms = now_ms
        self.out: list[Effect] = []

    # -- records -----------------------------------------------------------------------------------

    def record(self, given: Input) -> None:
        """Apply one record."""
        event = given.event
        match event:
            case markets.MarketDeclared():
                self.declared(event)
            case markets.MarketRemoved():
                self.removed(event)
            case markets.NodeAssigned():
                self.assigned(event, assigning.number_of(given.origin.offset))
            case supply.NodeOffered() | supply.NodeWithdrawn():
                self.supplied(event)
            case reports.SinkAlive():
                if (market := self.ours(event.market)) is not None:
                    self.put(market, alive_at_ms=self.now_ms)
            case reports.LeaseBound() | reports.LeaseFailed() | reports.LeaseReleased():
                self.report(event)
            case reports.NodeLost():
                self.node_lost(event)
            case (
                orders.OrderPlaced() | orders.CancelRequested() | orders.ReleaseRequested()
                | orders.OfferMade() | orders.OfferAccepted()
            ):  # fmt: skip
                self.order(event)
            case _:
                raise AssertionError(f"a market does not read {type(event).__name__}")

    def ours(self, name: str) -> Market | None:
        """The market, if the record speaks of it; else the record is misrouted."""
        market = self.state.only()
        if market is None or market.declared.market != name:
            self.out.append(
                DeadLetter(Rejection.MISROUTED, f"{name} is not on {self.state.partition}")
            )
            return None
        return market

    def put(self, market: Market, **changes: object) -> None:
        """Change the market's own row."""
        row = msgspec.structs.replace(market, **changes)
        self.state.market.put(market.declared.market, row)

    def declared(self, event: markets.MarketDeclared) -> None:
        """Every member reads every market: those of other partitions are none of ours."""
        if event.partition != self.state.partition:
            return
        market = self.state.only()
        if market is None:
            self.state.market.put(event.market, Market(event, event))
        elif market.declared.market != event.market:
            detail = f"partition {event.partition} belongs to {market.declared.market}"
            self.out.append(DeadLetter(Rejection.CONFLICT, detail))
        else:
            self.put(market, declared=event, removed=False)
            self.leave_unheld()

    def removed(self, event: markets.MarketRemoved) -> None:
        """No more orders; those in the book are settled when the window closes."""
        market = self.state.only()
        if market is not None and market.declared.market == event.market:
            self.put(market, removed=True)

    def report(
        self, event: reports.LeaseBound | reports.LeaseFailed | reports.LeaseReleased
    ) -> None:
        """Late and repeated reports change nothing: the lease's state and epoch decide."""
        row = self.state.leases.get(event.lease_id)
        market = self.ours(event.market)
        if market is None or row is None:
            return
        match event:
            case reports.LeaseBound():
                if (after := leases.bound(row.lease, self.now_ms, event.epoch)) is not None:
                    kept = self.keep(row, after)
                    binding_ms = renewals.measured(market, after, self.now_ms)
                    self.put(market, binding_ms=binding_ms)
                    if kept.sale is not None:
                        kept = transfers.completed(self, kept, kept.sale)
                    self.about(kept, "bound")
            case reports.LeaseFailed():
                if event.epoch == row.lease.epoch:
                    self.end(row, "bind_failed", {"detail": event.reason[:200]})
            case reports.LeaseReleased():
                if (after := leases.released(row.lease, event.epoch)) is not None:
                    self.about(self.give_back(row, after), "ended")
                    self.move_up(after)

    def assigned(self, event: markets.NodeAssigned, number: int) -> None:
        """A node is sold in one market from now on: all leave it, and that one's source offers it.

        That one leaves it too: what it was offered before counts no more, as others may have had
        the node meanwhile.
        """
        self.state.assigned.put(event.node, assigning.Assigned(event.market, number))
        self.withdraw(event.node)

    def supplied(self, event: supply.NodeOffered | supply.NodeWithdrawn) -> None:
        """A node is on sale as offered, or not at all."""
        if not self.ours(event.market):
            return
        if isinstance(event, supply.NodeWithdrawn):
            self.withdraw(event.node)
        elif assigning.counts(self.state.assigned, event):
            self.state.nodes.put(event.node, event)
            self.leave_unheld()

    def leave_unheld(self) -> None:
        """A standing market sells only what its claims hold."""
        market = self.state.only()
        if market is not None and market.declared.standing:
            for node in [node for node in self.state.nodes.values() if not node.held]:
                self.withdraw(node.node)

    def withdraw(self, node: str) -> None:
        """Nothing more is sold on this node."""
        self.state.nodes.remove(node)
        self.state.sellable.remove(node)

    def node_lost(self, event: reports.NodeLost) -> None:
        """The node leaves supply and its leases start to end."""
        if self.ours(event.market) is None:
            return
        self.withdraw(event.node)
        for row in list(self.state.leases.values()):
            if any(device.node == event.node for device in row.lease.devices):
                self.end(row, "node_lost", {"node": event.node})

    # -- orders ------------------------------------------------------------------------------------

    def order(self, event: orders.OrderPlaced | Request) -> None:
        """Apply the next record of an accounts partition.

        Raises:
            SequenceGap: it is not the next; money would be lost.
        """
        heard = self.state.heard.get(str(event.source)) or 0
        if event.seq != heard + 1:
            raise SequenceGap(f"accounts partition {event.source} sent {event.seq} after {heard}")
        self.state.heard.put(str(event.source), event.seq)
        market = self.state.only()
        ours = market is not None and market.declared.market == event.market
        match event:
            case orders.OrderPlaced():
                if ours and market is not None and not market.removed:
                    renewals.placed(self, market, event)
                else:  # the hold must come back whatever happened to the market
                    self.close_order(event, "refused", Rejection.MARKET_REMOVED)
            case orders.CancelRequested():
                order = self.state.book.get(event.bid_id)
                if order is None:
                    self.decline(event, Rejection.UNKNOWN_BID)
                else:
                    self.close_order(order, "cancelled", None)
            case orders.ReleaseRequested():
                row = self.state.leases.get(event.lease_id)
                if row is None or not self.end(row, "released"):
                    self.decline(event, Rejection.LEASE_ENDED, lease_id=event.lease_id)
            case orders.OfferMade():
                transfers.offered(self, event)
            case orders.OfferAccepted():
                transfers.accepted(self, event)

    def close_order(
        self, order: orders.OrderPlaced, cause: ledger_events.SettlementCause,
        reason: Rejection | None, evidence: dict[str, int | str] | None = None,
        window: int = 0,
    ) -> None:  # fmt: skip
        """An order ends without an award: free its hold, say why."""
        self.state.book.remove(order.bid_id)
        self.settle(
            order.bid_id, order.tenant, order.agent, order.source, cause, market=order.market
        )
        assert cause in ("refused", "lost", "cancelled", "expired")
        self.tell(
            OutcomeReported(
                outcome_id=ids.joined(cause, order.bid_id), kind=cause, tenant=order.tenant,
                agent=order.agent, at_ms=self.now_ms, bid_id=order.bid_id, market=order.market,
                window=window, reason=reason, sentence="" if reason is None else sentence(reason),
                evidence=evidence or {}, amount_micros=order.value_micros * order.level_max,
            ),
            order.source,
        )  # fmt: skip

    def decline(
        self, event: Request, reason: Rejection, *, lease_id: str = "", offer_id: str = ""
    ) -> None:
        """Say why a request changes nothing."""
        self.tell(
            OutcomeReported(
                outcome_id=ids.joined("declined", self.state.partition, event.source, event.seq),
                kind="declined", tenant=event.tenant, agent=event.agent, at_ms=self.now_ms,
                bid_id=event.bid_id, market=event.market,
                lease_id=lease_id, reason=reason, sentence=sentence(reason), offer_id=offer_id,
            ),
            event.source,
        )  # fmt: skip

    # -- leases ------------------------------------------------------------------------------------

    def keep(self, row: Lease, after: LeaseChanged) -> Lease:
        """Remember and publish a lease's new state."""
        self.out.append(Emit(registry.LEASES, self.state.partition, after.lease_id, after))
        return self.state.leases.put(after.lease_id, msgspec.structs.replace(row, lease=after))

    def end(
        self, row: Lease, cause: leases.Cause, evidence: dict[str, int | str] | None = None
    ) -> bool:
        """Start a lease's end and settle what it gives back; False where it has begun already."""
        after = leases.ending(row.lease, cause)
        if after is None:
            return False
        market = self.state.only()
        assert market is not None
        rules = market.rules
        row = msgspec.structs.replace(row, offer=None)
        kind, reason = _ENDINGS[cause]
        if row.sale is not None:
            transfers.fell_through(self, row.sale, self.keep(row, after), kind, reason, evidence)
            return True
        refund = leases.refund_micros(
            after, self.now_ms, rules.slot_ms, rules.release_fee_micros, row.earlier
        )
        never_bound = after.bound_at_ms == 0
        kept = self.keep(row, after)
        self.settle(
            after.bid_id, after.tenant, after.agent, row.source,
            "voided" if never_bound else "ended", market=after.market, refund_micros=refund,
            lease=after,
        )  # fmt: skip
        if kind == "voided" and not never_bound:
            kind = "ending"
        self.about(kept, kind, reason=reason, refund_micros=refund, evidence=evidence or {})
        return True

    def give_back(self, row: Lease, lease: LeaseChanged) -> Lease:
        """The devices are free: they are on sale from the next window."""
        self.state.leases.remove(lease.lease_id)
        self.out.append(Emit(registry.LEASES, self.state.partition, lease.lease_id, lease))
        for key in addresses.held(lease.devices):
            use = self.state.uses[key]
            # The epoch that the ending bumped to is spent: the next lease starts above it.
            epoch = max(use.epoch, lease.epoch)
            self.state.uses.put(key, use.left_by(lease.lease_id, epoch))
        return Lease(lease, row.source)

    def move_up(self, left: LeaseChanged) -> None:
        """Leases that waited for one that has left may stand once they wait for no other."""
        market = self.state.only()
        assert market is not None
        for name in self.state.holders_of(addresses.contested(left.devices)):
            row = self.state.leases[name]
            if left.lease_id not in row.waits_for:
                continue
            waits = tuple(other for other in row.waits_for if other != left.lease_id)
            row = msgspec.structs.replace(row, waits_for=waits)
            self.state.leases.put(name, row)
            after = leases.awarded(row.lease, self.now_ms + market.rules.bind_deadline_ms)
            if after is not None and not waits:
                self.keep(row, after)

    def settle(
        self, bid_id: str, tenant: str, agent: str, source: int,
        cause: ledger_events.SettlementCause, *, market: str, charge_micros: int = 0,
        refund_micros: int = 0, paid_micros: int = 0, refundable_micros: int = 0,
        lease: LeaseChanged | None = None,
    ) -> None:  # fmt: skip
        """Tell the accounts lane what becomes of the money."""
        epoch = 0 if lease is None else lease.epoch
        event = ledger_events.Settled(
            settlement_id=ids.joined(market, bid_id, cause, epoch), market=market, bid_id=bid_id,
            tenant=tenant, agent=agent, cause=cause, charge_micros=charge_micros,
            refund_micros=refund_micros, paid_micros=paid_micros,
            refundable_micros=refundable_micros, lease_id="" if lease is None else lease.lease_id,
            epoch=epoch, source=self.state.partition, seq=self.state.next_seq(source),
        )  # fmt: skip
        self.out.append(Emit(registry.SETTLEMENTS, source, bid_id, event))

    # -- telling -----------------------------------------------------------------------------------

    def about(
        self, row: Lease, kind: OutcomeKind, *, reason: Rejection | None = None,
        refund_micros: int = 0, amount_micros: int = 0, offer_id: str = "",
        evidence: dict[str, int | str] | None = None,
    ) -> None:  # fmt: skip
        """Tell the holder what happened to a lease."""
        lease = row.lease
        outcome = OutcomeReported(
            outcome_id=ids.joined(kind, lease.lease_id, lease.epoch), kind=kind,
            tenant=lease.tenant, agent=lease.agent, at_ms=self.now_ms, bid_id=lease.bid_id,
            market=lease.market, window=lease.window, reason=reason,
            sentence="" if reason is None else sentence(reason), evidence=evidence or {},
            price_micros=lease.price_micros, refund_micros=refund_micros,
            lease_id=lease.lease_id, epoch=lease.epoch, level=lease.level,
            market_pool=lease.market_pool,
            devices=lease.devices if kind in ("won", "bound") else (),
            ends_at_ms=lease.ends_at_ms, grace_until_ms=lease.grace_until_ms,
            amount_micros=amount_micros, offer_id=offer_id,
        )  # fmt: skip
        self.tell(outcome, row.source)

    def tell(self, outcome: OutcomeReported, source: int) -> None:
        """Write an outcome to the bidder's tenant partition."""
        key = ids.agent_id(outcome.tenant, outcome.agent)
        self.out.append(Emit(registry.OUTCOMES, source, key, outcome))
