"""What a generator process says of itself twice a second, and how several such words add up.

Decides the live figures. The exact ones come from the marks, after the run.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final

import msgspec

STAGES: Final = ("acked", "admitted", "decided", "bound", "beyond_close")
# Upper bounds in seconds of the histograms that Prometheus reads; the last one is infinite.
EDGES_S: Final = (
    0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 30, 60,
)  # fmt: skip


class Buckets(msgspec.Struct, kw_only=True):
    """A histogram of one stage: a count for each bucket, and the sum in seconds."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(EDGES_S) + 1))
    sum_s: float = 0.0

    def take(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(EDGES_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """As Prometheus has it: (upper bound, count up to it)."""
        total, found = 0, []
        for edge, count in zip((*EDGES_S, float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if edge == float("inf") else str(edge), total))
        return found


class Beat(msgspec.Struct, kw_only=True):
    """Counts since the begin, in bids.

    ``open`` were sent and have no answer; ``unbound`` won and were told neither that the lease is
    bound nor that it failed.
    """

    ready: bool = False
    done_sending: bool = False
    offered: int = 0
    sent: int = 0
    failed: int = 0
    open: int = 0
    unbound: int = 0
    lag_us: int = 0
    held: int = 0
    kinds: dict[str, int] = {}
    reasons: dict[str, int] = {}
    stages: dict[str, Buckets] = {}

    @property
    def answered(self) -> int:
        """Bids that were told what became of them."""
        return sum(self.kinds.values())

    @property
    def unsent(self) -> int:
        """Bids that were due and are not sent yet."""
        return max(0, self.offered - self.sent)


def total(beats: Sequence[Beat]) -> Beat:
    """All processes as one; the lag is the worst of them."""
    whole = Beat(
        ready=all(one.ready for one in beats), done_sending=all(one.done_sending for one in beats),
        lag_us=max((one.lag_us for one in beats), default=0),
        **{name: sum(getattr(one, name) for one in beats) for name in _SUMS},
    )  # fmt: skip
    for one in beats:
        for name, count in one.kinds.items():
            whole.kinds[name] = whole.kinds.get(name, 0) + count
        for name, count in one.reasons.items():
            whole.reasons[name] = whole.reasons.get(name, 0) + count
        for name, buckets in one.stages.items():
            into = whole.stages.setdefault(name, Buckets())
            into.counts = [a + b for a, b in zip(into.counts, buckets.counts, strict=True)]
            into.sum_s += buckets.sum_s
    return whole


_SUMS: Final = ("offered", "sent", "failed", "open", "unbound", "held")
