"""Money from above on one partition: grants to tenants and agents, and what time does to accounts.

Decides what may be credited, and from which account. Refuses to know orders and organisations'
accounts: what an organisation gives comes from another partition (allotting.py).
"""

from __future__ import annotations

from bidplane_streams.market import ledger
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.schedules import Schedule
from bidplane_topics import agents, ids
from bidplane_topics import ledger as ledger_events
from bidplane_topics.rejections import Rejection


def granted(turn: AccountTurn, event: agents.CreditGranted) -> None:
    """Credit from the treasury or the tenant; a grant id counts once."""
    if event.grant_id in turn.state.grants:
        return
    if not known(turn, "", event.tenant, event.agent):
        return
    if event.source == "treasury" and limited(turn, event.tenant):
        return
    own, account = ledger.tenant_account(event.tenant), ledger.available(event.tenant, event.agent)
    turn.accrue(account)  # first: it may draw on the tenant, but not on what comes now
    if event.source == "tenant" and not covered(turn, own, event.amount_micros):
        return
    turn.state.grants.put(event.grant_id, True)
    if event.source == "treasury":
        _move(turn, "grant", ledger.TREASURY, own, event, event.agent)
    if event.agent:
        _move(turn, "grant", own, account, event, event.agent)
    if event.agent and event.amount_micros:  # what moves nothing is nothing to tell
        turn.tell(
            "granted", event.tenant, event.agent, event.grant_id,
            amount_micros=event.amount_micros,
        )  # fmt: skip


def _move(
    turn: AccountTurn, kind: ledger_events.EntryKind, debit: str, credit: str,
    event: agents.CreditGranted, agent: str,
) -> None:  # fmt: skip
    turn.journal.post(kind, debit, credit, event.amount_micros, event.grant_id, event.tenant, agent)


def known(turn: AccountTurn, organisation: str, tenant: str, agent: str) -> bool:
    """Whether the account's owner is registered here; buries the input where it is not."""
    state = turn.state
    if organisation and organisation not in state.organisations:
        turn.dead(Rejection.UNKNOWN_AGENT, f"{ids.organisation_id(organisation)} is not known here")
        return False
    name = ids.agent_id(tenant, agent) if agent else tenant
    if tenant and (tenant not in state.tenants or (agent and name not in state.agents)):
        turn.dead(Rejection.UNKNOWN_AGENT, f"{name} is not registered here")
        return False
    return True


def limited(turn: AccountTurn, tenant: str) -> bool:
    """Whether only an organisation may give to the tenant; buries the input where that is so."""
    row = turn.state.tenants.get(tenant)
    if row is None or not row.organisation:
        return False
    whose = ids.organisation_id(row.organisation)
    turn.dead(Rejection.CONFLICT, f"the money of tenant {tenant} comes from {whose}")
    return True


def covered(turn: AccountTurn, account: str, amount_micros: int) -> bool:
    """Whether the account holds that much, up to date; buries the input where it does not."""
    turn.accrue(account)
    held = turn.journal.balance(account)
    if held < amount_micros:
        turn.dead(Rejection.NO_FUNDS, f"{account} holds {held} micro-credits")
    return held >= amount_micros


def budget_set(turn: AccountTurn, event: agents.BudgetSet | agents.RefillSet) -> None:
    """Book what the old schedule owes, then start the new one."""
    budget = event if isinstance(event, agents.BudgetSet) else _budget(event)
    if not known(turn, budget.organisation, budget.tenant, budget.agent):
        return
    from_treasury = budget.source == "treasury"
    if from_treasury and budget.amount_micros and limited(turn, budget.tenant):
        return
    account = account_of(budget)
    turn.accrue(account)
    payer = ledger.TREASURY if from_treasury else ledger.tenant_account(budget.tenant)
    schedule = Schedule(
        budget.amount_micros, budget.period_ms, turn.now_ms, payer, budget.decay_permille
    )
    turn.state.schedules.put(account, schedule)


def _budget(event: agents.RefillSet) -> agents.BudgetSet:
    return agents.BudgetSet(
        tenant=event.tenant, agent=event.agent, amount_micros=event.amount_micros,
        period_ms=event.period_ms,
    )  # fmt: skip


def account_of(event: agents.BudgetSet) -> str:
    """The account that the budget is about."""
    if event.organisation:
        return ledger.organisation_account(event.organisation)
    if event.agent:
        return ledger.available(event.tenant, event.agent)
    return ledger.tenant_account(event.tenant)
