"""What agents ask for: each command is answered or passed on to its market.

Decides replay, expiry and cover by money. Refuses to know pools and prices.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from bidplane_streams.market import admission, ledger, offering
from bidplane_streams.market.account_rows import HeldLease, HeldOrder
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import Emit, SignedCommands
from bidplane_topics import bids, ids, markets, orders, registry
from bidplane_topics.rejections import Rejection


def commands(turn: AccountTurn, signed: SignedCommands) -> None:
    """Judge the key and the sequence, then each command of the envelope."""
    envelope, key = signed.envelope, turn.state.keys.get(signed.key_id)
    owner = None if key is None else (key.tenant, key.agent)
    if key is None or owner != (envelope.tenant, envelope.agent) or key.revoked:
        turn.dead(Rejection.UNKNOWN_KEY, f"{signed.key_id} does not speak for this agent")
        return
    if not key.not_before_ms <= turn.now_ms < key.not_after_ms:
        turn.dead(Rejection.UNKNOWN_KEY, f"{signed.key_id} is not valid now")
        return
    if envelope.sequence <= key.sequence:
        turn.tell(
            "replayed", envelope.tenant, envelope.agent, turn.place(),
            reason=Rejection.REPLAYED, evidence={"last_sequence": key.sequence},
        )  # fmt: skip
        return
    row = msgspec.structs.replace(key, sequence=envelope.sequence)
    turn.state.keys.put(signed.key_id, row)
    turn.accrue(ledger.available(envelope.tenant, envelope.agent))
    for index, command in enumerate(envelope.commands):
        _command(turn, signed, index, command.chosen())


def _command(
    turn: AccountTurn, signed: SignedCommands, index: int,
    command: bids.Place | bids.Cancel | bids.Release | bids.Offer | bids.Accept,
) -> None:  # fmt: skip
    envelope = signed.envelope
    bid = ids.bid_id(envelope.tenant, envelope.agent, signed.key_id, envelope.sequence, index)
    late = turn.now_ms > envelope.expires_at_ms
    match command:
        case bids.Place():
            _placed(turn, signed, bid, index, command, late=late)
        case bids.Cancel():
            _cancel(turn, envelope, bid, command, late=late)
        case bids.Release():
            _release(turn, envelope, bid, command, late=late)
        case bids.Offer():
            offering.offered(turn, envelope, bid, command, late=late)
        case bids.Accept():
            offering.accepted(turn, envelope, bid, command, late=late)
        case _:
            assert_never(command)


def _placed(
    turn: AccountTurn, signed: SignedCommands, bid: str, index: int, place: bids.Place, *,
    late: bool,
) -> None:  # fmt: skip
    envelope = signed.envelope
    tenant, agent = envelope.tenant, envelope.agent
    account, held = ledger.available(tenant, agent), ledger.hold(tenant, agent)
    market = turn.state.markets.get(place.market)
    admitted = admission.admit(place, turn.journal.balance(account))
    if late:
        _refuse(turn, envelope, bid, place, Rejection.EXPIRED)
    elif market is None:
        _refuse(turn, envelope, bid, place, Rejection.UNKNOWN_MARKET)
    elif admitted is None:
        _refuse(turn, envelope, bid, place, Rejection.NO_FUNDS)
    elif turn.state.orders.open_of(tenant, agent) >= admission.OPEN_ORDERS_MAX:
        _refuse(turn, envelope, bid, place, Rejection.TOO_MANY_ORDERS)
    else:
        amount = admitted.hold_micros
        turn.journal.post("hold", account, held, amount, bid, tenant, agent)
        turn.state.orders.put(bid, HeldOrder(tenant, agent, place.market, amount))
        order = orders.OrderPlaced(
            bid_id=bid, tenant=tenant, agent=agent, market=place.market,
            source=turn.state.partition, seq=turn.next_seq(market.partition),
            sequence=envelope.sequence, index=index, mode=place.mode,
            value_micros=admitted.value_micros, level_min=place.level_min,
            level_max=admitted.level_max, not_before_ms=place.not_before_ms,
            rest_until_ms=place.rest_until_ms, alternatives=place.alternatives,
            seal=signed.seal, renews=place.renews,
        )  # fmt: skip
        turn.out.append(Emit(registry.ORDERS, market.partition, bid, order))
        turn.tell(
            "held", tenant, agent, bid, bid_id=bid, market=place.market, amount_micros=amount,
            evidence={"asked_micros": place.value_micros * place.level_max},
        )  # fmt: skip


def _refuse(
    turn: AccountTurn, envelope: bids.Envelope, bid: str, place: bids.Place, reason: Rejection
) -> None:
    turn.tell(
        "refused", envelope.tenant, envelope.agent, bid, bid_id=bid, market=place.market,
        reason=reason,
    )  # fmt: skip


def _cancel(
    turn: AccountTurn, envelope: bids.Envelope, command_id: str, cancel: bids.Cancel, *,
    late: bool,
) -> None:  # fmt: skip
    order = turn.state.orders.get(cancel.bid_id)
    market = _asked_of(turn, envelope, order, Rejection.UNKNOWN_BID, late=late)
    if isinstance(market, Rejection):
        _declined(turn, envelope, command_id, market, bid_id=cancel.bid_id)
        return
    assert order is not None
    request = orders.CancelRequested(
        bid_id=cancel.bid_id, tenant=envelope.tenant, agent=envelope.agent,
        market=order.market, source=turn.state.partition, seq=turn.next_seq(market.partition),
    )  # fmt: skip
    turn.out.append(Emit(registry.ORDERS, market.partition, cancel.bid_id, request))


def _release(
    turn: AccountTurn, envelope: bids.Envelope, command_id: str, release: bids.Release, *,
    late: bool,
) -> None:  # fmt: skip
    lease = turn.state.leases.get(release.lease_id)
    market = _asked_of(turn, envelope, lease, Rejection.UNKNOWN_LEASE, late=late)
    if isinstance(market, Rejection):
        _declined(turn, envelope, command_id, market, lease_id=release.lease_id)
        return
    assert lease is not None
    request = orders.ReleaseRequested(
        lease_id=release.lease_id, bid_id=lease.bid_id, tenant=envelope.tenant,
        agent=envelope.agent, market=lease.market, source=turn.state.partition,
        seq=turn.next_seq(market.partition),
    )  # fmt: skip
    turn.out.append(Emit(registry.ORDERS, market.partition, release.lease_id, request))


def _asked_of(
    turn: AccountTurn, envelope: bids.Envelope, held: HeldOrder | HeldLease | None,
    unknown: Rejection, *, late: bool,
) -> markets.MarketDeclared | Rejection:  # fmt: skip
    """The market that is asked to end an order or a lease, or why nobody is."""
    if late:
        return Rejection.EXPIRED
    if held is None or (held.tenant, held.agent) != (envelope.tenant, envelope.agent):
        return unknown
    # Where the market was removed, its settlement is on the way.
    return turn.state.markets.get(held.market) or Rejection.MARKET_REMOVED


def _declined(
    turn: AccountTurn, envelope: bids.Envelope, command_id: str, reason: Rejection,
    bid_id: str = "", lease_id: str = "",
) -> None:  # fmt: skip
    turn.tell(
        "declined", envelope.tenant, envelope.agent, command_id, bid_id=bid_id,
        lease_id=lease_id, reason=reason,
    )  # fmt: skip
