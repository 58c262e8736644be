"""The markets: what is declared, what the last round said, and how many orders rest.

Decides what is put together. The number of resting orders is the markets lane's, of the partitions
that are open in this process, and null for others; which orders they are is nobody's to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bidplane_streams.processors import pages
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.markets import MarketDeclared, MarketRemoved
from bidplane_topics.rounds import RoundClosed

Rounds = Callable[[int], Mapping[str, list[RoundClosed]]]
Resting = Callable[[], Mapping[str, int]]


class Board:
    """As many rows as markets are declared."""

    def __init__(self, rounds: Rounds, resting: Resting) -> None:
        """``rounds``: the last ones of each market; ``resting``: orders by market, where known."""
        self._rounds, self._resting = rounds, resting
        self._declared: dict[str, MarketDeclared] = {}

    def forget(self) -> None:
        """Know no market again."""
        self._declared.clear()

    def take(self, record: Any) -> None:
        """A record of the markets topic; nodes' assignments are none of ours."""
        try:
            event = codec.decode(registry.MARKETS, record.value)
        except MalformedRecord:
            return
        if isinstance(event, MarketDeclared):
            self._declared[event.market] = event
        elif isinstance(event, MarketRemoved):
            self._declared.pop(event.market, None)

    def view(self, query: pages.Query) -> dict[str, Any]:
        """Markets by name, ``market`` alone where one is named."""
        rounds, resting = self._rounds(1), self._resting()
        names = sorted(name for name in self._declared if query.get("market") in {None, name})
        return {
            "markets": [
                _row(self._declared[name], rounds.get(name, []), resting.get(name))
                for name in names[: pages.limit(query)]
            ]
        }


def _row(rules: MarketDeclared, rounds: list[RoundClosed], resting: int | None) -> dict[str, Any]:
    return {
        "market": rules.market, "partition": rules.partition, "rule": rules.rule,
        "window_ms": rules.window_ms, "slot_ms": rules.slot_ms, "standing": rules.standing,
        "orders_resting": resting, "last_round": _closed(rounds[0]) if rounds else None,
    }  # fmt: skip


def _closed(last: RoundClosed) -> dict[str, Any]:
    pools = {
        name: {
            "price_micros": pool.price_micros, "reserve_micros": pool.reserve_micros,
            "scarcity_permille": pool.scarcity_permille, "units_offered": pool.units_offered,
            "units_sold": pool.units_sold, "units_total": pool.units_total,
        }
        for name, pool in last.pools.items()
    }  # fmt: skip
    return {
        "window": last.window, "closed_at_ms": last.closed_at_ms, "orders": last.orders,
        "awarded": last.awarded, "revenue_micros": last.revenue_micros,
        "leases_active": last.leases_active, "units_leased": last.units_leased,
        "units_total": last.units_total, "pools": pools,
    }  # fmt: skip
