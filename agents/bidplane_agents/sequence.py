"""The number that makes a replay impossible: it grows with every envelope that a key signs.

The market refuses a sequence that is not above the last one of its key. A counter in memory would
start again after a crash, and a stored counter alone is lost with its disk; so the next number is
the greater of stored + 1 and the wall clock in milliseconds. A clock that jumps back is covered by
the stored number, a lost file by the clock. Two processes on one key may still overtake each other
between signing and Kafka: each process should have a key of its own.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Sequence:
    """Numbers for one key. With a ``path`` they survive the process and are shared under a lock."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._last = 0

    def next(self, now_ms: int) -> int:
        """A number above every one that this key has used."""
        if self._path is None:
            self._last = max(self._last + 1, now_ms)
            return self._last
        return self._reserve(self._path, now_ms)

    def raise_to(self, last_seen: int) -> None:
        """The market has seen ``last_seen`` of this key: go on above it."""
        self._last = max(self._last, last_seen)

    def _reserve(self, path: Path, now_ms: int) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            text = os.read(descriptor, 32).decode("ascii", "replace").strip()
            stored = int(text) if text.isdigit() else 0
            self._last = max(self._last + 1, stored + 1, now_ms)
            os.pwrite(descriptor, f"{self._last:<20}".encode(), 0)
        finally:
            os.close(descriptor)
        return self._last


def beside(profile_path: Path) -> Sequence:
    """The sequence kept next to a profile file."""
    return Sequence(profile_path.with_suffix(".sequence"))
