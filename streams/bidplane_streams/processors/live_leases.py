"""The leases that live: how many in each market and state, and one by one.

Decides which lease is over. Says who holds what and until when; never what was bid or paid.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from bidplane_streams.processors import pages
from bidplane_topics import codec, ids, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.leases import LeaseChanged


class Leases:
    """As many rows as leases live."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._live: dict[str, LeaseChanged] = {}

    def forget(self) -> None:
        """Know nothing again."""
        self._live.clear()

    def take(self, record: Any) -> None:
        """A record of the leases topic; a tombstone's lease ended long ago."""
        if record.value is None:
            self._live.pop((record.key or b"").decode(errors="replace"), None)
            return
        try:
            lease: LeaseChanged = codec.decode(registry.LEASES, record.value)
        except MalformedRecord:
            return
        if lease.state == "ended":
            self._live.pop(lease.lease_id, None)
        else:
            self._live[lease.lease_id] = lease

    def owner(self, lease_id: str) -> str | None:
        """The agent of a lease that lives, as ``tenant/agent``."""
        lease = self._live.get(lease_id)
        return None if lease is None else ids.agent_id(lease.tenant, lease.agent)

    def view(self, query: pages.Query) -> dict[str, Any]:
        """``counts`` of all; ``leases`` by id, after ``after``, of ``market``, ``state``, both."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for lease in self._live.values():
            counts[lease.market][lease.state] += 1
        wanted = [
            lease
            for lease in self._live.values()
            if query.get("market") in {None, lease.market}
            and query.get("state") in {None, lease.state}
            and lease.lease_id > query.get("after", "")
        ]
        wanted.sort(key=lambda lease: lease.lease_id)
        shown = wanted[: pages.limit(query)]
        return {
            "counts": {market: dict(states) for market, states in sorted(counts.items())},
            "leases": [_row(lease) for lease in shown],
            "next": shown[-1].lease_id if len(shown) < len(wanted) else None,
        }


def _row(lease: LeaseChanged) -> dict[str, Any]:
    return {
        "lease_id": lease.lease_id, "market": lease.market, "pool": lease.market_pool,
        "tenant": lease.tenant, "agent": lease.agent, "state": lease.state, "epoch": lease.epoch,
        "shape": lease.shape, "level": lease.level,
        "units": sum(device.units for device in lease.devices),
        "nodes": [node.node for node in lease.nodes], "term": lease.term,
        "awarded_at_ms": lease.awarded_at_ms, "bound_at_ms": lease.bound_at_ms,
        "ends_at_ms": lease.ends_at_ms, "cause": lease.cause,
    }  # fmt: skip
