"""The last rounds of every market, for people and probes.

Decides how many are kept. Refuses to read Kafka (``follower`` does) and to interpret rounds.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.rounds import RoundClosed

KEPT: Final = 100
# Every round is followed by a control record.
BACK: Final = 2 * KEPT


class Recent:
    """As many rounds as ``KEPT`` of each market."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._rounds: dict[str, deque[RoundClosed]] = {}

    def forget(self) -> None:
        """Know nothing again."""
        self._rounds.clear()

    def take(self, record: Any) -> None:
        """A record of the rounds topic."""
        try:
            closed = codec.decode(registry.ROUNDS, record.value)
        except MalformedRecord:
            return  # a newer writer's event; the auditor speaks of it, a view need not
        self._rounds.setdefault(closed.market, deque(maxlen=KEPT)).append(closed)

    def view(self, limit: int = KEPT) -> dict[str, list[RoundClosed]]:
        """The last ``limit`` rounds of each market, newest first."""
        return {market: list(reversed(rounds))[:limit] for market, rounds in self._rounds.items()}
