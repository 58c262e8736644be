"""Moving a node to another market: the one record that does it, and what it waits for.

Decides which node and market can be meant, and tells from the log alone how far a handover is.
Refuses to hand anything over itself: lanes leave a node, and the new market's source takes it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bidplane_agents import errors, log, operator
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput, Overtaken
from bidplane_topics import leases, markets, registry, supply

# Offsets to look back: a round is a record and the marker of its transaction.
_LAST: Final = 40


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment, this one or an earlier one: ``assignment`` is its offset + 1, 0 for none.

    ``already`` says that the market had the node, so that nothing was written.
    """

    node: str
    market: str
    assignment: int
    already: bool = False


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How far a handover is.

    ``behind``: markets that have not closed a round since. ``leases``: of other markets, not ended;
    the last of them ends at ``until_ms`` at the latest, 0 where that is not known yet.
    """

    behind: tuple[str, ...] = ()
    leases: int = 0
    until_ms: int = 0
    done: bool = False


class Places(msgspec.Struct):
    """Where nodes are: the newest word on each, by market, and what operators assigned."""

    offers: dict[str, dict[str, supply.NodeOffered | None]]
    assigned: dict[str, Moved]

    def offering(self, node: str) -> set[str]:
        """The markets that offer a node."""
        return {market for market, offer in self.offers.get(node, {}).items() if offer}


async def places(connection: Connection) -> Places:
    """Read them.

    Raises:
        Unreachable: Kafka does not answer.
    """
    found = Places({}, {})
    async for record, event in log.events(connection, registry.MARKETS):
        if isinstance(event, markets.NodeAssigned):
            found.assigned[event.node] = Moved(
                node=event.node, market=event.market, assignment=record.offset + 1
            )
    async for _, event in log.events(connection, registry.SUPPLY):
        offer = event if isinstance(event, supply.NodeOffered) else None
        found.offers.setdefault(event.node, {})[event.market] = offer
    return found


async def move(hand: operator.Operator, node: str, market: str) -> Moved:
    """Assign ``node`` to ``market``, unless it is there.

    Raises:
        BadInput: there is no such market, or no market ever offered the node.
    """
    declared = await hand.declared_markets()
    if market not in declared:
        raise errors.no_market(market, declared)
    known = await places(hand.connection)
    before = known.assigned.get(node)
    if before is None and node not in known.offers:
        near = errors.meant(node, known.offers)
        raise BadInput(
            f"no market ever offered a node {node!r}: {near}`kubectl get nodes` has the names"
        )
    there = known.offering(node) == {market} if before is None else before.market == market
    if there:
        number = 0 if before is None else before.assignment
        return Moved(node=node, market=market, assignment=number, already=True)
    return Moved(node=node, market=market, assignment=await hand.assign_node(node, market) + 1)


async def stage(connection: Connection, moved: Moved) -> Stage:
    """How far the handover is now.

    Raises:
        Overtaken: the node was assigned elsewhere since.
        Unreachable: Kafka does not answer.
    """
    known = await places(connection)
    newest = known.assigned.get(moved.node)
    if newest is not None and newest.assignment != moved.assignment:
        raise Overtaken(f"{moved.node} was moved on to {newest.market} meanwhile")
    offer = known.offers.get(moved.node, {}).get(moved.market)
    if offer is not None and offer.assignment == moved.assignment:
        return Stage(done=True)
    behind = await _behind(connection, moved.assignment)
    held = await _held(connection, moved)
    return Stage(
        behind=behind, leases=len(held), until_ms=max(map(_until_ms, held), default=0)
    )  # fmt: skip


async def _behind(connection: Connection, number: int) -> tuple[str, ...]:
    read: dict[str, int] = {}
    async for _, event in log.events(connection, registry.MARKETS):
        if isinstance(event, markets.MarketDeclared):
            read[event.market] = -1
    async for _, event in log.events(connection, registry.ROUNDS, last=_LAST):
        read[event.market] = event.inputs.get(registry.MARKETS.name, 0)
    return tuple(sorted(market for market, offset in read.items() if offset < number))


async def _held(connection: Connection, moved: Moved) -> list[leases.LeaseChanged]:
    live: dict[str, leases.LeaseChanged] = {}
    async for _, event in log.events(connection, registry.LEASES):
        names = any(device.node == moved.node for device in event.devices)
        if names and event.state != "ended" and event.market != moved.market:
            live[event.lease_id] = event
        else:
            live.pop(event.lease_id, None)
    return list(live.values())


def _until_ms(lease: leases.LeaseChanged) -> int:
    """When its time is over, as far as that is known; its grace and its release come on top."""
    return max(lease.ends_at_ms, lease.grace_until_ms)


def sentence(moved: Moved, now: Stage, when: Any) -> str:
    """What an operator reads; ``when`` puts a time in milliseconds into words."""
    if now.done:
        return f"handed over: {moved.market} offers {moved.node}"
    if now.behind:
        return f"leaving: {', '.join(now.behind)} must close a window first"
    if now.leases:
        until = f", the last until {when(now.until_ms)}" if now.until_ms else ""
        return f"draining: {now.leases} lease{'s' * (now.leases > 1)} left{until}"
    return f"drained: waiting for the inventory source of {moved.market}"
