"""Which readings are taken in: telemetry is not signed, so what it may cost is bounded.

Decides by the lease. One that lives takes readings that name its agent, and no others. One that
nobody knows may be so new that the leases topic was not read so far, or made up: of those only a
few a window get a row. Refuses to know whether a reading is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bidplane_topics import ids
from bidplane_topics.telemetry import DeviceSampled

# Unknown leases with a row, in each window of this process: rows are kept for an hour and read
# again when a partition moves.
STRANGERS_MAX: Final = 100
WINDOWS_MAX: Final = 64

COUNTED: Final = "counted"
FOREIGN: Final = "foreign"
DROPPED: Final = "dropped"

# The owner of a lease that lives, as ``tenant/agent``; None for one that is not known.
OwnerOf = Callable[[str], str | None]


class Gate:
    """Looks at each reading of this process."""

    def __init__(self, owner_of: OwnerOf, strangers_max: int = STRANGERS_MAX) -> None:
        """Nobody has come by."""
        self._owner_of = owner_of
        self._strangers_max = strangers_max
        self._strangers: dict[int, set[str]] = {}

    def state(self, key: bytes | None, sample: DeviceSampled, start_ms: int) -> str:
        """What becomes of a reading of the window that began at ``start_ms``, as it is counted."""
        agent = ids.agent_id(sample.tenant, sample.agent)
        if key != agent.encode():
            return FOREIGN
        owner = self._owner_of(sample.lease_id)
        if owner is not None:
            return COUNTED if owner == agent else FOREIGN
        return COUNTED if self._has_room(sample.lease_id, start_ms) else DROPPED

    def owns(self, tenant: str, agent: str, lease_id: str) -> bool:
        """Whether a window may be published: the lease is theirs, or still unknown."""
        return self._owner_of(lease_id) in {None, ids.agent_id(tenant, agent)}

    def _has_room(self, lease_id: str, start_ms: int) -> bool:
        known = self._strangers.setdefault(start_ms, set())
        if len(self._strangers) > WINDOWS_MAX:
            del self._strangers[min(self._strangers)]
        if lease_id not in known and len(known) >= self._strangers_max:
            return False
        known.add(lease_id)
        return True
