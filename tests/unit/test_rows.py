"""Tables that remember what changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidplane_streams.market.rows import Rows, State

KEYS = st.sampled_from(("a", "b", "a/b", "ü", ""))


class Two(State):
    """Two tables of numbers."""

    def __init__(self) -> None:
        """Both empty."""
        self.first: Rows[int] = Rows("first", int)
        self.second: Rows[int] = Rows("second", int)
        self.tables = (self.first, self.second)


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers())), max_size=20), st.data())
def test_drained_rows_restore_the_state(
    steps: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    """Draining now and then loses no change, and restoring gives the same rows."""
    state, log = Two(), dict[bytes, bytes | None]()
    for key, value in steps:
        table = data.draw(st.sampled_from((state.first, state.second)))
        if value is None:
            table.remove(key)
        else:
            table.put(key, value)
        if data.draw(st.booleans()):
            log |= state.drain()
    log |= state.drain()
    again = Two()
    for name, row in log.items():
        again.restore(name, row)
    assert list(again.first.items()) == list(state.first.items())
    assert list(again.second.items()) == list(state.second.items())
    assert again.drain() == {}


def test_rows_come_in_key_order() -> None:
    """Iteration does not depend on the order of insertion."""
    table: Rows[int] = Rows("t", int)
    for key in ("b", "c", "a"):
        table.put(key, ord(key))
    assert list(table.values()) == [97, 98, 99]


def test_an_unknown_table_is_refused() -> None:
    """A changelog of another version stops the restore."""
    with pytest.raises(KeyError, match="third"):
        Two().restore(b"third/x", b"1")
