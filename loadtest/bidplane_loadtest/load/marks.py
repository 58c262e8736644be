"""The moments of every bid, as a generator process saw them, kept raw until the end.

Decides the form: whole microseconds since the begin, NEVER for what did not happen. Refuses to sum
up: figures come from all processes' marks together.
"""

from __future__ import annotations

import pathlib
from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from bidplane_loadtest.load.schedule import Ints
from bidplane_topics.rejections import Rejection

NEVER: Final = -1
# What became of a bid. `open`: no answer; `failed`: Kafka never acknowledged its record.
KINDS: Final = ("open", "won", "lost", "refused", "cancelled", "expired", "failed")
REASONS: Final = ("", *(str(one) for one in Rejection))
_COLUMNS: Final = ("due", "sent", "acked", "held", "decided", "bound", "closed_ms", "voided")
_SMALL: Final = ("kind", "reason", "phase")


class Book:
    """Writes marks while a process runs: plain arrays, since these cost least to write."""

    def __init__(self, due_us: Sequence[int], phase: Sequence[int], envelope: int) -> None:
        """Every record's bids get rows of their own, in the order in which they are due."""
        self.envelope = envelope
        self.due = array("q", (one for one in due_us for _ in range(envelope)))
        self.phase = array("q", (one for one in phase for _ in range(envelope)))
        count = len(self.due)
        blank = [NEVER] * count
        self.sent, self.acked = array("q", blank), array("q", blank)
        self.held, self.decided = array("q", blank), array("q", blank)
        self.bound, self.closed_ms = array("q", blank), array("q", blank)
        self.voided = array("q", blank)
        self.kind, self.reason = array("q", [0]) * count, array("q", [0]) * count

    def rows(self, record: int) -> range:
        """The rows of a record's bids."""
        return range(record * self.envelope, (record + 1) * self.envelope)

    def save(self, path: Any) -> None:
        """Write all of it."""
        names = (*_COLUMNS, *_SMALL)
        arrays: dict[str, Any] = {
            name: np.frombuffer(getattr(self, name), np.int64) for name in names
        }
        np.savez(path, **arrays)


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of all processes: one row a bid, by the moment at which it was due.

    ``closed_ms`` is the market's own word on when it decided (milliseconds since 1970); ``voided``
    is when a won lease was told to have failed; ``kind`` counts in KINDS, ``reason`` in REASONS.
    """

    due: Ints
    sent: Ints
    acked: Ints
    held: Ints
    decided: Ints
    bound: Ints
    closed_ms: Ints
    voided: Ints
    kind: Ints
    reason: Ints
    phase: Ints

    def __len__(self) -> int:
        return len(self.due)

    def offered(self, ended_s: float) -> Marks:
        """Without the bids that fell due only after a run was ended early."""
        return self.where((self.due < ended_s * 1e6) | (self.sent != NEVER))

    def where(self, chosen: Any) -> Marks:
        """Some of the rows."""
        return Marks(**{name: getattr(self, name)[chosen] for name in (*_COLUMNS, *_SMALL)})


def read(paths: Sequence[pathlib.Path]) -> Marks:
    """What ``Book.save`` wrote, of all processes together."""
    files = [np.load(path) for path in paths]
    try:
        whole = {
            name: np.concatenate([file[name] for file in files]) for name in (*_COLUMNS, *_SMALL)
        }
    finally:
        for file in files:
            file.close()
    order = np.argsort(whole["due"], kind="stable")
    return Marks(**{name: column[order] for name, column in whole.items()})
