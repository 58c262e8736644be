"""What a lane tells whoever measures it: a partition opened, a transaction committed, it is gone.

Decides the moments that every measure can have. Refuses to know metrics: each logic has measures of
its own beside it (``account_measures``, ``market_measures``), and they may change nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Moments(NamedTuple):
    """``due_ms``: when the decision was due by the clock, 0 where records alone made it due."""

    due_ms: int
    committed_ms: int


class Measures(Protocol):
    """Told after the fact, on the event loop: quick, and never an error."""

    def opened(self, partition: int, state: Any) -> None:
        """The partition's state is restored."""
        ...

    def committed(self, partition: int, notes: Any, moments: Moments) -> None:
        """What ``notes`` (``Effects.notes``) tell of has happened."""
        ...

    def closed(self, partition: int) -> None:
        """The partition is given up: its gauges go with it."""
        ...


class Nothing:
    """Measures nothing."""

    def opened(self, partition: int, state: Any) -> None:
        """Nothing."""

    def committed(self, partition: int, notes: Any, moments: Moments) -> None:
        """Nothing."""

    def closed(self, partition: int) -> None:
        """Nothing."""
