"""The clearing once more, by the kernel: the same result, byte for byte, or the pure path.

Decides when the kernel may answer: once ``warm`` has built it and seen it agree with the pure path,
and for numbers within its bounds. Refuses to know how it computes.
"""

from __future__ import annotations

import binascii
import hashlib
import logging
from typing import Final, NamedTuple

import msgspec

from bidplane_streams.fast import building, proving
from bidplane_streams.fast.columns import Beyond, Columns
from bidplane_streams.fast.native import RULES, Kernel, KernelBroken, Wins
from bidplane_streams.market import clearing as pure
from bidplane_streams.market import placement, pricing
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import codec
from bidplane_topics.instances import Award, Instance, InstanceAlternative, InstancePool, Result

_log: Final = logging.getLogger(__name__)


class _Loaded:
    """The kernel of this process, once it is warm."""

    kernel: Kernel | None = None


class _Won(NamedTuple):
    """A winner on its way to the result."""

    bid_id: str
    chosen: InstanceAlternative
    alternative: int
    level: int
    price_micros: int
    value_micros: int


def warm() -> bool:
    """Build and load the kernel and see it agree with the pure path; false: there is none.

    Takes seconds the first time on a machine, a quarter of one after that. Any thread may call it;
    until it returns, ``clear`` takes the pure path.
    """
    if _Loaded.kernel is None:
        try:
            kernel = Kernel(building.ensure())
            _prove(kernel)
        except (building.NoKernel, KernelBroken, OSError, AttributeError) as error:
            _log.warning("no compiled kernel, windows are cleared in Python: %s", error)
            return False
        _Loaded.kernel = kernel
    return True


def _prove(kernel: Kernel) -> None:
    for window in proving.windows():
        columns = Columns.of(window.bids)
        for rule in RULES:
            if _by(kernel, window, columns, rule) != pure.clear(window, rule):
                raise KernelBroken(f"it clears window {window.window} of the proof wrongly")


def is_warm() -> bool:
    """Whether the kernel answers."""
    return _Loaded.kernel is not None


def clear(instance: Instance, rule: str = "greedy") -> Result:
    """Clear one window: ``market.clearing.clear``, faster where it can be.

    Raises:
        KeyError: ``rule`` is no row of pricing.PRICING.
    """
    if _Loaded.kernel is None or rule not in RULES or rule not in pricing.PRICING:
        return pure.clear(instance, rule)
    try:
        columns = Columns.of(instance.bids)
    except Beyond:
        return pure.clear(instance, rule)
    return clear_columns(instance, columns, rule)


def clear_columns(window: Instance, columns: Columns, rule: str = "greedy") -> Result:
    """Clear bids that were gathered on arrival; ``window.bids`` is not looked at.

    Raises:
        KeyError: ``rule`` is no row of pricing.PRICING, or a bid names an unknown pool.
    """
    result = None
    if _Loaded.kernel is not None and rule in RULES and rule in pricing.PRICING:
        try:
            result = _by(_Loaded.kernel, window, columns, rule)
        except KernelBroken:
            _log.exception("the kernel is not asked again: windows are cleared in Python")
            _Loaded.kernel = None
    if result is None:
        bids = tuple(bid for bid in columns.bids if bid is not None)
        return pure.clear(msgspec.structs.replace(window, bids=bids), rule)
    return result


def _by(kernel: Kernel, window: Instance, columns: Columns, rule: str) -> Result | None:
    """What the kernel makes of the window; None: it is beyond its bounds."""
    pools = {pool.name: pool for pool in window.pools}
    if not pools.keys() >= columns.pools.keys():
        columns.renew()  # a pool may have gone with its last bid
    if not pools.keys() >= columns.pools.keys() or len(pools) != len(window.pools):
        return None  # the pure path says what is wrong with it
    beacon = binascii.unhexlify(window.beacon)
    wins = kernel.clear(columns, [pools[name] for name in columns.pools], beacon, RULES[rule])
    if wins is None:
        return None
    won = sorted(_winners(columns, wins))
    positions = _positions(window.pools, won)
    awards = {
        one.bid_id: Award(
            alternative=one.alternative, level=one.level, price_micros=one.price_micros,
            devices=positions[one.bid_id],
        )
        for one in won
    }  # fmt: skip
    result = Result(
        market=window.market, window=window.window, rule=rule, awards=awards, prices=_prices(won),
        welfare_micros=sum(one.value_micros * one.level for one in won),
        revenue_micros=sum(one.price_micros for one in won),
    )  # fmt: skip
    return msgspec.structs.replace(result, root=_root_of(window, columns, result))


def _winners(columns: Columns, wins: Wins) -> list[_Won]:
    won = []
    for row, alternative, level, paid in zip(
        wins.rows, wins.alternatives, wins.levels, wins.paid, strict=True
    ):
        bid = columns.bids[row]
        assert bid is not None, "an empty row has no pairs"
        chosen = bid.alternatives[alternative]
        won.append(_Won(bid.bid_id, chosen, alternative, level, paid, bid.value_micros))
    return won


def _positions(pools: tuple[InstancePool, ...], won: list[_Won]) -> placement.Positions:
    sold: dict[str, list[tuple[str, str, int]]] = {pool.name: [] for pool in pools}
    for one in won:
        sold[one.chosen.pool].append((one.bid_id, one.chosen.shape, one.level))
    found: placement.Positions = {}
    for pool in pools:
        found |= placement.place_pool(pool.nodes, sold[pool.name], pool.partly_used)
    return found


def _prices(won: list[_Won]) -> dict[str, int]:
    """What was paid per unit and slot in each pool that sold, floored."""
    paid: dict[str, int] = {}
    sold: dict[str, int] = {}
    for one in won:
        pool, units = one.chosen.pool, UNITS[one.chosen.shape] * one.chosen.slots * one.level
        paid[pool] = paid.get(pool, 0) + one.price_micros
        sold[pool] = sold.get(pool, 0) + units
    return {pool: paid[pool] // sold[pool] for pool in sorted(paid)}


def _root_of(window: Instance, columns: Columns, result: Result) -> str:
    """``market.clearing.root_of``, with each bid's canonical JSON from the columns."""
    empty = msgspec.structs.replace(
        window, bids=(), pools=tuple(sorted(window.pools, key=lambda pool: pool.name))
    )
    wins = {
        bid_id: [won.alternative, won.level, won.price_micros]
        for bid_id, won in result.awards.items()
    }
    # Names are sorted, so only the beacon, which is hex, comes before the bids.
    before, bids, after = codec.canonical([empty, result.rule, wins]).partition(b'"bids":[')
    digest = hashlib.sha256(before + bids)
    columns.digest_into(digest)
    digest.update(after)
    return digest.hexdigest()
