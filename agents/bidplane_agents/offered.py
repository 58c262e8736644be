"""What markets offer: the pools of each one's last round, with the facts that selectors read.

Decides which round is looked at and how a pool reads. Refuses to ask the lanes: rounds are public.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bidplane_agents import errors, log
from bidplane_agents import operator as operators
from bidplane_agents.connection import Connection
from bidplane_topics import money, registry
from bidplane_topics.rounds import PoolRound, RoundClosed

# Offsets to look back: a round is a record and the marker of its transaction.
_LAST: Final = 40


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A market's last round; ``window`` 0 and no pools where it closed none yet.

    ``device_class`` is what a bid means that names neither a pool nor a class.
    """

    market: str
    window: int = 0
    closed_at_ms: int = 0
    slot_ms: int = 0
    device_class: str = ""
    pools: dict[str, PoolRound] = {}


async def fetch(connection: Connection, market: str = "") -> list[Offered]:
    """Of ``market``, or of every market that is declared, in name order.

    Raises:
        BadInput: there is no such market.
        Unreachable: Kafka does not answer.
    """
    declared = await operators.Operator(connection).declared_markets()
    if market and market not in declared:
        raise errors.no_market(market, declared)
    return [
        await _last(connection, name, declared[name].partition)
        for name in ([market] if market else sorted(declared))
    ]


async def _last(connection: Connection, market: str, partition: int) -> Offered:
    found: RoundClosed | None = None
    async for _, event in log.events(connection, registry.ROUNDS, partition, last=_LAST):
        if event.market == market:
            found = event
    if found is None:
        return Offered(market=market)
    return Offered(
        market=market, window=found.window, closed_at_ms=found.closed_at_ms,
        slot_ms=found.slot_ms, device_class=found.device_class, pools=found.pools,
    )  # fmt: skip


def lines(offers: Iterable[Offered]) -> Iterator[str]:
    """What a person reads; the terms of a pool can be pasted behind `bidplane bid`."""
    for one in offers:
        yield _heading(one)
        for name, pool in sorted(one.pools.items()):
            price = f"last price {_credits(pool.price_micros)}, reserve "
            yield (
                f"  {name}: {pool.device_class}, {kind(pool)}, "
                f"{pool.units_offered} of {pool.units_total} units on sale, "
                f"{price}{_credits(pool.reserve_micros)}, scarcity {pool.scarcity_permille}"
            )
            yield f"    {terms(pool, one.device_class)}"


def kind(pool: PoolRound) -> str:
    """What one thing of the pool is, and what keeps its users apart where little does."""
    facts = pool.facts
    words = f"static MIG {facts['profile']}" if "profile" in facts else "whole devices"
    if "isolation" in facts:
        words = words.replace("whole devices", "shares")
        words += f", {facts['shares']} a device, isolation {facts['isolation']}"
    return f"{words} with {facts['companions']}" if "companions" in facts else words


def _heading(one: Offered) -> str:
    serve = f"`bidplane source inventory --market {one.market}`"
    if not one.window:
        return f"{one.market}: no round was closed yet; a worker closes them (`bidplane worker`)"
    if not one.pools:
        return f"{one.market}: nothing is offered; {serve} publishes a cluster's devices"
    return (
        f"{one.market}: window {one.window}; a unit is 1/7 of what is sold; prices per unit and "
        f"slot of {one.slot_ms} ms; bids without pool and device_class mean {one.device_class}"
    )


def terms(pool: PoolRound, usual_class: str) -> str:
    """``--select`` for every fact of a pool, quoted for a shell."""
    facts = dict(pool.facts)
    if pool.device_class != usual_class:
        facts = {"device_class": pool.device_class, **facts}
    return " ".join(f"--select {shlex.quote(f'{name}={fact}')}" for name, fact in facts.items())


def _credits(micros: int) -> str:
    return money.format_credits(micros)
