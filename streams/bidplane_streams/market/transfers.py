"""A lease goes from one agent to another: offered, accepted, paid once the buyer's lease stands.

Decides whether an offer may be taken, which leases follow, and who gets what money. Refuses to know
balances: the accounts lanes hold the buyer's price and pay the seller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bidplane_streams.market import addresses, leases
from bidplane_streams.market.market_rows import Lease, Offer, Sale
from bidplane_topics import ids, orders
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection

if TYPE_CHECKING:
    from bidplane_streams.market.market import Turn


def offered(turn: Turn, event: orders.OfferMade) -> None:
    """Keep the offer on its lease, in the place of an older one, and tell the seller its id."""
    row = turn.state.leases.get(event.lease_id)
    if row is None or row.lease.state not in leases.LIVE or not _open(turn, event):
        reason = Rejection.LEASE_ENDED if _open(turn, event) else Rejection.MARKET_REMOVED
        turn.decline(event, reason, lease_id=event.lease_id, offer_id=event.offer_id)
        return
    offer = Offer(event.offer_id, event.to, event.price_micros)
    turn.state.leases.put(event.lease_id, replace(row, offer=offer))
    lease = row.lease
    outcome = OutcomeReported(
        outcome_id=ids.joined("offered", event.command_id), kind="offered", tenant=lease.tenant,
        agent=lease.agent, at_ms=turn.now_ms, bid_id=lease.bid_id, market=lease.market,
        window=lease.window, amount_micros=event.price_micros, lease_id=lease.lease_id,
        epoch=lease.epoch, offer_id=event.offer_id, evidence={"to": event.to},
    )  # fmt: skip
    turn.tell(outcome, row.source)


def accepted(turn: Turn, event: orders.OfferAccepted) -> None:
    """Begin the transfer, or free the money held for it and say why."""
    row = turn.state.leases.get(event.lease_id)
    reason = _problem(turn, event, row) if _open(turn, event) else Rejection.MARKET_REMOVED
    if row is None or reason is not None:
        turn.settle(
            event.bid_id, event.tenant, event.agent, event.source, "declined", market=event.market
        )
        turn.decline(event, reason or Rejection.LEASE_ENDED, offer_id=event.offer_id)
        return
    _transfer(turn, event, row)


def _open(turn: Turn, event: orders.OfferMade | orders.OfferAccepted) -> bool:
    """Whether this market still makes deals."""
    market = turn.state.only()
    return market is not None and market.declared.market == event.market and not market.removed


def _problem(turn: Turn, event: orders.OfferAccepted, row: Lease | None) -> Rejection | None:
    """Why the offer cannot be taken."""
    market = turn.state.only()
    assert market is not None
    if row is None or row.lease.state not in leases.LIVE:
        return Rejection.LEASE_ENDED
    buyer = ids.agent_id(event.tenant, event.agent)
    if row.offer != Offer(event.offer_id, buyer, event.price_micros):
        return Rejection.UNKNOWN_OFFER
    # Two terms have two prices: sold as one, what is unused of them would be their mean.
    early = any(term.ends_at_ms > turn.now_ms for term in row.earlier)
    if not row.lease.bound_at_ms or early:
        return Rejection.LEASE_NOT_BOUND
    # In its grace a lease has no time to sell; and what others have won cannot be sold again.
    if _left_ms(row.lease, turn.now_ms) <= 0 or turn.state.is_awaited(row.lease):
        return Rejection.LEASE_ENDED
    if turn.now_ms - market.alive_at_ms > market.rules.stale_after_ms:
        return Rejection.SUPPLY_STALE
    return None


def _left_ms(lease: LeaseChanged, now_ms: int) -> int:
    # Reports are applied before orders, so a lease may be bound "after" its acceptance.
    return lease.ends_at_ms - max(now_ms, lease.bound_at_ms)


def _transfer(turn: Turn, event: orders.OfferAccepted, row: Lease) -> None:
    """The seller's lease ends; the buyer's waits for its release, on the same devices."""
    state, market = turn.state, turn.state.only()
    ending = leases.ending(row.lease, "transferred")
    assert market is not None
    assert ending is not None
    rules = market.rules
    unused = leases.refund_micros(ending, turn.now_ms, rules.slot_ms, 0, row.earlier)
    kept = turn.keep(replace(row, offer=None), ending)
    turn.about(
        kept, "transferred", amount_micros=event.price_micros, offer_id=event.offer_id,
        evidence={"to": ids.agent_id(event.tenant, event.agent)},
    )  # fmt: skip
    keys = addresses.held(ending.devices)
    # The same holder's pods may take as long to leave as a new holder's claims to stand.
    patience_ms = max(rules.pending_ms, rules.bind_deadline_ms)
    lease = replace(
        row.lease, lease_id=ids.lease_id(event.market, event.bid_id), bid_id=event.bid_id,
        tenant=event.tenant, agent=event.agent, state="pending", price_micros=unused,
        epoch=1 + max(map(state.epoch_of, addresses.contested(ending.devices))),
        duration_ms=_left_ms(row.lease, turn.now_ms), awarded_at_ms=turn.now_ms, bind_by_ms=0,
        bound_at_ms=0, ends_at_ms=0, grace_until_ms=0, term=0, renewed_by="",
        bought_from=ending.lease_id,
        pending_until_ms=turn.now_ms + patience_ms,
    )  # fmt: skip
    state.take({key: state.uses[key].slots_of(ending.lease_id) for key in keys}, lease)
    sale = Sale(ending, row.source, event.price_micros, unused)
    bought = Lease(lease, event.source, waits_for=(ending.lease_id,), sale=sale)
    turn.about(
        turn.keep(bought, lease), "won", amount_micros=event.price_micros, offer_id=event.offer_id,
        evidence={"pending_until_ms": lease.pending_until_ms},
    )  # fmt: skip


def completed(turn: Turn, row: Lease, sale: Sale) -> Lease:
    """The buyer's lease stands: its hold is charged, the seller is paid the agreed price."""
    lease, sold = row.lease, sale.lease
    turn.settle(
        lease.bid_id, lease.tenant, lease.agent, row.source, "bought", market=lease.market,
        charge_micros=sale.price_micros, refundable_micros=sale.unused_micros, lease=lease,
    )  # fmt: skip
    turn.settle(
        sold.bid_id, sold.tenant, sold.agent, sale.source, "sold", market=sold.market,
        paid_micros=sale.price_micros, lease=sold,
    )  # fmt: skip
    return turn.state.leases.put(lease.lease_id, replace(row, sale=None))


def fell_through(
    turn: Turn, sale: Sale, row: Lease, kind: OutcomeKind, reason: Rejection | None,
    evidence: dict[str, int | str] | None,
) -> None:  # fmt: skip
    """The buyer's lease never stood: its hold is freed; the seller gets the unused part back."""
    lease, sold = row.lease, sale.lease
    turn.settle(
        lease.bid_id, lease.tenant, lease.agent, row.source, "declined", market=lease.market,
        lease=lease,
    )  # fmt: skip
    turn.settle(
        sold.bid_id, sold.tenant, sold.agent, sale.source, "ended", market=sold.market,
        refund_micros=sale.unused_micros, lease=sold,
    )  # fmt: skip
    turn.about(row, kind, reason=reason, amount_micros=sale.price_micros, evidence=evidence)
    turn.about(
        Lease(sold, sale.source), "voided", reason=Rejection.SALE_FAILED,
        refund_micros=sale.unused_micros,
    )  # fmt: skip
