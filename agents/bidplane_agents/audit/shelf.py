"""Records on a shelf by what should be unique: taken down once by whoever can explain them.

Decides what is repeated and what nobody explained. Refuses to know why.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from bidplane_agents.audit.contents import Seen


class Shelf:
    """Events by id."""

    def __init__(self, seen: Iterable[Seen], key: Callable[[Any], Hashable]) -> None:
        """Put ``seen`` on the shelf under ``key`` of each event."""
        self._by_key: dict[Hashable, list[Seen]] = {}
        self._claimed: set[Hashable] = set()
        for one in seen:
            self._by_key.setdefault(key(one.event), []).append(one)

    def find(self, key: Hashable) -> Seen | None:
        """The first record of that id."""
        found = self._by_key.get(key)
        return None if found is None else found[0]

    def claim(self, key: Hashable) -> Seen | None:
        """``find``, and remember that somebody knows why it is there."""
        self._claimed.add(key)
        return self.find(key)

    def repeated(self) -> list[Seen]:
        """Every record after the first of its id."""
        return [one for found in self._by_key.values() for one in found[1:]]

    def unclaimed(self) -> list[Seen]:
        """The records that nobody explained."""
        return [found[0] for key, found in self._by_key.items() if key not in self._claimed]

    def all(self) -> list[Seen]:
        """One record of every id."""
        return [found[0] for found in self._by_key.values()]
