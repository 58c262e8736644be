"""Offers of leases between agents, as the accounts see them: the seller's word, the buyer's money.

Decides who may offer what, and holds exactly the price of an offer that is accepted. Refuses to
know whether the offer stands, and who made it: the market answers.
"""

from __future__ import annotations

from bidplane_streams.market import admission, ledger
from bidplane_streams.market.account_rows import HeldLease, HeldOrder
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import Emit
from bidplane_topics import bids, ids, offers, orders, registry
from bidplane_topics.rejections import Rejection


def offered(
    turn: AccountTurn, envelope: bids.Envelope, command_id: str, offer: bids.Offer, *, late: bool
) -> None:
    """Pass the holder's offer on; its id follows from its terms."""
    lease = turn.state.leases.get(offer.lease_id)
    whose = (envelope.tenant, envelope.agent)
    market = None if lease is None else turn.state.markets.get(lease.market)
    reason = None
    if late:
        reason = Rejection.EXPIRED
    elif lease is None or (lease.tenant, lease.agent) != whose:
        reason = Rejection.UNKNOWN_LEASE
    elif not offers.is_agent(offer.to):
        reason = Rejection.UNKNOWN_AGENT
    elif market is None:
        reason = Rejection.MARKET_REMOVED
    if reason is not None or lease is None or market is None:
        turn.tell("declined", *whose, command_id, lease_id=offer.lease_id, reason=reason)
        return
    terms = offers.Terms(lease.market, offer.lease_id, offer.to, offer.price_micros)
    made = orders.OfferMade(
        offer_id=offers.offer_id(terms), command_id=command_id, lease_id=offer.lease_id,
        bid_id=lease.bid_id, tenant=envelope.tenant, agent=envelope.agent, market=lease.market,
        to=offer.to, price_micros=offer.price_micros, source=turn.state.partition,
        seq=turn.next_seq(market.partition),
    )  # fmt: skip
    turn.out.append(Emit(registry.ORDERS, market.partition, offer.lease_id, made))


def accepted(
    turn: AccountTurn, envelope: bids.Envelope, command_id: str, accept: bids.Accept, *, late: bool
) -> None:
    """Hold the price and pass the acceptance on, under the command's id."""
    tenant, agent = whose = (envelope.tenant, envelope.agent)
    terms = offers.terms_of(accept.offer_id)
    reason = Rejection.EXPIRED if late else _problem(turn, whose, terms)
    if reason is not None or terms is None:
        turn.tell(
            "declined", *whose, command_id, reason=reason, bid_id=command_id,
            offer_id=accept.offer_id,
        )  # fmt: skip
        return
    market, price = turn.state.markets[terms.market], terms.price_micros
    turn.journal.post(
        "hold", ledger.available(*whose), ledger.hold(*whose), price, command_id, *whose
    )
    turn.state.orders.put(command_id, HeldOrder(tenant, agent, terms.market, price))
    # It may be given back before it stands: nothing is paid for it until then.
    lease_id = ids.lease_id(terms.market, command_id)
    turn.state.leases.put(lease_id, HeldLease(tenant, agent, terms.market, command_id, 0))
    taken = orders.OfferAccepted(
        offer_id=accept.offer_id, lease_id=terms.lease_id, bid_id=command_id, tenant=tenant,
        agent=agent, market=terms.market, price_micros=price, source=turn.state.partition,
        seq=turn.next_seq(market.partition),
    )  # fmt: skip
    turn.out.append(Emit(registry.ORDERS, market.partition, terms.lease_id, taken))
    turn.tell(
        "held", tenant, agent, command_id, bid_id=command_id, market=terms.market,
        amount_micros=price, offer_id=accept.offer_id,
    )  # fmt: skip


def _problem(
    turn: AccountTurn, whose: tuple[str, str], terms: offers.Terms | None
) -> Rejection | None:
    """Why no money can be held for these terms."""
    if terms is None or terms.to != ids.agent_id(*whose):
        return Rejection.UNKNOWN_OFFER
    if terms.market not in turn.state.markets:
        return Rejection.UNKNOWN_MARKET
    if turn.journal.balance(ledger.available(*whose)) < terms.price_micros:
        return Rejection.NO_FUNDS
    if turn.state.orders.open_of(*whose) >= admission.OPEN_ORDERS_MAX:
        return Rejection.TOO_MANY_ORDERS
    return None
