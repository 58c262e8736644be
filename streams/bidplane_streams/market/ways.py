"""What could serve an order, whatever is free and whatever it costs: pool, shape and slots.

Decides which pools an order's alternatives reach. Remembers it while a market's pools stay what
they are, since an order may rest through many windows: asked again for every order, this took half
of a closing. Refuses to know prices, reserves and what is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from bidplane_streams.market import pools
from bidplane_streams.market.rows import Rows
from bidplane_topics.instances import InstanceAlternative
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.rejections import Rejection

_ALIKE_MAX: Final = 10_000
_ENCODER: Final = msgspec.msgpack.Encoder()


class Found(NamedTuple):
    """Instance alternatives, each with the order's own that it came from; and what reaches none."""

    ways: tuple[tuple[int, InstanceAlternative], ...]
    problems: frozenset[Rejection]


def slots_of(duration_ms: int, slot_ms: int) -> int:
    """Durations round up to whole slots."""
    return -(-duration_ms // slot_ms)


class Ways:
    """What orders reach of one market's pools."""

    def __init__(self, rules: MarketDeclared, offered: Mapping[str, pools.Pool]) -> None:
        """Nothing is known yet."""
        self._rules, self._offered = rules, offered
        self._frame = _frame(rules, offered)
        self._found: dict[str, Found] = {}
        # Most orders ask for what another asked for: the alternatives' bytes tell.
        self._alike: dict[bytes, Found] = {}

    def hold(self, rules: MarketDeclared, offered: Mapping[str, pools.Pool]) -> bool:
        """Whether what is remembered is still true of these rules and pools."""
        return self._frame == _frame(rules, offered)

    def forget_all_but(self, orders: Rows[OrderPlaced]) -> None:
        """Orders that have ended are asked for no more."""
        self._found = {bid: found for bid, found in self._found.items() if bid in orders}

    def of(self, order: OrderPlaced) -> Found:
        """Every (pool, shape, slots) that could serve the order, in a fixed order."""
        found = self._found.get(order.bid_id)
        if found is None:
            found = self._found[order.bid_id] = self._remembered(order)
        return found

    def _remembered(self, order: OrderPlaced) -> Found:
        wanted = _ENCODER.encode(order.alternatives)
        found = self._alike.get(wanted)
        if found is None:
            if len(self._alike) >= _ALIKE_MAX:
                self._alike.clear()
            found = self._alike[wanted] = self._search(order)
        return found

    def _search(self, order: OrderPlaced) -> Found:
        rules = self._rules
        ways: list[tuple[int, InstanceAlternative]] = []
        problems: set[Rejection] = set()
        for index, wanted in enumerate(order.alternatives):
            if wanted.duration_ms > rules.max_duration_ms:
                problems.add(Rejection.TOO_LONG)
                continue
            matching = [
                pool
                for pool in self._offered.values()
                if pools.matches(pool, wanted.selector, rules.device_class)
            ]
            holding = [pool for pool in matching if pools.sells(pool, wanted.shape)]
            if not holding:
                problems.add(Rejection.SHAPE_NOT_SOLD if matching else Rejection.NO_MATCHING_POOL)
            slots = slots_of(wanted.duration_ms, rules.slot_ms)
            ways += [
                (index, InstanceAlternative(pool=pool.name, shape=wanted.shape, slots=slots))
                for pool in holding
            ]
        return Found(tuple(ways), frozenset(problems))


def _frame(rules: MarketDeclared, offered: Mapping[str, pools.Pool]) -> object:
    """All that the search looks at besides the order."""
    seen = [
        (pool.name, pool.device_class, pool.attributes, pool.partitioned, pool.totals)
        for pool in offered.values()
    ]
    return rules.max_duration_ms, rules.device_class, rules.slot_ms, seen
