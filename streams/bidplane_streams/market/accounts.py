"""Tenants, agents, keys and money: who may bid what, and what becomes of the money.

Decides which rule an input meets, for the tenants of one partition. Refuses to know devices or
prices, and whether a signature is right: that was checked before.
"""

from __future__ import annotations

from typing import Any

from bidplane_streams.market import allotting, funding, registrations, requests, settling
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import Effect, Input, SignedCommands
from bidplane_topics import agents, markets, transit
from bidplane_topics import ledger as ledger_events


def apply(state: AccountsState, given: Input) -> list[Effect]:
    """Judge one input; see state.apply."""
    turn = AccountTurn(state, given)
    match given.event:
        case SignedCommands() as event:
            requests.commands(turn, event)
        case ledger_events.Settled() as event:
            settling.settled(turn, event)
        case markets.MarketDeclared() as event:
            registrations.market_declared(turn, event)
        case markets.MarketRemoved() as event:
            state.markets.remove(event.market)
        case markets.NodeAssigned():
            pass  # where devices are sold is none of the accounts' business
        case _:
            _operator(turn, given.event)
    # Ledger first: a reader that sees an outcome may rely on its entries.
    return [*turn.journal.entries, *turn.out]


def _operator(turn: AccountTurn, given: Any) -> None:
    """What an operator wrote of accounts, and what follows from it on another partition."""
    match given:
        case agents.OrganisationRegistered() as event:
            registrations.organisation_registered(turn, event)
        case agents.TenantRegistered() as event:
            registrations.tenant_registered(turn, event)
        case agents.AgentRegistered() as event:
            registrations.agent_registered(turn, event)
        case agents.RefillSet() | agents.BudgetSet() as event:
            funding.budget_set(turn, event)
        case agents.CreditGranted() as event:
            funding.granted(turn, event)
        case _:
            _organisation(turn, given)


def _organisation(turn: AccountTurn, given: Any) -> None:
    match given:
        case agents.OrganisationFunded() as event:
            allotting.funded(turn, event)
        case agents.CreditAllotted() as event:
            allotting.allotted(turn, event)
        case transit.CreditSent() as event:
            allotting.arrived(turn, event)
        case transit.CreditReturned() as event:
            allotting.returned(turn, event)
        case _:
            raise AssertionError(f"the accounts do not read {type(given).__name__}")
