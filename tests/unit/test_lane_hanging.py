"""What a transaction that hangs was: told from the changelog and the group's offsets."""

from __future__ import annotations

import pytest

from bidplane_streams.lanes import hanging

OLD, NEW = {"bids": 5, "grants": 2}, {"bids": 9, "grants": 2}


@pytest.mark.parametrize(
    ("applied", "pending", "group", "committed"),
    [
        (OLD, NEW, NEW, True),
        (None, NEW, NEW, True),
        (OLD, NEW, OLD, False),
        (OLD, OLD, OLD, False),
        (OLD, NEW, {"bids": None, "grants": None}, False),
        (OLD, {**NEW, "rules": 3}, NEW, True),
        (NEW, None, OLD, False),
    ],
)
def test_rows_that_hang_are_committed_only_where_their_offsets_were(
    applied: dict[str, int] | None,
    pending: dict[str, int] | None,
    group: dict[str, int | None],
    committed: bool,
) -> None:
    """Offsets that only the hanging rows could have set; half-written rows are never committed."""
    assert hanging.has_reached(applied, pending, group) == committed


@pytest.mark.parametrize(
    ("applied", "group", "behind"),
    [
        (NEW, OLD, True),
        (NEW, NEW, False),
        (OLD, NEW, False),
        (NEW, {"bids": 5, "grants": 3}, False),
        (NEW, {"bids": None, "grants": None}, False),
        (None, OLD, False),
        (None, {"bids": None, "grants": None}, False),
    ],
)
def test_a_group_is_behind_where_it_is_nowhere_ahead(
    applied: dict[str, int] | None, group: dict[str, int | None], behind: bool
) -> None:
    """A lost marker leaves all of the group's offsets at or before what was applied."""
    assert hanging.is_behind(applied, group) == behind
