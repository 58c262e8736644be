"""Dead letters: how many of the kept ones for which reason, and where the last ones came from.

Decides how many are remembered one by one. Shows reasons and origins, never what the letter says:
it may be somebody's bid.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import Any, Final

from bidplane_streams.lanes import deadletters
from bidplane_streams.processors import pages

KEPT: Final = 200
# Of each partition, so many of the last are counted.
COUNTED: Final = 10_000


class DeadLetters:
    """Counts per topic and reason since this process began to read, and the newest letters."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._last: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def forget(self) -> None:
        """Know nothing again."""
        self._counts.clear()
        self._last.clear()

    def take(self, record: Any) -> None:
        """A record of a dead letters' topic."""
        told = {name: (raw or b"").decode(errors="replace") for name, raw in record.headers}
        topic = record.topic.removesuffix(".dlq")
        reason = told.get(deadletters.REASON_HEADER, "")
        self._counts[topic][reason] += 1
        self._last.append(
            {
                "topic": topic, "reason": reason, "at_ms": record.timestamp,
                "detail": told.get(deadletters.DETAIL_HEADER, ""),
                "origin": told.get(deadletters.ORIGIN_HEADER, ""),
            }
        )  # fmt: skip

    def view(self, query: pages.Query) -> dict[str, Any]:
        """``counts`` by topic and reason; ``last``: newest first, of ``topic`` where one is named.

        Several partitions are read side by side, so neighbours of one moment may change places.
        """
        wanted = [one for one in self._last if query.get("topic") in {None, one["topic"]}]
        wanted.sort(key=lambda one: one["at_ms"], reverse=True)
        return {
            "counts": {topic: dict(found) for topic, found in sorted(self._counts.items())},
            "last": wanted[: pages.limit(query)],
        }
