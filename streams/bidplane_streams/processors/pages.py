"""Questions to read models: how much of which part.

Decides the bounds of an answer. Refuses to know what is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

Query = Mapping[str, str]

LIMIT: Final = 20
LIMIT_MAX: Final = 1000


class Model(Protocol):
    """Something that answers: plain data, ready for JSON."""

    def view(self, query: Query) -> Any:
        """What is known, as far as ``query`` wants it; or a coroutine that says so."""
        ...


def limit(query: Query) -> int:
    """How many rows are wanted: ``limit``, 1 to 1000, else 20."""
    text = query.get("limit", "")
    return max(1, min(int(text), LIMIT_MAX)) if text.isdecimal() and len(text) < 9 else LIMIT
