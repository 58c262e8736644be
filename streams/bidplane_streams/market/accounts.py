"""Tenants, agents, keys and money: who may bid what, and what becomes of the money.

Decides admission, holds, charges and refunds for the tenants of one partition. Refuses to know
devices or prices, and whether a signature is right: that was checked before.
"""

from __future__ import annotations

import base64
import binascii
from typing import assert_never

import msgspec

from bidplane_streams.market import admission, ledger
from bidplane_streams.market.account_rows import AccountsState, Agent, HeldLease, HeldOrder, Key
from bidplane_streams.market.effects import (
    DeadLetter,
    Effect,
    Emit,
    Input,
    SequenceGap,
    SignedCommands,
)
from bidplane_streams.market.ledger import Journal
from bidplane_topics import agents, bids, ids, markets, money, orders, registry
from bidplane_topics import ledger as ledger_events
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection, sentence


def apply(state: AccountsState, given: Input) -> list[Effect]:
    """Judge one input; see state.apply."""
    return _Turn(state, given).run()


class _Turn:
    """One input being applied: the journal and the records it causes."""

    def __init__(self, state: AccountsState, given: Input) -> None:
        self.state = state
        self.given = given
        self.now_ms = given.at_ms
        self.journal = Journal(state.balances, state.partition, given.origin, given.at_ms)
        self.out: list[Effect] = []

    def run(self) -> list[Effect]:
        event = self.given.event
        match event:
            case SignedCommands():
                self.commands(event)
            case ledger_events.Settled():
                self.settled(event)
            case agents.TenantRegistered():
                self.tenant_registered(event)
            case agents.AgentRegistered():
                self.agent_registered(event)
            case agents.CreditGranted():
                self.granted(event)
            case agents.RefillSet():
                self.refill_set(event)
            case markets.MarketDeclared():
                self.market_declared(event)
            case markets.MarketRemoved():
                self.state.markets.remove(event.market)
            case _:
                raise AssertionError(f"the accounts do not read {type(event).__name__}")
        # Ledger first: a reader that sees an outcome may rely on its entries.
        return [*self.journal.entries, *self.out]

    # -- registrations ----------------------------------------------------------------------------

    def tenant_registered(self, event: agents.TenantRegistered) -> None:
        if event.partition != self.state.partition:
            self.dead(Rejection.MISROUTED, f"tenant {event.tenant} names {event.partition}")
        elif event.tenant not in self.state.tenants:
            self.state.tenants.put(event.tenant, True)

    def agent_registered(self, event: agents.AgentRegistered) -> None:
        if event.tenant not in self.state.tenants:
            self.dead(Rejection.UNKNOWN_AGENT, f"tenant {event.tenant} is not registered here")
            return
        name = ids.agent_id(event.tenant, event.agent)
        if (problem := self.key_problem(event)) is not None:
            self.dead(*problem)
            return
        known = self.state.agents.get(name)
        wanted = tuple(key.key_id for key in event.keys)
        for key_id in () if known is None else known.key_ids:
            if key_id not in wanted:
                row = self.state.keys[key_id]
                self.state.keys.put(key_id, msgspec.structs.replace(row, revoked=True))
        for key in event.keys:
            self.put_key(event, key)
        agent = known or Agent(event.tenant, event.agent, ())
        self.state.agents.put(name, msgspec.structs.replace(agent, key_ids=wanted))
        self.tell("registered", event.tenant, event.agent, self.place())

    def key_problem(self, event: agents.AgentRegistered) -> tuple[Rejection, str] | None:
        for key in event.keys:
            try:
                raw = base64.b64decode(key.public_key, validate=True)
            except (binascii.Error, ValueError):
                return Rejection.MALFORMED, f"key {key.key_id} is no base64"
            if len(raw) != 32 or ids.key_id(raw) != key.key_id:
                return Rejection.MALFORMED, f"key {key.key_id} is not the id of its key"
            owner = self.state.keys.get(key.key_id)
            if owner is not None and (owner.tenant, owner.agent) != (event.tenant, event.agent):
                return Rejection.CONFLICT, f"key {key.key_id} belongs to another agent"
        return None

    def put_key(self, event: agents.AgentRegistered, key: agents.AgentKey) -> None:
        known = self.state.keys.get(key.key_id)
        self.state.keys.put(
            key.key_id,
            Key(event.tenant, event.agent, key.public_key, key.not_before_ms, key.not_after_ms,
                0 if known is None else known.sequence),
        )  # fmt: skip

    def market_declared(self, event: markets.MarketDeclared) -> None:
        for other in self.state.markets.values():
            if other.market != event.market and other.partition == event.partition:
                return  # the market's own lane reports the conflict
        known = self.state.markets.get(event.market)
        if known is None or known.partition == event.partition:
            self.state.markets.put(event.market, event)

    # -- money from above --------------------------------------------------------------------------

    def granted(self, event: agents.CreditGranted) -> None:
        if event.grant_id in self.state.grants:
            return
        name = ids.agent_id(event.tenant, event.agent)
        if event.tenant not in self.state.tenants or (
            event.agent and name not in self.state.agents
        ):
            self.dead(Rejection.UNKNOWN_AGENT, f"{name} is not registered here")
            return
        own = ledger.tenant_account(event.tenant)
        if event.source == "tenant" and self.journal.balance(own) < event.amount_micros:
            self.dead(Rejection.NO_FUNDS, f"{own} holds {self.journal.balance(own)} micro-credits")
            return
        self.state.grants.put(event.grant_id, True)
        if event.source == "treasury":
            self.move("grant", ledger.TREASURY, own, event, event.agent)
        if event.agent:
            account = ledger.available(event.tenant, event.agent)
            self.move("grant", own, account, event, event.agent)
            self.tell(
                "granted", event.tenant, event.agent, event.grant_id,
                amount_micros=event.amount_micros,
            )  # fmt: skip

    def move(
        self, kind: ledger_events.EntryKind, debit: str, credit: str,
        event: agents.CreditGranted, agent: str,
    ) -> None:  # fmt: skip
        self.journal.post(
            kind, debit, credit, event.amount_micros, event.grant_id, event.tenant, agent
        )

    def refill_set(self, event: agents.RefillSet) -> None:
        name = ids.agent_id(event.tenant, event.agent)
        if name not in self.state.agents:
            self.dead(Rejection.UNKNOWN_AGENT, f"{name} is not registered here")
            return
        agent = self.accrue(name)
        self.state.agents.put(
            name,
            msgspec.structs.replace(
                agent, refill_micros=event.amount_micros, refill_period_ms=event.period_ms,
                refilled_at_ms=self.now_ms,
            ),
        )  # fmt: skip

    def accrue(self, name: str) -> Agent:
        """Pay out whole refill periods when an account is touched: no timer needed."""
        agent = self.state.agents[name]
        if agent.refill_period_ms == 0:
            return agent
        periods = max(0, self.now_ms - agent.refilled_at_ms) // agent.refill_period_ms
        if periods == 0:
            return agent
        until = agent.refilled_at_ms + periods * agent.refill_period_ms
        # One entry holds no more: only a refill that nobody could mean gets there.
        amount = min(periods * agent.refill_micros, money.MICROS_MAX)
        self.journal.post(
            "refill", ledger.TREASURY, ledger.available(agent.tenant, agent.agent), amount,
            ids.joined(name, until), agent.tenant, agent.agent,
        )  # fmt: skip
        return self.state.agents.put(name, msgspec.structs.replace(agent, refilled_at_ms=until))

    # -- commands ----------------------------------------------------------------------------------

    def commands(self, signed: SignedCommands) -> None:
        envelope, key = signed.envelope, self.state.keys.get(signed.key_id)
        owner = None if key is None else (key.tenant, key.agent)
        if key is None or owner != (envelope.tenant, envelope.agent) or key.revoked:
            self.dead(Rejection.UNKNOWN_KEY, f"{signed.key_id} does not speak for this agent")
            return
        if not key.not_before_ms <= self.now_ms < key.not_after_ms:
            self.dead(Rejection.UNKNOWN_KEY, f"{signed.key_id} is not valid now")
            return
        if envelope.sequence <= key.sequence:
            self.tell(
                "replayed", envelope.tenant, envelope.agent, self.place(),
                reason=Rejection.REPLAYED, evidence={"last_sequence": key.sequence},
            )  # fmt: skip
            return
        row = msgspec.structs.replace(key, sequence=envelope.sequence)
        self.state.keys.put(signed.key_id, row)
        self.accrue(ids.agent_id(envelope.tenant, envelope.agent))
        for index, command in enumerate(envelope.commands):
            self.command(signed, index, command.chosen())

    def command(
        self, signed: SignedCommands, index: int,
        command: bids.Place | bids.Cancel | bids.Release | bids.Offer | bids.Accept,
    ) -> None:  # fmt: skip
        envelope = signed.envelope
        bid = ids.bid_id(envelope.tenant, envelope.agent, signed.key_id, envelope.sequence, index)
        late = self.now_ms > envelope.expires_at_ms
        match command:
            case bids.Place():
                self.placed(envelope, bid, index, command, late=late)
            case bids.Cancel():
                self.cancel(envelope, bid, command, late=late)
            case bids.Release():
                self.release(envelope, bid, command, late=late)
            case bids.Offer() | bids.Accept():
                reason = Rejection.EXPIRED if late else Rejection.UNSUPPORTED
                self.declined(envelope, bid, reason)
            case _:
                assert_never(command)

    def placed(
        self, envelope: bids.Envelope, bid: str, index: int, place: bids.Place, *, late: bool
    ) -> None:
        tenant, agent = envelope.tenant, envelope.agent
        account, held = ledger.available(tenant, agent), ledger.hold(tenant, agent)
        market = self.state.markets.get(place.market)
        admitted = admission.admit(place, self.journal.balance(account))
        if late:
            self.refuse(envelope, bid, place, Rejection.EXPIRED)
        elif market is None:
            self.refuse(envelope, bid, place, Rejection.UNKNOWN_MARKET)
        elif admitted is None:
            self.refuse(envelope, bid, place, Rejection.NO_FUNDS)
        else:
            amount = admitted.hold_micros
            self.journal.post("hold", account, held, amount, bid, tenant, agent)
            self.state.orders.put(bid, HeldOrder(tenant, agent, place.market, amount))
            order = orders.OrderPlaced(
                bid_id=bid, tenant=tenant, agent=agent, market=place.market,
                source=self.state.partition, seq=self.next_seq(market.partition),
                sequence=envelope.sequence, index=index, mode=place.mode,
                value_micros=admitted.value_micros, level_min=place.level_min,
                level_max=admitted.level_max, not_before_ms=place.not_before_ms,
                rest_until_ms=place.rest_until_ms, alternatives=place.alternatives,
            )  # fmt: skip
            self.out.append(Emit(registry.ORDERS, market.partition, bid, order))
            self.tell(
                "held", tenant, agent, bid, bid_id=bid, market=place.market, amount_micros=amount,
                evidence={"asked_micros": place.value_micros * place.level_max},
            )  # fmt: skip

    def refuse(
        self, envelope: bids.Envelope, bid: str, place: bids.Place, reason: Rejection
    ) -> None:
        self.tell(
            "refused", envelope.tenant, envelope.agent, bid, bid_id=bid, market=place.market,
            reason=reason,
        )  # fmt: skip

    def cancel(
        self, envelope: bids.Envelope, command_id: str, cancel: bids.Cancel, *, late: bool
    ) -> None:
        order = self.state.orders.get(cancel.bid_id)
        if late:
            self.declined(envelope, command_id, Rejection.EXPIRED, bid_id=cancel.bid_id)
            return
        if order is None or (order.tenant, order.agent) != (envelope.tenant, envelope.agent):
            self.declined(envelope, command_id, Rejection.UNKNOWN_BID, bid_id=cancel.bid_id)
            return
        market = self.state.markets.get(order.market)
        if market is None:  # removed: its settlement is on the way
            self.declined(envelope, command_id, Rejection.MARKET_REMOVED, bid_id=cancel.bid_id)
            return
        request = orders.CancelRequested(
            bid_id=cancel.bid_id, tenant=envelope.tenant, agent=envelope.agent,
            market=order.market, source=self.state.partition, seq=self.next_seq(market.partition),
        )  # fmt: skip
        self.out.append(Emit(registry.ORDERS, market.partition, cancel.bid_id, request))

    def release(
        self, envelope: bids.Envelope, command_id: str, release: bids.Release, *, late: bool
    ) -> None:
        lease = self.state.leases.get(release.lease_id)
        if late:
            self.declined(envelope, command_id, Rejection.EXPIRED, lease_id=release.lease_id)
            return
        if lease is None or (lease.tenant, lease.agent) != (envelope.tenant, envelope.agent):
            self.declined(envelope, command_id, Rejection.UNKNOWN_LEASE, lease_id=release.lease_id)
            return
        market = self.state.markets.get(lease.market)
        if market is None:
            self.declined(envelope, command_id, Rejection.MARKET_REMOVED, lease_id=release.lease_id)
            return
        request = orders.ReleaseRequested(
            lease_id=release.lease_id, bid_id=lease.bid_id, tenant=envelope.tenant,
            agent=envelope.agent, market=lease.market, source=self.state.partition,
            seq=self.next_seq(market.partition),
        )  # fmt: skip
        self.out.append(Emit(registry.ORDERS, market.partition, release.lease_id, request))

    # -- settlements -------------------------------------------------------------------------------

    def settled(self, event: ledger_events.Settled) -> None:
        heard = self.state.heard.get(str(event.source)) or 0
        if event.seq != heard + 1:
            raise SequenceGap(f"market partition {event.source} sent {event.seq} after {heard}")
        self.state.heard.put(str(event.source), event.seq)
        if event.cause in ("voided", "ended"):
            self.refunded(event)
        else:
            self.order_settled(event)
        self.tell(
            "settled", event.tenant, event.agent, event.settlement_id, bid_id=event.bid_id,
            market=event.market, lease_id=event.lease_id, price_micros=event.charge_micros,
            refund_micros=event.refund_micros, epoch=event.epoch,
        )  # fmt: skip

    def order_settled(self, event: ledger_events.Settled) -> None:
        order = self.state.orders[event.bid_id]
        assert event.charge_micros <= order.held_micros, "a charge beyond the hold"
        assert event.cause == "won" or event.charge_micros == 0, "losers never pay"
        self.state.orders.remove(event.bid_id)
        held = ledger.hold(order.tenant, order.agent)
        account = ledger.available(order.tenant, order.agent)
        reference, owner = event.settlement_id, (order.tenant, order.agent)
        freed = order.held_micros - event.charge_micros
        self.journal.post("charge", held, ledger.REVENUE, event.charge_micros, reference, *owner)
        self.journal.post("unhold", held, account, freed, reference, *owner)
        if event.cause == "won":
            lease = HeldLease(*owner, order.market, event.bid_id, event.charge_micros)
            self.state.leases.put(event.lease_id, lease)

    def refunded(self, event: ledger_events.Settled) -> None:
        lease = self.state.leases[event.lease_id]
        assert event.refund_micros <= lease.paid_micros, "a refund beyond the price"
        self.state.leases.remove(event.lease_id)
        account = ledger.available(lease.tenant, lease.agent)
        self.journal.post(
            "refund", ledger.REVENUE, account, event.refund_micros, event.settlement_id,
            lease.tenant, lease.agent,
        )  # fmt: skip

    # -- telling -----------------------------------------------------------------------------------

    def dead(self, reason: Rejection, detail: str) -> None:
        self.out.append(DeadLetter(reason, detail))

    def place(self) -> str:
        """The input's own id, for outcomes that no bid identifies."""
        origin = self.given.origin
        return ids.joined(origin.topic, origin.partition, origin.offset)

    def next_seq(self, market_partition: int) -> int:
        key = str(market_partition)
        return self.state.sent.put(key, (self.state.sent.get(key) or 0) + 1)

    def declined(
        self, envelope: bids.Envelope, command_id: str, reason: Rejection, bid_id: str = "",
        lease_id: str = "",
    ) -> None:  # fmt: skip
        self.tell(
            "declined", envelope.tenant, envelope.agent, command_id, bid_id=bid_id,
            lease_id=lease_id, reason=reason,
        )  # fmt: skip

    def tell(
        self, kind: OutcomeKind, tenant: str, agent: str, about: str, *,
        reason: Rejection | None = None, evidence: dict[str, int | str] | None = None,
        bid_id: str = "", market: str = "", lease_id: str = "", amount_micros: int = 0,
        price_micros: int = 0, refund_micros: int = 0, epoch: int = 0,
    ) -> None:  # fmt: skip
        """Every outcome of this lane carries the balances, so an agent always knows them."""
        figures: dict[str, int | str] = {
            "available_micros": self.journal.balance(ledger.available(tenant, agent)),
            "held_micros": self.journal.balance(ledger.hold(tenant, agent)),
        }
        outcome = OutcomeReported(
            outcome_id=ids.joined(kind, about), kind=kind, tenant=tenant, agent=agent,
            at_ms=self.now_ms, bid_id=bid_id, market=market, lease_id=lease_id, reason=reason,
            sentence="" if reason is None else sentence(reason),
            evidence=figures | (evidence or {}), amount_micros=amount_micros,
            price_micros=price_micros, refund_micros=refund_micros, epoch=epoch,
        )  # fmt: skip
        key = ids.agent_id(tenant, agent)
        self.out.append(Emit(registry.OUTCOMES, self.state.partition, key, outcome))
