"""Every moment that a bazaar can get to by a few events: a walk that misses none.

Decides when two moments are one. Refuses to know which events there are: a test names them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar, cast

import builders
from bazaar import BUYER, Bazaar
from bidplane_topics import ids, offers

PRICE = 5000


class Walker(Bazaar):
    """A bazaar around one lease of the seller, ``old``, that can be copied at any moment."""

    # Counters and clocks of the lanes themselves: moments that differ in them alone go on alike.
    counted: ClassVar[tuple[str, ...]] = ("sent/", "heard/", "key/", "schedule/")
    old = ""

    def copied(self) -> Self:
        """The same moment, changed apart."""
        twin = self.copy()
        twin.__class__ = type(self)
        walker = cast("Self", twin)
        walker.old = self.old
        return walker

    def accepted(self) -> None:
        """The buyer takes the seller's offer, though it may be gone."""
        self.accept(offers.offer_id(offers.Terms("m", self.old, ids.agent_id(*BUYER), PRICE)))

    def report_all(self, kind: type) -> None:
        """The sink says this of every lease, right or wrong."""
        for row in list(self.market.state.leases.values()):
            self.report(row.lease.lease_id, kind)

    def window(self) -> None:
        """A window closes, with a sink that works."""
        self.alive()
        self.close(3000)

    def moment(self) -> bytes:
        """All that the future depends on, in a digest."""
        feeds: tuple[builders.Feed[Any], ...] = (*self.accounts, self.market)
        rows = [
            (name, row)
            for feed in feeds
            for name, row in builders.dump(feed.state).items()
            if not name.startswith(self.counted)
        ]
        return hashlib.sha256(repr((rows, self.market.now_ms, self.mail)).encode()).digest()


W = TypeVar("W", bound=Walker)


def reached(start: W, events: Mapping[str, Callable[[W], object]], depth: int) -> list[W]:
    """Every moment that ``depth`` events lead to; sequences that meet go on together."""
    seen = {start.moment()}
    frontier, found = [start], [start]
    for _ in range(depth):
        after = []
        for walker in frontier:
            for happen in events.values():
                twin = walker.copied()
                happen(twin)
                twin.audit()
                if (moment := twin.moment()) not in seen:
                    seen.add(moment)
                    after.append(twin)
        frontier = after
        found += after
    return found
