"""Money from above: grants, and refills that accrue by whole periods.

Decides what may be credited, and from which account. Refuses to know orders.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.market import ledger
from bidplane_streams.market.account_rows import Agent
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_topics import agents, ids, money
from bidplane_topics import ledger as ledger_events
from bidplane_topics.rejections import Rejection


def granted(turn: AccountTurn, event: agents.CreditGranted) -> None:
    """Credit from the treasury or the tenant; a grant id counts once."""
    if event.grant_id in turn.state.grants:
        return
    name = ids.agent_id(event.tenant, event.agent)
    if event.tenant not in turn.state.tenants or (event.agent and name not in turn.state.agents):
        turn.dead(Rejection.UNKNOWN_AGENT, f"{name} is not registered here")
        return
    own = ledger.tenant_account(event.tenant)
    if event.source == "tenant" and turn.journal.balance(own) < event.amount_micros:
        turn.dead(Rejection.NO_FUNDS, f"{own} holds {turn.journal.balance(own)} micro-credits")
        return
    turn.state.grants.put(event.grant_id, True)
    if event.source == "treasury":
        _move(turn, "grant", ledger.TREASURY, own, event, event.agent)
    if event.agent:
        account = ledger.available(event.tenant, event.agent)
        _move(turn, "grant", own, account, event, event.agent)
        turn.tell(
            "granted", event.tenant, event.agent, event.grant_id,
            amount_micros=event.amount_micros,
        )  # fmt: skip


def _move(
    turn: AccountTurn, kind: ledger_events.EntryKind, debit: str, credit: str,
    event: agents.CreditGranted, agent: str,
) -> None:  # fmt: skip
    turn.journal.post(kind, debit, credit, event.amount_micros, event.grant_id, event.tenant, agent)


def refill_set(turn: AccountTurn, event: agents.RefillSet) -> None:
    """Pay out what the old schedule owes, then start the new one."""
    name = ids.agent_id(event.tenant, event.agent)
    if name not in turn.state.agents:
        turn.dead(Rejection.UNKNOWN_AGENT, f"{name} is not registered here")
        return
    agent = accrue(turn, name)
    turn.state.agents.put(
        name,
        msgspec.structs.replace(
            agent, refill_micros=event.amount_micros, refill_period_ms=event.period_ms,
            refilled_at_ms=turn.now_ms,
        ),
    )  # fmt: skip


def accrue(turn: AccountTurn, name: str) -> Agent:
    """Pay out whole refill periods when an account is touched: no timer needed."""
    agent = turn.state.agents[name]
    if agent.refill_period_ms == 0:
        return agent
    periods = max(0, turn.now_ms - agent.refilled_at_ms) // agent.refill_period_ms
    if periods == 0:
        return agent
    until = agent.refilled_at_ms + periods * agent.refill_period_ms
    # One entry holds no more: only a refill that nobody could mean gets there.
    amount = min(periods * agent.refill_micros, money.MICROS_MAX)
    turn.journal.post(
        "refill", ledger.TREASURY, ledger.available(agent.tenant, agent.agent), amount,
        ids.joined(name, until), agent.tenant, agent.agent,
    )  # fmt: skip
    return turn.state.agents.put(name, msgspec.structs.replace(agent, refilled_at_ms=until))
