"""What a bid would have had to name lately: answers before bidding, from public rounds alone.

Decides, per pool, the value that would have won the last round, half of the rounds, nine in ten and
all. Refuses to promise: the next window has other bidders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bidplane_agents import errors, log
from bidplane_agents import operator as operators
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_topics import bids, money, registry, selectors
from bidplane_topics.rounds import RoundClosed

ROUNDS: Final = 50
_UNITS: Final = {"1g": 1, "2g": 2, "3g": 3, "4g": 4}
_DEVICE_UNITS: Final = 7
_NINE_IN_TEN: Final = 0.9


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """One pool's answer, in micro-credits for the whole bid (or a level of an elastic one).

    ``rounds`` were looked at. Of them ``priced`` show a price for this shape, and the prices are of
    those alone: None where there is none. In ``full`` nothing that large was free at any price; in
    ``hidden`` too few agents took part to show one. ``last_micros`` is the last round's;
    ``least_micros`` is the reserve, below which nothing is ever sold. ``isolation`` is said of
    shares: what keeps them apart, or that nothing does.
    """

    market: str
    market_pool: str
    shape: str
    duration_ms: int
    rounds: int
    priced: int
    full: int
    hidden: int
    least_micros: int
    last_micros: int | None = None
    half_micros: int | None = None
    most_micros: int | None = None
    all_micros: int | None = None
    isolation: str = ""


def units(shape: bids.Shape) -> int:
    """Sevenths of a device."""
    return _UNITS.get(shape) or _DEVICE_UNITS * int(shape)


def quotes(closed: Sequence[RoundClosed], wanted: bids.Alternative) -> tuple[Quote, ...]:
    """A quote for each pool of the newest round that ``wanted`` selects, in name order.

    ``closed``: rounds of one market, oldest first.
    """
    if not closed:
        return ()
    newest = closed[-1]
    return tuple(
        _quote(closed, wanted, name)
        for name, pool in sorted(newest.pools.items())
        if selectors.meets(
            pool.facts, name, pool.device_class, wanted.selector, newest.device_class
        )
    )


def _quote(closed: Sequence[RoundClosed], wanted: bids.Alternative, name: str) -> Quote:
    newest = closed[-1]
    slots = -(-wanted.duration_ms // newest.slot_ms)
    unit_slots = units(wanted.shape) * slots
    seen = [one.pools[name] for one in closed if name in one.pools]
    shown = [pool for pool in seen if pool.asks]
    prices = [pool.asks[wanted.shape] * unit_slots for pool in shown if wanted.shape in pool.asks]
    last = seen[-1].asks.get(wanted.shape)
    return Quote(
        market=newest.market, market_pool=name, shape=wanted.shape,
        duration_ms=wanted.duration_ms, rounds=len(seen), priced=len(prices),
        full=len(shown) - len(prices), hidden=len(seen) - len(shown),
        least_micros=seen[-1].reserve_micros * unit_slots,
        last_micros=None if last is None else last * unit_slots,
        half_micros=_share(prices, 0.5), most_micros=_share(prices, _NINE_IN_TEN),
        all_micros=_share(prices, 1.0), isolation=str(seen[-1].facts.get("isolation", "")),
    )  # fmt: skip


def _share(prices: Iterable[int], share: float) -> int | None:
    """The least price that would have won at least this share of the rounds."""
    ordered = sorted(prices)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def sentence(quote: Quote) -> str:
    """What a person reads."""
    said = [f"{quote.market_pool}: {quote.shape} for {quote.duration_ms / 60_000:g} min"]
    if quote.all_micros is None:
        said.append(f"no price to show; the reserve is {_credits(quote.least_micros)}")
    else:
        assert quote.half_micros is not None
        assert quote.most_micros is not None
        said.append(
            f"{_credits(quote.half_micros)} would have won half of {quote.priced} "
            f"{'rounds' if quote.priced > 1 else 'round'} with a price, "
            f"{_credits(quote.most_micros)} nine in ten, {_credits(quote.all_micros)} all"
        )
    if quote.isolation:
        said.append(f"a share: isolation {quote.isolation}")
    if quote.full:
        said.append(f"in {quote.full} nothing that large was free")
    if quote.hidden:
        said.append(
            f"{quote.hidden} had fewer than three bidders, or a solver (exact): they tell no price"
        )
    return "; ".join(said)


def _credits(micros: int) -> str:
    return money.format_credits(micros)


async def fetch(
    connection: Connection, market: str, wanted: bids.Alternative, rounds: int = ROUNDS
) -> tuple[Quote, ...]:
    """``quotes`` from the last ``rounds`` rounds that the log keeps of ``market``.

    Raises:
        BadInput: the market has closed no round, or no pool of it is selected.
        Unreachable: Kafka does not answer.
    """
    # Each round is a transaction of its own: its marker is an offset too.
    found = [
        event
        async for _, event in log.events(connection, registry.ROUNDS, last=2 * rounds)
        if event.market == market
    ]
    if not found:
        declared = await operators.Operator(connection).declared_markets()
        near = "" if market in declared else errors.meant(market, declared)
        raise BadInput(f"market {market!r} has closed no round: {near}see `bidplane market list`")
    made = quotes(found[-rounds:], wanted)
    if not made:
        known = ", ".join(sorted(found[-1].pools)) or "none"
        raise BadInput(f"no pool of {market} is selected: it has {known} (`bidplane market pools`)")
    return made
