"""Where a partition goes on, and what stops it, from three numbers."""

from __future__ import annotations

import pytest

from bidplane_streams.errors import OffsetsConflict, RecordsMissing
from bidplane_streams.lanes import opening


@pytest.mark.parametrize(
    ("applied", "committed", "first", "start"),
    [
        (None, None, 0, 0),
        (None, None, 40, 40),
        (50, 50, 0, 50),
        (50, None, 0, 50),
        (50, 50, 50, 50),
    ],
)
def test_the_vector_says_where_to_go_on(
    applied: int | None, committed: int | None, first: int, start: int
) -> None:
    """Nothing known starts at the earliest; otherwise what was applied is where it goes on."""
    assert opening.start("t", applied, committed, first) == start


@pytest.mark.parametrize(("applied", "committed"), [(None, 50), (49, 50), (51, 50)])
def test_offsets_that_differ_stop_the_lane(applied: int | None, committed: int) -> None:
    """Committed without a vector, or both and different, did not come from our transactions."""
    with pytest.raises(OffsetsConflict, match=r"^t: "):
        opening.start("t", applied, committed, 0)


def test_a_log_that_begins_too_late_stops_the_lane() -> None:
    """Records between what was applied and where the log begins are gone."""
    with pytest.raises(RecordsMissing, match="begins at 51"):
        opening.start("t", 50, 50, 51)
