"""What an inventory source reads besides nodes and slices: other markets' words, standing claims.

Decides which tables those are. What follows from them is ``sources/assignments.py``'s to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from bidplane_streams.sinks import mirror, records, standing, witness
from bidplane_streams.sources import assignments, supplier
from bidplane_topics import leases, markets, registry, rounds, supply


class Rivals:
    """The tables of one source; ``declared`` is the markets topic, which it reads anyway."""

    def __init__(
        self, kafka: str, market: str, declared: records.Table[Any], wake: asyncio.Event
    ) -> None:
        """Reads nothing yet."""
        self.handover = assignments.Handover(market)
        self._declared = declared
        self._rounds: witness.Tail[rounds.RoundClosed] = witness.Tail(
            kafka, registry.ROUNDS, lambda event: event.market, wake
        )
        self._leases: witness.Complete[leases.LeaseChanged] = witness.Complete(
            kafka, registry.LEASES, self.handover.note, wake, lambda one: one.state != "ended"
        )
        self.tables: Sequence[supplier.Table] = (self._rounds, self._leases)

    def known(self) -> assignments.Known:
        """What the tables say now; asks on for proof where a node waits for it."""
        found = assignments.Known(
            assigned=self._assigned(), read=self._read(),
            live=[row.event for row in self._leases.rows.values()],
            complete_until_s=self._leases.complete_until_s,
        )  # fmt: skip
        self._leases.wanted = self.handover.asks(found)
        return found

    def _assigned(self) -> dict[str, assignments.Assignment]:
        return {
            row.event.node: assignments.Assignment(row.event.market, row.offset + 1)
            for row in self._declared.rows.values()
            if isinstance(row.event, markets.NodeAssigned)
        }

    def _read(self) -> dict[int, int]:
        found = {
            row.event.partition: -1
            for row in self._declared.rows.values()
            if isinstance(row.event, markets.MarketDeclared)
        }
        for row in self._rounds.rows.values():
            found[row.partition] = row.event.inputs.get(registry.MARKETS.name, 0)
        return found


def holding(
    market: str, declared: records.Table[Any], claims: mirror.Mirror
) -> Callable[[dict[str, assignments.Supply]], dict[str, assignments.Supply]]:
    """In a standing market, an offer says whether the market's own claim holds the node."""

    def hold(now: dict[str, assignments.Supply]) -> dict[str, assignments.Supply]:
        row = declared.rows.get(market)
        event = None if row is None else row.event
        if not isinstance(event, markets.MarketDeclared) or not event.standing:
            return now
        return {
            node: replace(offer, held=standing.held(offer, claims.objects))
            if isinstance(offer, supply.NodeOffered) else offer
            for node, offer in now.items()
        }  # fmt: skip

    return hold
