"""What an organisation gives to its tenants, and its way from one partition to another.

Decides what leaves, what arrives and what goes back. Refuses a transaction over two partitions:
the organisation's side debits and writes a record, the tenant's side credits once per transfer.
Between the two the money stands on the system account ``transit`` of both sides: what left is
positive there, what arrived negative, and what is under way is the sum.
"""

from __future__ import annotations

from bidplane_streams.market import funding, ledger
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import Emit
from bidplane_topics import agents, ids, registry, transit
from bidplane_topics.rejections import Rejection


def funded(turn: AccountTurn, event: agents.OrganisationFunded) -> None:
    """The treasury raises what the organisation may give; a grant id counts once."""
    if event.grant_id in turn.state.grants or not funding.known(turn, event.organisation, "", ""):
        return
    turn.state.grants.put(event.grant_id, True)
    turn.journal.post(
        "grant", ledger.TREASURY, ledger.organisation_account(event.organisation),
        event.amount_micros, event.grant_id, "", organisation=event.organisation,
    )  # fmt: skip


def allotted(turn: AccountTurn, event: agents.CreditAllotted) -> None:
    """Money leaves the organisation, as far as it has any: here its limit is enforced."""
    if event.grant_id in turn.state.grants or not funding.known(turn, event.organisation, "", ""):
        return
    own = ledger.organisation_account(event.organisation)
    if not funding.covered(turn, own, event.amount_micros):
        return
    turn.state.grants.put(event.grant_id, True)
    turn.journal.post(
        "transit", own, ledger.TRANSIT, event.amount_micros, event.grant_id, event.tenant,
        event.agent, event.organisation,
    )  # fmt: skip
    sent = transit.CreditSent(
        transfer_id=event.grant_id, organisation=event.organisation,
        organisation_partition=turn.state.partition, tenant=event.tenant, agent=event.agent,
        amount_micros=event.amount_micros,
    )  # fmt: skip
    turn.out.append(Emit(registry.TRANSIT, event.tenant_partition, event.grant_id, sent))


def arrived(turn: AccountTurn, event: transit.CreditSent) -> None:
    """Credit the tenant, once; what it cannot take goes back to the organisation."""
    if event.transfer_id in turn.state.arrived:
        return
    turn.state.arrived.put(event.transfer_id, True)
    problem = _problem(turn, event)
    if problem is not None:
        _send_back(turn, event, *problem)
        return
    own, account = ledger.tenant_account(event.tenant), ledger.available(event.tenant, event.agent)
    turn.accrue(account)  # first: it may draw on the tenant, but not on what comes now
    turn.journal.post(
        "transit", ledger.TRANSIT, own, event.amount_micros, event.transfer_id, event.tenant,
        event.agent, event.organisation,
    )  # fmt: skip
    if event.agent:
        turn.journal.post(
            "grant", own, account, event.amount_micros, event.transfer_id, event.tenant,
            event.agent,
        )  # fmt: skip
        turn.tell(
            "granted", event.tenant, event.agent, event.transfer_id,
            amount_micros=event.amount_micros,
        )  # fmt: skip


def _problem(turn: AccountTurn, event: transit.CreditSent) -> tuple[Rejection, str] | None:
    name = ids.agent_id(event.tenant, event.agent) if event.agent else event.tenant
    row = turn.state.tenants.get(event.tenant)
    if row is None or (event.agent and name not in turn.state.agents):
        return Rejection.UNKNOWN_AGENT, f"{name} is not registered here"
    if row.organisation != event.organisation:
        return Rejection.CONFLICT, f"tenant {event.tenant} is not {event.organisation}'s"
    return None


def _send_back(
    turn: AccountTurn, event: transit.CreditSent, reason: Rejection, detail: str
) -> None:
    """The record goes to the dead letters, so that the operator is told; the money goes back."""
    turn.dead(reason, detail)
    back = transit.CreditReturned(
        transfer_id=event.transfer_id, organisation=event.organisation, tenant=event.tenant,
        agent=event.agent, amount_micros=event.amount_micros, reason=reason,
    )  # fmt: skip
    turn.out.append(Emit(registry.TRANSIT, event.organisation_partition, event.transfer_id, back))


def returned(turn: AccountTurn, event: transit.CreditReturned) -> None:
    """The organisation has its money again, once, if it ever sent it."""
    state = turn.state
    if event.transfer_id not in state.grants or event.transfer_id in state.returned:
        return
    state.returned.put(event.transfer_id, True)
    turn.journal.post(
        "transit", ledger.TRANSIT, ledger.organisation_account(event.organisation),
        event.amount_micros, event.transfer_id, event.tenant, event.agent, event.organisation,
    )  # fmt: skip
