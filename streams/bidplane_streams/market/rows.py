"""State as tables of rows that remember what changed, so that a lane can write a changelog.

Decides how state is stored and restored. Refuses to know what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

V = TypeVar("V")


class Rows(Generic[V]):
    """A table: key to frozen row. Iteration is by key, since a restored dict has another order."""

    def __init__(self, name: str, row_type: Any) -> None:
        """``name`` prefixes the table's keys in the changelog; it never holds a slash."""
        self.name = name
        self._rows: dict[str, V] = {}
        self._changed: set[str] = set()
        self._decoder: msgspec.json.Decoder[V] = msgspec.json.Decoder(row_type)

    def get(self, key: str) -> V | None:
        """The row, or None."""
        return self._rows.get(key)

    def __getitem__(self, key: str) -> V:
        return self._rows[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def first(self) -> V | None:
        """The row of the least key, or None: without sorting where there is but one."""
        rows = self._rows
        return next(iter(rows.values())) if len(rows) == 1 else next(self.values(), None)

    def put(self, key: str, row: V) -> V:
        """Set the row and remember the change."""
        self._rows[key] = row
        self._changed.add(key)
        return row

    def remove(self, key: str) -> None:
        """Forget the row, if there."""
        if self._rows.pop(key, None) is not None:
            self._changed.add(key)

    def items(self) -> Iterator[tuple[str, V]]:
        """All rows in key order."""
        for key in sorted(self._rows):
            yield key, self._rows[key]

    def values(self) -> Iterator[V]:
        """All rows in key order, without their keys."""
        for key in sorted(self._rows):
            yield self._rows[key]

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Changelog rows since the last call; a None value is a tombstone."""
        changed, self._changed = self._changed, set()
        for key in sorted(changed):
            row = self._rows.get(key)
            value = None if row is None else msgspec.json.encode(row)
            yield f"{self.name}/{key}".encode(), value

    def restore(self, key: str, value: bytes | None) -> None:
        """Take one changelog row back."""
        if value is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = self._decoder.decode(value)


class State:
    """Named tables that drain to and restore from one changelog. Subclasses set ``tables``."""

    tables: tuple[Rows[Any], ...] = ()

    def drain(self) -> dict[bytes, bytes | None]:
        """All changelog rows since the last drain."""
        return {key: value for table in self.tables for key, value in table.changes()}

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog row back. Raises KeyError for a table nobody knows."""
        name, _, rest = key.decode().partition("/")
        for table in self.tables:
            if table.name == name:
                table.restore(rest, value)
                return
        raise KeyError(f"the changelog holds a row of an unknown table: {name!r}")
