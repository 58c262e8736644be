"""The only place that reads a clock.

Decides nothing: whoever needs the time asks here, so that a search for this module finds every
place where time enters. The core never asks; it is told.
"""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970 by the wall clock. It may step back; who minds takes a max."""
    return time.time_ns() // 1_000_000


def elapsed_s() -> float:
    """A clock that only grows, in seconds, for measuring durations."""
    return time.monotonic()
