"""A market's life between two closings, replayed from its inputs: supply, reports and orders.

Decides what each record should have changed and caused. Refuses to clear, which closing.py does. A
second telling of the market's rules (DESIGN, "Rules that settle the hard cases"), slow and from the
log alone.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from bidplane_agents.audit import inventory, occupancy
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.drift import Drift
from bidplane_agents.audit.expected import Expected, settlement
from bidplane_agents.audit.renewals import Renewals, leave_ms
from bidplane_agents.audit.sales import LIVE, Sales
from bidplane_topics import ids, ledger, markets, orders, registry, reports, supply
from bidplane_topics.leases import EndCause, LeaseChanged
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection

GENESIS: Final = "0" * 64
# What the holder is told of an ending, and whether the platform pays for it in full.
_ENDINGS: Final[dict[EndCause, tuple[OutcomeKind, Rejection | None, bool]]] = {
    "expired": ("ending", None, False),
    "released": ("ending", None, False),
    "pending_timeout": ("voided", Rejection.PENDING_TIMEOUT, True),
    "bind_timeout": ("voided", Rejection.BIND_TIMEOUT, True),
    "bind_failed": ("voided", Rejection.BIND_FAILED, True),
    "node_lost": ("ending", Rejection.NODE_LOST, True),
    "market_removed": ("ending", Rejection.MARKET_REMOVED, True),
}
Order = orders.OrderPlaced
Request = (
    orders.CancelRequested
    | orders.ReleaseRequested
    | orders.OfferMade
    | orders.OfferAccepted
)  # fmt: skip


class Replay:
    """One partition's market: what it knows, and the outputs it owes."""

    def __init__(self, partition: int, expected: Expected) -> None:
        """A partition of which nothing is known."""
        self.partition, self.expected = partition, expected
        self.declared: markets.MarketDeclared | None = None
        self.rules: markets.MarketDeclared | None = None
        self.removed = False
        self.window, self.closed_at_ms, self.root = 0, 0, GENESIS
        self.alive_at_ms = 0
        self.nodes: dict[str, supply.NodeOffered] = {}
        self.assigned: dict[str, tuple[str, int]] = {}
        self.for_sale: dict[str, inventory.ForSale] = {}
        self.busy = occupancy.Occupancy()
        self.epochs: dict[str, int] = {}
        self.book: dict[str, Order] = {}
        self.leased: dict[str, int] = {}
        self.drift = Drift()
        self.leases: dict[str, LeaseChanged] = {}
        self.sources: dict[str, int] = {}
        self.waiting: dict[str, set[str]] = {}
        self.sent: dict[int, int] = {}
        self.sales = Sales(self)
        self.renewals = Renewals(self)

    # -- records -----------------------------------------------------------------------------------

    def apply(self, one: Seen) -> None:
        """Apply one record at the broker's append time."""
        event, now_ms = one.event, one.record.timestamp_ms
        match event:
            case markets.MarketDeclared() | markets.MarketRemoved() | markets.NodeAssigned():
                self._market(event, one.record.offset)
            case orders.OfferMade() | orders.OfferAccepted():
                self.sales.apply(event, now_ms)
            case orders.OrderPlaced() | orders.CancelRequested() | orders.ReleaseRequested():
                self._order(event, now_ms)
            case _ if self.declared is None or event.market != self.declared.market:
                pass  # misrouted: for the dead letters
            case supply.NodeOffered():
                self._offered(event)
            case supply.NodeWithdrawn():
                self._gone(event.node)
            case reports.SinkAlive():
                self.alive_at_ms = now_ms
            case reports.NodeLost():
                self._lost(event.node, now_ms)
            case _:
                self._report(event, now_ms)

    def _offered(self, event: supply.NodeOffered) -> None:
        """Of a node that was assigned, the newest assignment's market alone may offer it."""
        newest = self.assigned.get(event.node, (event.market, 0))
        if (event.market, event.assignment) == newest:
            self.nodes[event.node] = event
            self._leave_unheld()

    def _leave_unheld(self) -> None:
        """Standing claims must hold what a standing market sells."""
        if self.declared is not None and self.declared.standing:
            for node in [name for name, offer in self.nodes.items() if not offer.held]:
                self._gone(node)

    def answer(self, now_ms: int) -> None:
        """On standing claims a lease is over as it ends, and bound as it is awarded."""
        for state, report in (("ending", reports.LeaseReleased), ("awarded", reports.LeaseBound)):
            for one in self._leases():
                if one.standing and one.state == state:
                    about = report(market=one.market, lease_id=one.lease_id, epoch=one.epoch)
                    self._report(about, now_ms)

    def _market(
        self, event: markets.MarketDeclared | markets.MarketRemoved | markets.NodeAssigned,
        offset: int,
    ) -> None:  # fmt: skip
        if isinstance(event, markets.NodeAssigned):
            self.assigned[event.node] = (event.market, offset + 1)
            self._gone(event.node)
        elif isinstance(event, markets.MarketRemoved):
            if self.declared is not None and self.declared.market == event.market:
                self.removed = True
        elif event.partition != self.partition:
            return
        elif self.declared is None:
            self.declared = self.rules = event
        elif self.declared.market == event.market:
            self.declared, self.removed = event, False
            self._leave_unheld()

    def _lost(self, node: str, now_ms: int) -> None:
        self._gone(node)
        for lease in self._leases():
            if any(device.node == node for device in lease.devices):
                self.end(lease, "node_lost", now_ms)

    def _gone(self, node: str) -> None:
        self.nodes.pop(node, None)
        self.for_sale.pop(node, None)

    def _leases(self) -> list[LeaseChanged]:
        return [self.leases[name] for name in sorted(self.leases)]

    def _report(self, event: Any, now_ms: int) -> None:
        lease = self.leases.get(event.lease_id)
        if lease is None or event.epoch != lease.epoch:
            return
        match event:
            case reports.LeaseBound() if lease.state == "awarded":
                ends_ms = now_ms + lease.duration_ms
                changes = {"bound_at_ms": now_ms, "ends_at_ms": ends_ms}
                self.renewals.bound(lease, now_ms)
                self.sales.bound(replace(lease, **changes), now_ms)
                self.move(lease, now_ms, "bound", **changes)
            case reports.LeaseFailed():
                self.end(lease, "bind_failed", now_ms)
            case reports.LeaseReleased() if lease.state == "ending":
                self.move(lease, now_ms, "ended")
                self._free(self.leases.pop(lease.lease_id), now_ms)
            case _:
                pass

    def _free(self, lease: LeaseChanged, now_ms: int) -> None:
        """The devices go to those who waited for this lease alone, or on sale."""
        for device in lease.devices:
            self.busy.leave(lease.lease_id, occupancy.whole_of(device))
        for name in sorted(self.waiting):
            others = self.waiting[name]
            if lease.lease_id not in others:
                continue
            others.discard(lease.lease_id)
            waiter = self.leases.get(name)
            if not others and waiter is not None and waiter.state == "pending":
                assert self.rules is not None
                bind_by_ms = now_ms + self.rules.bind_deadline_ms
                self.publish(replace(waiter, state="awarded", bind_by_ms=bind_by_ms), now_ms)

    def publish(self, lease: LeaseChanged, now_ms: int) -> None:
        """A lease's new state; no device of it ever has a lower epoch again."""
        self.leases[lease.lease_id] = lease
        for device in lease.devices:
            for key in occupancy.known_as(occupancy.whole_of(device)):
                self.epochs[key] = max(self.epochs.get(key, 0), lease.epoch)
        self.expected.lease(lease, now_ms)

    def begin(self, lease: LeaseChanged, source: int, now_ms: int) -> LeaseChanged:
        """A new lease holds its devices; it waits for whoever has them still."""
        name, keys = lease.lease_id, [occupancy.whole_of(one) for one in lease.devices]
        elsewhere = [self.nodes[one.node].epoch for one in lease.devices if one.node in self.nodes]
        for one in lease.devices:
            self.busy.take(name, occupancy.whole_of(one), occupancy.slots_of(one, self.nodes))
        others = {other for key in keys for other in self.busy.beside(name, key)}
        leaving = [self.leases[other] for other in others]
        # Who has not begun to end will spend one epoch more.
        ends = [one.epoch + (one.state != "ending") for one in leaving]
        against = (one for key in keys for one in occupancy.against(key))
        epoch = 1 + max([0, *(self.epochs.get(key, 0) for key in against), *elsewhere, *ends])
        lease = replace(lease, epoch=epoch)
        if others:
            rules = self.rules
            assert rules is not None
            gone_ms = max(now_ms, *(leave_ms(one, rules, now_ms) for one in leaving))
            until_ms = gone_ms + rules.pending_ms
            lease = replace(lease, state="pending", bind_by_ms=0, pending_until_ms=until_ms)
            self.waiting[name] = others
        self.sources[name] = source
        return lease

    def leaving(self, rules: markets.MarketDeclared | None) -> frozenset[str]:
        """The leases whose devices are sold while they end."""
        if rules is None or not rules.pending_ms:
            return frozenset()
        return frozenset(name for name, one in self.leases.items() if one.state == "ending")

    # -- leases ------------------------------------------------------------------------------------

    def move(self, lease: LeaseChanged, now_ms: int, state: str, **changes: Any) -> None:
        """A lease enters a state: published, and told under the state's name."""
        after = replace(lease, state=state, **changes)
        self.publish(after, now_ms)
        kinds: dict[str, OutcomeKind] = {"bound": "bound", "notice": "notice", "ended": "ended"}
        self.tell_lease(after, kinds[state], now_ms)

    def end(self, lease: LeaseChanged, cause: EndCause, now_ms: int) -> bool:
        """Start a lease's end: the epoch grows, a refund is due. False if it has begun."""
        if lease.state not in LIVE:
            return False
        after = replace(lease, state="ending", cause=cause, epoch=lease.epoch + 1)
        self.publish(after, now_ms)
        self.sales.offers.pop(after.lease_id, None)
        kind, reason, _ = _ENDINGS[cause]
        if self.sales.failed(after, kind, reason, now_ms):
            return True
        refund = self.refund_micros(after, now_ms)
        source = self.sources[after.lease_id]
        whose = (after.market, after.bid_id, after.tenant, after.agent)
        self.expected.settled(
            settlement(
                whose, "ended" if after.bound_at_ms else "voided", after.epoch,
                lease_id=after.lease_id, refund_micros=refund, source=self.partition,
                seq=self.next_seq(source),
            ),
            source, now_ms,
        )  # fmt: skip
        if after.bound_at_ms and kind == "voided":
            kind = "ending"
        self.tell_lease(after, kind, now_ms, reason, refund)
        return True

    def refund_micros(self, lease: LeaseChanged, now_ms: int) -> int:
        """What is unused; the holder's own ending keeps a fee."""
        assert self.rules is not None
        unused = self.unused_micros(lease, now_ms)
        _, _, platform = _ENDINGS[lease.cause]
        return unused if platform else max(0, unused - self.rules.release_fee_micros)

    def unused_micros(self, lease: LeaseChanged, now_ms: int) -> int:
        """The price of whole unused slots, pro rata."""
        assert self.rules is not None
        return self.renewals.unused_micros(lease, now_ms, self.rules.slot_ms)

    def tell_lease(
        self, lease: LeaseChanged, kind: OutcomeKind, now_ms: int,
        reason: Rejection | None = None, refund_micros: int = 0, *, amount_micros: int = 0,
        offer_id: str = "",
    ) -> None:  # fmt: skip
        """The holder is told what happened to a lease."""
        self.expected.told(
            OutcomeReported(
                outcome_id=ids.joined(kind, lease.lease_id, lease.epoch), kind=kind,
                tenant=lease.tenant, agent=lease.agent, at_ms=now_ms, bid_id=lease.bid_id,
                market=lease.market, window=lease.window, price_micros=lease.price_micros,
                refund_micros=refund_micros, lease_id=lease.lease_id, epoch=lease.epoch,
                level=lease.level, market_pool=lease.market_pool,
                devices=lease.devices if kind in ("won", "bound") else (),
                ends_at_ms=lease.ends_at_ms, grace_until_ms=lease.grace_until_ms,
                amount_micros=amount_micros, offer_id=offer_id,
            ),
            self.sources[lease.lease_id], () if reason is None else (reason,),
        )  # fmt: skip

    # -- orders ------------------------------------------------------------------------------------

    def _order(
        self, event: Order | orders.CancelRequested | orders.ReleaseRequested, now_ms: int
    ) -> None:
        known = self.declared is not None and self.declared.market == event.market
        if isinstance(event, orders.OrderPlaced):
            if known and not self.removed and not self._came_too_early(event):
                if event.renews:
                    self.renewals.placed(event, now_ms)
                else:
                    self.book[event.bid_id] = event
            else:
                self.close(event, "refused", now_ms, (Rejection.MARKET_REMOVED,))
        elif isinstance(event, orders.CancelRequested):
            order = self.book.get(event.bid_id)
            if order is None:
                self.decline(event, "", Rejection.UNKNOWN_BID, now_ms)
            else:
                self.close(order, "cancelled", now_ms)
        else:
            lease = self.leases.get(event.lease_id)
            if lease is None or not self.end(lease, "released", now_ms):
                self.decline(event, event.lease_id, Rejection.LEASE_ENDED, now_ms)

    def _came_too_early(self, order: Order) -> bool:
        """Before its first window a market may not yet have been known when an order was read."""
        told = self.expected.books.outcomes.find(f"refused|{order.bid_id}")
        return (
            self.window == 0
            and told is not None
            and told.event.reason == Rejection.MARKET_REMOVED
            and "available_micros" not in told.event.evidence
        )

    def close(
        self, order: Order, cause: ledger.SettlementCause, now_ms: int,
        reasons: tuple[Rejection, ...] = (), window: int = 0,
    ) -> None:  # fmt: skip
        """An order ends without an award: its hold is freed, the bidder told one reason."""
        self.book.pop(order.bid_id, None)
        assert cause in ("refused", "lost", "cancelled", "expired")
        whose = (order.market, order.bid_id, order.tenant, order.agent)
        seq = self.next_seq(order.source)
        self.expected.settled(
            settlement(whose, cause, 0, source=self.partition, seq=seq), order.source, now_ms
        )
        self.expected.told(
            OutcomeReported(
                outcome_id=ids.joined(cause, order.bid_id), kind=cause, tenant=order.tenant,
                agent=order.agent, at_ms=now_ms, bid_id=order.bid_id, market=order.market,
                window=window, amount_micros=order.value_micros * order.level_max,
            ),
            order.source, reasons,
        )  # fmt: skip

    def decline(
        self, event: Request, lease_id: str, reason: Rejection, now_ms: int, offer_id: str = ""
    ) -> None:
        """A request changes nothing: who asked is told why."""
        self.expected.told(
            OutcomeReported(
                outcome_id=ids.joined("declined", self.partition, event.source, event.seq),
                kind="declined", tenant=event.tenant, agent=event.agent, at_ms=now_ms,
                bid_id=event.bid_id, market=event.market, lease_id=lease_id, offer_id=offer_id,
            ),
            event.source, (reason,),
        )  # fmt: skip

    def next_seq(self, source: int) -> int:
        """The number of the next settlement towards an accounts partition."""
        self.sent[source] = self.sent.get(source, 0) + 1
        return self.sent[source]


TOPICS_IN_ORDER: Final = (registry.MARKETS, registry.SUPPLY, registry.REPORTS, registry.ORDERS)
