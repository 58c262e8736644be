"""What should be in force in the next window: scarcity and reserves, told a second time.

Decides it from the published pools of a round, by exact fractions. Refuses to share a line with the
market's own drift, which counts in integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from msgspec.structs import replace

from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound


class Drift:
    """What a market has learnt of its prices: thousandths of a micro-credit per unit and slot."""

    def __init__(self) -> None:
        self.means: dict[str, int] = {}

    def closed(self, declared: MarketDeclared, pools: Mapping[str, PoolRound]) -> MarketDeclared:
        """Learn from a round; the rules of the next window."""
        scarcity, reserves = dict(declared.scarcity), dict(declared.reserves)
        if declared.scarcity_rate_permille:
            self._learn(declared.scarcity_rate_permille, pools)
            scarcity.update(self._weights(declared, pools))
        else:
            self.means = {}
        if declared.reserve_rate_permille:
            for name, pool in pools.items():
                reserves[name] = _reserve(declared, name, pool)
        return replace(declared, scarcity=scarcity, reserves=reserves)

    def _learn(self, rate_permille: int, pools: Mapping[str, PoolRound]) -> None:
        before, self.means = self.means, {}
        for name, pool in pools.items():
            if name in before:
                self.means[name] = before[name]
            offered = pool.units_offered
            if not offered or Fraction(pool.units_sold, offered) < Fraction(98, 100):
                continue  # not sold out: nothing learnt
            price = 1000 * pool.price_micros
            mean = before.get(name, price)
            self.means[name] = mean + _outward(Fraction((price - mean) * rate_permille, 1000))

    def _weights(
        self, declared: MarketDeclared, pools: Mapping[str, PoolRound]
    ) -> Mapping[str, int]:
        dearest = max(self.means.values(), default=0)
        if dearest == 0:
            return {}
        top = max(declared.scarcity.get(name, 1000) for name in pools)
        weights = {
            name: math.floor(Fraction(mean * top, dearest) + Fraction(1, 2))
            for name, mean in self.means.items()
        }
        return {name: max(weight, math.ceil(Fraction(top, 20))) for name, weight in weights.items()}


def _outward(number: Fraction) -> int:
    """Rounded away from zero."""
    return math.ceil(number) if number > 0 else math.floor(number)


def _reserve(declared: MarketDeclared, name: str, pool: PoolRound) -> int:
    """Up or down by the distance from the target, between what is declared and the cap."""
    least = declared.reserves.get(name, declared.reserve_micros)
    most = max(least, declared.reserve_cap_micros)
    reserve = sorted((least, pool.reserve_micros, most))[1]
    if pool.units_offered:
        idle = Fraction(pool.units_offered - pool.units_sold, pool.units_total)
        off = 1 - idle - Fraction(declared.target_permille, 1000)
        step = _outward(off * reserve * Fraction(declared.reserve_rate_permille, 1000))
        if off and not step:
            step = 1 if off > 0 else -1
        reserve = sorted((least, reserve + step, most))[1]
    return reserve
