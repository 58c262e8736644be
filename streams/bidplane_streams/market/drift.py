"""What moves slowly between windows: scarcity and reserves (MECHANISM, Between windows).

Decides the next window's scarcity and reserves from what a round publishes of its pools. Refuses to
know bids: nothing that a window receives moves what the same window is cleared by, and whoever has
the rounds can recompute it. Integers only; steps round away from zero, so that under a steady input
every value arrives and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound

# Prices are kept in thousandths of a micro-credit: a mean of small ones must have room to move.
FINE: Final = 1000
# A pool counts as sold out from this share on: gangs leave fragments.
SOLD_OUT_PERMILLE: Final = 980
# No pool weighs less than this part of the dearest.
LEAST_PART: Final = 20
USUAL_WEIGHT: Final = 1000


class Drifted(NamedTuple):
    """The rules of the next window, and each pool's mean price so far, in ``FINE`` parts."""

    rules: MarketDeclared
    means: dict[str, int]


def after(
    declared: MarketDeclared, means: Mapping[str, int], pools: Mapping[str, PoolRound]
) -> Drifted:
    """What is in force once a round with these pools has closed.

    A pool that nobody offers any more is forgotten: it comes back as declared.
    """
    rules, known = declared, {}
    if declared.scarcity_rate_permille:
        rate = declared.scarcity_rate_permille
        known = {name: means[name] for name in pools if name in means}
        for name, pool in pools.items():
            if _sold_out(pool):
                known[name] = _mean(known.get(name), pool.price_micros * FINE, rate)
        weights = declared.scarcity | _weights(declared, known, pools)
        rules = msgspec.structs.replace(rules, scarcity=weights)
    if declared.reserve_rate_permille:
        moved = {name: _reserve(declared, name, pool) for name, pool in pools.items()}
        rules = msgspec.structs.replace(rules, reserves=declared.reserves | moved)
    return Drifted(rules, known)


def _sold_out(pool: PoolRound) -> bool:
    return 0 < pool.units_offered * SOLD_OUT_PERMILLE <= pool.units_sold * 1000


def _mean(before: int | None, newest: int, rate_permille: int) -> int:
    """The exponentially weighted mean; the first price is taken as it is."""
    if before is None:
        return newest
    gap = newest - before
    step = -(-abs(gap) * rate_permille // 1000)
    return before + (step if gap > 0 else -step)


def _weights(
    declared: MarketDeclared, means: Mapping[str, int], pools: Mapping[str, PoolRound]
) -> dict[str, int]:
    """Means in permille of the dearest; a pool that never sold out stays as declared."""
    dearest = max(means.values(), default=0)
    if not dearest:
        return {}
    most = max(declared.scarcity.get(name, USUAL_WEIGHT) for name in pools)
    least = -(-most // LEAST_PART)
    return {
        name: max(least, (2 * mean * most + dearest) // (2 * dearest))
        for name, mean in means.items()
    }


def _reserve(declared: MarketDeclared, name: str, pool: PoolRound) -> int:
    """One step up or down by how far the pool's use is off the target, from floor to cap.

    A window in which nothing was on sale says nothing of its price.
    """
    floor = declared.reserves.get(name, declared.reserve_micros)
    cap = max(floor, declared.reserve_cap_micros)
    reserve = min(max(pool.reserve_micros, floor), cap)
    if not pool.units_offered:
        return reserve
    used = pool.units_total - pool.units_offered + pool.units_sold
    gap = 1000 * used - declared.target_permille * pool.units_total
    whole = 1_000_000 * pool.units_total
    step = max(1, -(-reserve * declared.reserve_rate_permille * abs(gap) // whole))
    if gap > 0:
        return min(cap, reserve + step)
    return max(floor, reserve - step) if gap < 0 else reserve
