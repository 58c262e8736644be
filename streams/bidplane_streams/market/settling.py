"""The market's word on an order or a lease, and what becomes of the money.

Decides charges, releases of holds and refunds. Refuses a word out of sequence.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.market import ledger
from bidplane_streams.market.account_rows import HeldLease
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import SequenceGap
from bidplane_topics import ids
from bidplane_topics import ledger as ledger_events


def settled(turn: AccountTurn, event: ledger_events.Settled) -> None:
    """Apply one settlement; they come in the market's order, none left out."""
    heard = turn.state.heard.get(str(event.source)) or 0
    if event.seq != heard + 1:
        raise SequenceGap(f"market partition {event.source} sent {event.seq} after {heard}")
    turn.state.heard.put(str(event.source), event.seq)
    turn.accrue(ledger.available(event.tenant, event.agent))
    match event.cause:
        case "voided" | "ended":
            _refunded(turn, event)
        case "bought":
            _bought(turn, event)
        case "sold":
            _sold(turn, event)
        case _:
            _order_settled(turn, event)
    turn.tell(
        "settled", event.tenant, event.agent, event.settlement_id, bid_id=event.bid_id,
        market=event.market, lease_id=event.lease_id, price_micros=event.charge_micros,
        refund_micros=event.refund_micros, amount_micros=event.paid_micros, epoch=event.epoch,
    )  # fmt: skip


def _order_settled(turn: AccountTurn, event: ledger_events.Settled) -> None:
    order = turn.state.orders[event.bid_id]
    assert event.charge_micros <= order.held_micros, "a charge beyond the hold"
    assert event.cause == "won" or event.charge_micros == 0, "losers never pay"
    turn.state.orders.remove(event.bid_id)
    held = ledger.hold(order.tenant, order.agent)
    account = ledger.available(order.tenant, order.agent)
    reference, owner = event.settlement_id, (order.tenant, order.agent)
    freed = order.held_micros - event.charge_micros
    turn.journal.post("charge", held, ledger.REVENUE, event.charge_micros, reference, *owner)
    turn.journal.post("unhold", held, account, freed, reference, *owner)
    if event.cause == "won":
        lease = HeldLease(*owner, order.market, event.bid_id, event.charge_micros)
        known = turn.state.leases.get(event.lease_id)
        if known is not None:  # one term more: the end of it may give back what is left of each
            paid = known.paid_micros + event.charge_micros
            lease = msgspec.structs.replace(known, paid_micros=paid)
        turn.state.leases.put(event.lease_id, lease)
    elif event.cause == "declined":  # what the buyer might have held
        turn.state.leases.remove(ids.lease_id(order.market, event.bid_id))


def _bought(turn: AccountTurn, event: ledger_events.Settled) -> None:
    """The agreed price leaves for the seller, who may live on another partition."""
    order = turn.state.orders[event.bid_id]
    assert event.charge_micros == order.held_micros, "a sale costs what was held for it"
    turn.state.orders.remove(event.bid_id)
    owner = order.tenant, order.agent
    turn.journal.post(
        "transfer", ledger.hold(*owner), ledger.TRANSIT, event.charge_micros, event.settlement_id,
        *owner,
    )  # fmt: skip
    lease = HeldLease(*owner, order.market, event.bid_id, event.refundable_micros)
    turn.state.leases.put(event.lease_id, lease)


def _sold(turn: AccountTurn, event: ledger_events.Settled) -> None:
    """The seller is paid; what its lease cost is the buyer's to get back from now on."""
    lease = turn.state.leases[event.lease_id]
    turn.state.leases.remove(event.lease_id)
    turn.journal.post(
        "transfer", ledger.TRANSIT, ledger.available(lease.tenant, lease.agent), event.paid_micros,
        event.settlement_id, lease.tenant, lease.agent,
    )  # fmt: skip


def _refunded(turn: AccountTurn, event: ledger_events.Settled) -> None:
    lease = turn.state.leases[event.lease_id]
    assert event.refund_micros <= lease.paid_micros, "a refund beyond the price"
    turn.state.leases.remove(event.lease_id)
    account = ledger.available(lease.tenant, lease.agent)
    turn.journal.post(
        "refund", ledger.REVENUE, account, event.refund_micros, event.settlement_id,
        lease.tenant, lease.agent,
    )  # fmt: skip
