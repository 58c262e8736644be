"""How much of a bid its bidder's money covers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from bidplane_streams.market.admission import Admitted, admit
from bidplane_topics.money import MICROS_MAX


@pytest.mark.parametrize(
    ("value", "levels", "available", "admitted"),
    [
        (100, (1, 1), 1000, Admitted(100, 1)),
        (100, (1, 1), 40, Admitted(40, 1)),
        (100, (1, 1), 0, None),
        (100, (1, 6), 1000, Admitted(100, 6)),
        (100, (1, 6), 250, Admitted(100, 2)),
        (100, (3, 6), 250, Admitted(83, 3)),
        (100, (3, 6), 2, None),
        (MICROS_MAX, (1, 4), 4 * MICROS_MAX, Admitted(MICROS_MAX, 1)),
    ],
)
def test_examples(
    value: int, levels: tuple[int, int], available: int, admitted: Admitted | None
) -> None:
    """Levels shrink before the value does, and one hold fits one ledger entry."""
    mode = {} if levels == (1, 1) else {"mode": "elastic"}
    place = builders.place(value, level_min=levels[0], level_max=levels[1], **mode)
    assert admit(place, available) == admitted


@settings(derandomize=True, database=None, deadline=None)
@given(
    value=st.integers(1, 2**53 - 1),
    low=st.integers(1, 64),
    more=st.integers(0, 63),
    available=st.integers(0, 2**60),
)
def test_the_hold_is_covered(value: int, low: int, more: int, available: int) -> None:
    """A hold never passes the money, the asked value or the asked levels."""
    high = min(64, low + more)
    place = builders.place(value, mode="elastic", level_min=low, level_max=high)
    admitted = admit(place, available)
    if admitted is None:
        assert available < low
        return
    assert 0 < admitted.hold_micros <= min(available, MICROS_MAX)
    assert low <= admitted.level_max <= high
    assert admitted.value_micros <= value
    assert admitted.value_micros == value or admitted.level_max == low
