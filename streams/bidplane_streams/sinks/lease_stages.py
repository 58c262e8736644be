"""The stages of a lease that the claims sink sees: allocated, evicted, deallocated.

Decides between which moments each is counted, once per lease. Refuses to know how a lease is bound
or freed. Standing claims are nobody's lease: they have no record, and are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bidplane_streams import stages


class LeaseStages:
    """Observes one market's leases. ``clock`` gives milliseconds, as the broker stamps them."""

    def __init__(self, market: str, clock: Callable[[], int]) -> None:
        """Nothing ends yet."""
        self._market = market
        self._clock = clock
        self._evicted: dict[str, float] = {}

    def allocated(self, said_ms: int) -> None:
        """All claims of a lease stand; its award was written at ``said_ms``."""
        self._observe("allocated", (self._clock() - said_ms) / 1000)

    def evicted(self, lease_id: str, said_ms: int) -> None:
        """No pod uses the lease any more; its ending was written at ``said_ms``."""
        if lease_id not in self._evicted:  # what follows may fail, and is tried again
            self._evicted[lease_id] = time.monotonic()
            self._observe("evicted", (self._clock() - said_ms) / 1000)

    def deallocated(self, lease_id: str) -> None:
        """Its claims are gone."""
        since = self._evicted.pop(lease_id, None)
        if since is not None:
            self._observe("deallocated", time.monotonic() - since)

    def _observe(self, stage: str, took_s: float) -> None:
        stages.STAGE_S.labels(stage, self._market).observe(max(0.0, took_s))
