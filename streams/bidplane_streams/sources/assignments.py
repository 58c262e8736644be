"""Nodes that an operator assigned to one market of several: who offers them, and from when on.

Decides that the old market withdraws a node at once, and that the new one offers it only on proof
that nobody else can hold its devices:

1. Every market has closed a round that has applied the assignment (``RoundClosed.inputs``). Such a
   market ignores offers of the node that name no newer assignment, so it cannot sell it any more.
2. Leases are read to the end that they had after those rounds were seen, and none of another
   market that has not ended names the node; what is pending or awarded counts.

Epochs go on above the highest that those leases had. Refuses to wait for time. The API server's
word on allocations is ``inventory``'s: a device in anybody else's claim is left out.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from bidplane_topics.leases import LeaseChanged
from bidplane_topics.supply import NodeOffered, NodeWithdrawn

Supply = NodeOffered | NodeWithdrawn


class Assignment(NamedTuple):
    """Where a node is to be sold; ``number`` is the record's offset + 1."""

    market: str
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the log says of all markets.

    ``read``: by market partition, how far its newest round has read the markets topic; -1 where no
    round was closed. ``live``: the leases that have not ended. ``complete_until_s``: every lease
    written before that moment is among them or has ended.
    """

    assigned: Mapping[str, Assignment]
    read: Mapping[int, int]
    live: Iterable[LeaseChanged]
    complete_until_s: float


class Handover:
    """One market's part in it; ``clock`` gives seconds that only grow."""

    def __init__(self, market: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is proven yet."""
        self._market = market
        self._clock = clock
        self._applied_at_s: dict[Assignment, float] = {}
        self._epochs: dict[str, int] = {}

    def note(self, lease: LeaseChanged) -> str:
        """Remember the epochs that a lease of another market spends; its key in a table."""
        if lease.market != self._market:
            for device in lease.devices:
                known = self._epochs.get(device.node, 0)
                self._epochs[device.node] = max(known, lease.epoch)
        return lease.lease_id

    def selects(self, known: Known, node: str) -> bool:
        """Whether the node is assigned to this market, whatever labels say."""
        assigned = known.assigned.get(node)
        return assigned is not None and assigned.market == self._market

    def asks(self, known: Known) -> bool:
        """Whether a node of ours waits for proof that leases are read."""
        return any(
            one.market == self._market and known.complete_until_s <= self._applied_s(one, known)
            for one in known.assigned.values()
        )

    def settle(self, known: Known, now: Mapping[str, Supply]) -> dict[str, Supply]:
        """The same offers, as far as assignments allow them."""
        holders: dict[str, set[str]] = {}
        for lease in known.live:
            if lease.market != self._market:
                for device in lease.devices:
                    holders.setdefault(device.node, set()).add(lease.market)
        return {node: self._settled(known, event, holders) for node, event in now.items()}

    def _settled(self, known: Known, event: Supply, holders: Mapping[str, set[str]]) -> Supply:
        assigned = known.assigned.get(event.node)
        if assigned is None or isinstance(event, NodeWithdrawn):
            return event
        obstacle = self._obstacle(known, assigned, holders.get(event.node, set()))
        if obstacle:
            return NodeWithdrawn(market=self._market, node=event.node, reason=obstacle)
        epoch = self._epochs.get(event.node, 0)
        return replace(event, assignment=assigned.number, epoch=epoch)

    def _obstacle(self, known: Known, assigned: Assignment, holders: set[str]) -> str:
        if assigned.market != self._market:
            return f"it is assigned to {assigned.market}"
        if known.complete_until_s <= self._applied_s(assigned, known):
            return "it is being handed over"
        return f"leases of {', '.join(sorted(holders))} hold it" if holders else ""

    def _applied_s(self, assigned: Assignment, known: Known) -> float:
        """When it was first seen that every market has applied it; infinite while it is not so."""
        if any(read < assigned.number for read in known.read.values()):
            return float("inf")
        return self._applied_at_s.setdefault(assigned, self._clock())
