"""Who exists: organisations, tenants, agents, their keys, and the markets they may bid in.

Decides whether a registration contradicts an earlier one. Refuses to know money.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from bidplane_streams.market.account_rows import Agent, Key, Tenant
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_topics import agents, ids, markets
from bidplane_topics.rejections import Rejection


def organisation_registered(turn: AccountTurn, event: agents.OrganisationRegistered) -> None:
    """An organisation has one partition for ever."""
    if event.partition != turn.state.partition:
        turn.dead(Rejection.MISROUTED, f"organisation {event.organisation} names {event.partition}")
    elif event.organisation not in turn.state.organisations:
        turn.state.organisations.put(event.organisation, True)


def tenant_registered(turn: AccountTurn, event: agents.TenantRegistered) -> None:
    """A tenant has one partition and one organisation, or none, for ever."""
    known = turn.state.tenants.get(event.tenant)
    if event.partition != turn.state.partition:
        turn.dead(Rejection.MISROUTED, f"tenant {event.tenant} names {event.partition}")
    elif known is None:
        turn.state.tenants.put(event.tenant, Tenant(event.organisation))
    elif known.organisation != event.organisation:
        detail = f"tenant {event.tenant} was registered with {known.organisation or 'none'}"
        turn.dead(Rejection.CONFLICT, detail)


def agent_registered(turn: AccountTurn, event: agents.AgentRegistered) -> None:
    """New keys count from now on; keys left out are revoked and their sequence is kept."""
    if event.tenant not in turn.state.tenants:
        turn.dead(Rejection.UNKNOWN_AGENT, f"tenant {event.tenant} is not registered here")
        return
    name = ids.agent_id(event.tenant, event.agent)
    if (problem := _key_problem(turn, event)) is not None:
        turn.dead(*problem)
        return
    known = turn.state.agents.get(name)
    wanted = tuple(key.key_id for key in event.keys)
    for key_id in () if known is None else known.key_ids:
        if key_id not in wanted:
            row = turn.state.keys[key_id]
            turn.state.keys.put(key_id, msgspec.structs.replace(row, revoked=True))
    for key in event.keys:
        _put_key(turn, event, key)
    agent = known or Agent(event.tenant, event.agent, ())
    turn.state.agents.put(name, msgspec.structs.replace(agent, key_ids=wanted))
    turn.tell("registered", event.tenant, event.agent, turn.place())


def _key_problem(turn: AccountTurn, event: agents.AgentRegistered) -> tuple[Rejection, str] | None:
    for key in event.keys:
        try:
            raw = base64.b64decode(key.public_key, validate=True)
        except (binascii.Error, ValueError):
            return Rejection.MALFORMED, f"key {key.key_id} is no base64"
        if len(raw) != 32 or ids.key_id(raw) != key.key_id:
            return Rejection.MALFORMED, f"key {key.key_id} is not the id of its key"
        owner = turn.state.keys.get(key.key_id)
        if owner is not None and (owner.tenant, owner.agent) != (event.tenant, event.agent):
            return Rejection.CONFLICT, f"key {key.key_id} belongs to another agent"
    return None


def _put_key(turn: AccountTurn, event: agents.AgentRegistered, key: agents.AgentKey) -> None:
    known = turn.state.keys.get(key.key_id)
    turn.state.keys.put(
        key.key_id,
        Key(event.tenant, event.agent, key.public_key, key.not_before_ms, key.not_after_ms,
            0 if known is None else known.sequence),
    )  # fmt: skip


def market_declared(turn: AccountTurn, event: markets.MarketDeclared) -> None:
    """A market stays on its partition, and no two share one."""
    for other in turn.state.markets.values():
        if other.market != event.market and other.partition == event.partition:
            return  # the market's own lane reports the conflict
    known = turn.state.markets.get(event.market)
    if known is None or known.partition == event.partition:
        turn.state.markets.put(event.market, event)
