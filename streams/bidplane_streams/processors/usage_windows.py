"""What leases' devices did lately: the newest windows of usage, and a mean for each tenant.

Decides how many windows are kept. A window may be published twice: the same lease and start is the
same window.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from bidplane_streams.processors import pages
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.telemetry import UsageMeasured

KEPT: Final = 5000


class Usage:
    """The last windows that arrived, of all leases together."""

    def __init__(self, kept: int = KEPT) -> None:
        """Nothing is known."""
        self._kept = kept
        self._windows: OrderedDict[tuple[str, int], UsageMeasured] = OrderedDict()

    def forget(self) -> None:
        """Know nothing again."""
        self._windows.clear()

    def take(self, record: Any) -> None:
        """A record of the usage topic."""
        try:
            event: UsageMeasured = codec.decode(registry.USAGE, record.value)
        except MalformedRecord:
            return
        self._windows[event.lease_id, event.window_start_ms] = event
        if len(self._windows) > self._kept:
            self._windows.popitem(last=False)

    def view(self, query: pages.Query) -> dict[str, Any]:
        """``tenants``: samples and busy share; ``windows``: newest first, of ``tenant``, ``lease``.

        A tenant's mean weighs each window by its samples.
        """
        wanted = [
            event
            for event in reversed(self._windows.values())
            if query.get("tenant") in {None, event.tenant}
            and query.get("lease") in {None, event.lease_id}
        ]
        sums: dict[str, list[int]] = {}
        for event in wanted:
            row = sums.setdefault(event.tenant, [0, 0])
            row[0] += event.samples
            row[1] += event.samples * event.busy_permille_mean
        return {
            "tenants": {
                tenant: {"samples": samples, "busy_permille_mean": busy // max(1, samples)}
                for tenant, (samples, busy) in sorted(sums.items())
            },
            "windows": [_row(event) for event in wanted[: pages.limit(query)]],
        }


def _row(event: UsageMeasured) -> dict[str, Any]:
    return {
        "lease_id": event.lease_id, "tenant": event.tenant, "agent": event.agent,
        "window_start_ms": event.window_start_ms, "window_end_ms": event.window_end_ms,
        "samples": event.samples, "busy_permille_mean": event.busy_permille_mean,
        "memory_mib_max": event.memory_mib_max,
    }  # fmt: skip
