"""Leases that agents sell each other, replayed: offers, acceptances, and who is paid in the end.

Decides which acceptance begins a sale and what its two sides are owed. A second telling of the
market's rules, from the log alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from bidplane_agents.audit import occupancy
from bidplane_agents.audit.expected import settlement
from bidplane_topics import ids, orders
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection

if TYPE_CHECKING:
    from bidplane_agents.audit.replay import Replay

LIVE = frozenset({"pending", "awarded", "bound", "notice"})


class Sale(NamedTuple):
    """A sale not paid yet: the lease that was sold, where its money lives, price and rest."""

    sold: LeaseChanged
    source: int
    price_micros: int
    unused_micros: int


class Sales:
    """What stands on offer in one market, and what is sold and not paid."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.offers: dict[str, str] = {}
        self.open: dict[str, Sale] = {}

    def apply(self, event: orders.OfferMade | orders.OfferAccepted, now_ms: int) -> None:
        """Apply one request."""
        if isinstance(event, orders.OfferMade):
            self.offered(event, now_ms)
        else:
            self.accepted(event, now_ms)

    def offered(self, event: orders.OfferMade, now_ms: int) -> None:
        """The newest offer of a live lease is the one that stands."""
        replay = self.replay
        lease = replay.leases.get(event.lease_id)
        if not self._deals(event.market):
            replay.decline(event, event.lease_id, Rejection.MARKET_REMOVED, now_ms, event.offer_id)
            return
        if lease is None or lease.state not in LIVE:
            replay.decline(event, event.lease_id, Rejection.LEASE_ENDED, now_ms, event.offer_id)
            return
        self.offers[event.lease_id] = event.offer_id
        replay.expected.told(
            OutcomeReported(
                outcome_id=ids.joined("offered", event.command_id), kind="offered",
                tenant=lease.tenant, agent=lease.agent, at_ms=now_ms, bid_id=lease.bid_id,
                market=lease.market, window=lease.window, amount_micros=event.price_micros,
                lease_id=lease.lease_id, epoch=lease.epoch, offer_id=event.offer_id,
            ),
            replay.sources[lease.lease_id],
        )  # fmt: skip

    def accepted(self, event: orders.OfferAccepted, now_ms: int) -> None:
        """A sale begins, or the price that was held is freed."""
        replay = self.replay
        lease = replay.leases.get(event.lease_id)
        reason = self._against(event, lease, now_ms)
        if lease is not None and reason is None:
            self._sell(event, lease, now_ms)
            return
        self._settled(event, event.source, "declined", now_ms)
        replay.decline(event, "", reason or Rejection.LEASE_ENDED, now_ms, event.offer_id)

    def _deals(self, market: str) -> bool:
        declared = self.replay.declared
        return declared is not None and declared.market == market and not self.replay.removed

    def _against(
        self, event: orders.OfferAccepted, lease: LeaseChanged | None, now_ms: int
    ) -> Rejection | None:
        """The first thing that stands against a sale."""
        rules = self.replay.rules
        live = lease is not None and lease.state in LIVE
        silent_ms = now_ms - self.replay.alive_at_ms
        against = (
            (not self._deals(event.market), Rejection.MARKET_REMOVED),
            (not live, Rejection.LEASE_ENDED),
            (self.offers.get(event.lease_id) != event.offer_id, Rejection.UNKNOWN_OFFER),
            (lease is not None and not lease.bound_at_ms, Rejection.LEASE_NOT_BOUND),
            (lease is not None and self._between_terms(lease, now_ms), Rejection.LEASE_NOT_BOUND),
            (lease is not None and now_ms >= lease.ends_at_ms, Rejection.LEASE_ENDED),
            (lease is not None and self._awaited(lease), Rejection.LEASE_ENDED),
            (rules is None or silent_ms > rules.stale_after_ms, Rejection.SUPPLY_STALE),
        )
        return next((reason for holds, reason in against if holds), None)

    def _between_terms(self, lease: LeaseChanged, now_ms: int) -> bool:
        """Whether it was renewed, and the term before is still running."""
        earlier = self.replay.renewals.earlier.get(lease.lease_id, [])
        return any(ends_ms > now_ms for _, _, ends_ms in earlier)

    def _awaited(self, lease: LeaseChanged) -> bool:
        """Whether somebody has won what comes after the lease's end."""
        return self.replay.renewals.waited_for(lease)

    def _sell(self, event: orders.OfferAccepted, lease: LeaseChanged, now_ms: int) -> None:
        replay, rules = self.replay, self.replay.rules
        assert rules is not None
        sold = replace(lease, state="ending", cause="transferred", epoch=lease.epoch + 1)
        unused, source = replay.unused_micros(sold, now_ms), replay.sources[lease.lease_id]
        self.offers.pop(lease.lease_id)
        replay.publish(sold, now_ms)
        replay.tell_lease(
            sold, "transferred", now_ms, amount_micros=event.price_micros, offer_id=event.offer_id
        )
        bought = ids.lease_id(event.market, event.bid_id)
        keys = [occupancy.whole_of(one) for one in lease.devices]
        against = [one for key in keys for one in occupancy.against(key)]
        for key in keys:
            replay.busy.take(bought, key, replay.busy.slots(lease.lease_id, key))
        replay.sources[bought], replay.waiting[bought] = event.source, {sold.lease_id}
        self.open[bought] = Sale(sold, source, event.price_micros, unused)
        patience_ms = max(rules.pending_ms, rules.bind_deadline_ms)
        after = replace(
            lease, lease_id=bought, bid_id=event.bid_id, tenant=event.tenant, agent=event.agent,
            state="pending", epoch=1 + max(replay.epochs.get(one, 0) for one in against),
            price_micros=unused, term=0, renewed_by="",
            duration_ms=lease.ends_at_ms - max(lease.bound_at_ms, now_ms),
            awarded_at_ms=now_ms, bind_by_ms=0, pending_until_ms=now_ms + patience_ms,
            bound_at_ms=0, ends_at_ms=0, grace_until_ms=0, bought_from=lease.lease_id,
        )  # fmt: skip
        replay.publish(after, now_ms)
        replay.tell_lease(
            after, "won", now_ms, amount_micros=event.price_micros, offer_id=event.offer_id
        )

    def bound(self, lease: LeaseChanged, now_ms: int) -> None:
        """The buyer has what it bought: it pays, and the seller is paid the same."""
        sale = self.open.pop(lease.lease_id, None)
        if sale is None:
            return
        self._settled(
            lease, self.replay.sources[lease.lease_id], "bought", now_ms,
            charge_micros=sale.price_micros, refundable_micros=sale.unused_micros,
        )  # fmt: skip
        self._settled(sale.sold, sale.source, "sold", now_ms, paid_micros=sale.price_micros)

    def failed(
        self, lease: LeaseChanged, kind: OutcomeKind, reason: Rejection | None, now_ms: int
    ) -> bool:
        """A lease ends that was bought and never stood: nobody pays. False for any other."""
        sale = self.open.pop(lease.lease_id, None)
        if sale is None:
            return False
        replay = self.replay
        self._settled(lease, replay.sources[lease.lease_id], "declined", now_ms)
        self._settled(sale.sold, sale.source, "ended", now_ms, refund_micros=sale.unused_micros)
        replay.tell_lease(lease, kind, now_ms, reason, amount_micros=sale.price_micros)
        replay.tell_lease(
            sale.sold, "voided", now_ms, Rejection.SALE_FAILED, sale.unused_micros
        )  # fmt: skip
        return True

    def _settled(
        self, whose: LeaseChanged | orders.OfferAccepted, source: int, cause: str, now_ms: int,
        **amounts: int,
    ) -> None:  # fmt: skip
        lease = whose if isinstance(whose, LeaseChanged) else None
        self.replay.expected.settled(
            settlement(
                (whose.market, whose.bid_id, whose.tenant, whose.agent), cause,
                0 if lease is None else lease.epoch,
                lease_id="" if lease is None else lease.lease_id, source=self.replay.partition,
                seq=self.replay.next_seq(source), **amounts,
            ),
            source, now_ms,
        )  # fmt: skip
