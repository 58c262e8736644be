"""A window under the rule `exact`: the optimum and what each winner adds to it, in time or not.

Decides when an answer counts: whole copies that the core's own counters accept, whose surplus in
integers is the solver's bound, for the component and again without each winner. Everything else
falls back to greedy.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from bidplane_streams.exact import highs
from bidplane_streams.exact.model import Model
from bidplane_streams.fast import clearing as greedy
from bidplane_streams.market import optimum
from bidplane_streams.market.greedy import Auction, Win
from bidplane_streams.market.optimum import Solution
from bidplane_topics.instances import Instance, InstanceBid, Result

_log: Final = logging.getLogger(__name__)
# An LP's objective is a double: what is below this beside it is its noise.
_NOISE: Final = 1e-12


class Deadline:
    """When a window's solving ends."""

    def __init__(self, limit_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``limit_ms`` from now on."""
        self._clock = clock
        self._ends = clock() + limit_ms / 1000

    def left_s(self) -> float:
        """Seconds left; none or less when it has passed."""
        return self._ends - self._clock()


class _Best(NamedTuple):
    wins: dict[str, Win]
    surplus: int


def clear(instance: Instance, limit_ms: int) -> Result:
    """Clear one window; what is not proven within ``limit_ms`` falls back."""
    if instance.bids and not is_there():
        _log.warning("highspy cannot be loaded: window %s falls back to greedy", instance.window)
        return optimum.clear(instance, greedy.clear)
    deadline = Deadline(limit_ms)
    return optimum.clear(instance, greedy.clear, lambda part: solve(part, deadline))


def is_there() -> bool:
    """Whether the solver can be loaded; its loading is not counted against a deadline."""
    try:
        highs.load()
    except ImportError:
        return False
    return True


def bounded(instance: Instance, result: Result) -> Result:
    """The result with its surplus, and the LP bound on every surplus where that is the lower."""
    wins = {one: Win(0, won.alternative, won.level) for one, won in result.awards.items()}
    bound = sum(map(_relaxed, optimum.components(instance)))
    if result.bound_micros is not None:
        bound = min(bound, result.bound_micros)
    return msgspec.structs.replace(
        result, surplus_micros=optimum.surplus(instance, wins), bound_micros=bound
    )


def _relaxed(component: Instance) -> int:
    model, most = Model(component), optimum.ceiling(component)
    found = highs.Program(model).relaxed() if model.ways else None
    return most if found is None else min(most, math.floor(found * (1 + _NOISE) + _NOISE))


def solve(component: Instance, deadline: Deadline) -> Solution | None:
    """Winners and Clarke payments, or None where any of it is not proven in time."""
    if deadline.left_s() <= 0:
        return None
    return _Component(component, deadline).solution()


class _Component:
    """One component in the solver."""

    def __init__(self, component: Instance, deadline: Deadline) -> None:
        self._component, self._deadline = component, deadline
        self._bids = {bid.bid_id: bid for bid in component.bids}
        self._model = Model(component)
        self._columns: dict[str, list[int]] = {}
        for column, way in enumerate(self._model.ways):
            self._columns.setdefault(way.bid_id, []).append(column)
        self._program = highs.Program(self._model)

    def solution(self) -> Solution | None:
        best = self._best() if self._model.ways else _Best({}, 0)
        if best is None:
            return None
        paid: dict[str, int] = {}
        for alike in self._classes(best.wins):
            found = self._payments(alike, best)
            if found is None:
                return None
            paid |= found
        return self._completed(best.wins, paid)

    def _best(self, without: str = "") -> _Best | None:
        """The optimum, without one bid; None where it is not proven, or not believed."""
        banned = self._columns[without] if without else ()
        found = self._program.optimum(self._deadline.left_s(), banned)
        if found is None:
            return None
        wins: dict[str, Win] = {}
        for way, copies in zip(self._model.ways, map(round, found.copies), strict=False):
            if copies and way.bid_id in wins:
                return None
            if copies:
                wins[way.bid_id] = Win(0, way.alternative, copies)
        surplus = optimum.surplus(self._component, wins)
        proven = abs(found.bound - surplus) < 1
        fits = optimum.sold(self._component, wins) is not None
        return _Best(wins, surplus) if proven and fits else None

    def _classes(self, wins: dict[str, Win]) -> list[list[InstanceBid]]:
        """Winners that want the same, dearest first; an elastic one stands alone."""
        alike: dict[object, list[InstanceBid]] = {}
        for bid_id in sorted(wins):
            bid = self._bids[bid_id]
            rigid = bid.mode == "rigid"
            key = (bid.weight, bid.alternatives) if rigid else bid_id
            alike.setdefault(key, []).append(bid)
        return [sorted(bids, key=lambda bid: -bid.value_micros) for bids in alike.values()]

    def _payments(self, alike: list[InstanceBid], best: _Best) -> dict[str, int] | None:
        """Each pays its value less what it adds to everybody's surplus, rounded up.

        Among winners that want the same that never grows from a dearer bid to a cheaper one
        (README), so two that pay alike have only such between them.
        """
        paid: dict[int, int] = {}

        def price(at: int) -> bool:
            if at in paid:
                return True
            bid = alike[at]
            left = self._best(bid.bid_id)
            worth = bid.value_micros * best.wins[bid.bid_id].level
            if left is None or not 0 <= best.surplus - left.surplus <= bid.weight * worth:
                return False
            paid[at] = worth - (best.surplus - left.surplus) // bid.weight
            return True

        spans = [(0, len(alike) - 1)]
        while spans:
            low, high = spans.pop()
            if not (price(low) and price(high)):
                return None
            if paid[low] == paid[high]:
                paid |= dict.fromkeys(range(low + 1, high), paid[low])
            elif high - low > 1:
                middle = (low + high) // 2
                spans += [(low, middle), (middle, high)]
        return {bid.bid_id: paid[at] for at, bid in enumerate(alike)}

    def _completed(self, wins: dict[str, Win], paid: dict[str, int]) -> Solution | None:
        """With those beside them who gain nothing and still fit, so that nothing is wasted."""
        counters = optimum.sold(self._component, wins)
        assert counters is not None, "it was checked"
        auction = Auction(self._component)
        wins, paid = dict(wins), dict(paid)
        for pair in auction.pairs:
            level = 0
            if pair.bid_id not in wins:
                level = auction.level(counters[pair.pool], pair)
            if not level:
                continue
            if self._bids[pair.bid_id].value_micros != pair.reserve:
                return None  # it would have gained: what was found is no optimum
            counters[pair.pool].add(pair.shape, level)
            wins[pair.bid_id] = Win(0, pair.alternative, level)
            paid[pair.bid_id] = pair.reserve * level
        return Solution(wins, paid)
