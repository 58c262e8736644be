"""Standing claims: a market that holds whole nodes itself, so that its leases need no claims.

Decides what stands for a node, and when it goes: once the node was withdrawn for good, the lane has
applied that, and no lease on it is left. A standing claim is made and kept like a lease's: it is
the claim of a lease without an agent that never ends. Refuses to know who serves on the devices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bidplane_streams.market import naming
from bidplane_streams.sinks import claims_objects, names, records, witness
from bidplane_topics import ids, leases, markets, registry, rounds, supply

PREFIX: Final = "standing-"
# A claim has no room for more requests.
REQUESTS: Final = 32


def stem(market: str, node: str) -> str:
    """How the names of a node's standing claims begin, in place of a lease's id."""
    return f"{PREFIX}{ids.digest('standing', market, node)[:16]}-"


def holder(offer: supply.NodeOffered) -> leases.LeaseChanged:
    """The lease without an agent whose claim holds a node: other devices make another claim.

    No tenant has an empty name.
    """
    devices = naming.leased(
        naming.Named(node=offer.node, device=device) for device in offer.devices
    )
    exact = ids.digest(*(f"{one.driver}/{one.pool}/{one.name}/{one.uuid}" for one in devices))
    return leases.LeaseChanged(
        market=offer.market, lease_id=stem(offer.market, offer.node) + exact[:8], bid_id="",
        tenant="",
        agent=offer.market, state="bound", epoch=1, window=0, market_pool="", shape="", level=1,
        devices=devices, nodes=(), price_micros=0, duration_ms=0, awarded_at_ms=0, bind_by_ms=0,
    )  # fmt: skip


def held(offer: supply.NodeOffered, claims: Mapping[tuple[str, str], dict[str, Any]]) -> bool:
    """Whether the node's standing claim stands, on just these devices."""
    lease = holder(offer)
    (node,) = names.nodes(lease)
    found = claims.get((claims_objects.namespace_of(lease), names.piece(lease.lease_id, 0)))
    return claims_objects.stands(found, lease, node)


class Standing:
    """What the log says of one market's standing claims; ``clock`` gives seconds that only grow."""

    def __init__(
        self, kafka: str, market: str, declared: records.Table[Any], wake: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Reads nothing yet. ``declared`` is the markets topic."""
        self._market, self._declared, self._clock = market, declared, clock
        self._offers: records.Table[Any] = records.Table(
            kafka, registry.SUPPLY, lambda one: one.node if one.market == market else None, wake
        )
        self._leases: witness.Complete[leases.LeaseChanged] = witness.Complete(
            kafka, registry.LEASES, self._lease_key, wake, lambda one: one.state != "ended"
        )
        self._rounds: witness.Tail[rounds.RoundClosed] = witness.Tail(
            kafka, registry.ROUNDS, lambda one: one.market if one.market == market else None, wake
        )
        self._left_at_s: dict[tuple[str, int], float] = {}
        self.tables: tuple[records.Table[Any], ...] = (self._offers, self._leases, self._rounds)

    def _lease_key(self, lease: leases.LeaseChanged) -> str | None:
        return lease.lease_id if lease.market == self._market and lease.standing else None

    @property
    def declared(self) -> bool:
        """Whether the market has standing claims at all."""
        row = self._declared.rows.get(self._market)
        event = None if row is None else row.event
        return isinstance(event, markets.MarketDeclared) and event.standing

    def wanted(self) -> dict[str, leases.LeaseChanged]:
        """What must stand, by claim id: a claim on each node that is offered."""
        if not self.declared:
            return {}
        found = [
            holder(row.event) for row in self._offers.rows.values()
            if isinstance(row.event, supply.NodeOffered)
        ]  # fmt: skip
        return {one.lease_id: one for one in found if len(one.devices) <= REQUESTS}

    def leased(self) -> dict[str, int]:
        """The nodes that standing leases are on, and the market's partition."""
        return {
            device.node: row.partition
            for row in self._leases.rows.values()
            for device in row.event.devices
        }

    def dropped(self, standing: Iterable[str]) -> set[str]:
        """Those of these claims that may go; a node that is only cordoned keeps its own."""
        stems = {stem(self._market, node): node for node in self._offers.rows}
        found = {name: stems.get(name[: len(stem("", ""))]) for name in standing}
        leaving = {name: node for name, node in found.items() if node and self._leaves(node)}
        self._leases.wanted = bool(leaving)
        return {name for name, node in leaving.items() if self._is_free(node)}

    def _leaves(self, node: str) -> bool:
        """Whether it will not come back as it was: moved, or offered with other devices."""
        place = self._declared.rows.get(f"node/{node}")
        moved = place is not None and place.event.market != self._market
        offered = isinstance(self._offers.rows[node].event, supply.NodeOffered)
        return not self.declared or offered or moved

    def _is_free(self, node: str) -> bool:
        """No lease is on it, and none can begin: the lane has applied the newest word on it."""
        row = self._offers.rows[node]
        newest = self._rounds.rows.get(self._market)
        if newest is None or newest.event.inputs.get(registry.SUPPLY.name, 0) <= row.offset:
            return False
        seen_s = self._left_at_s.setdefault((node, row.offset), self._clock())
        return self._leases.complete_until_s > seen_s and node not in self.leased()
