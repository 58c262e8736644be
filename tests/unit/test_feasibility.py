"""What fits a pool, on counters."""

from __future__ import annotations

import pytest

from bidplane_streams.market.feasibility import Counters, mig_devices


@pytest.mark.parametrize(
    ("shape", "nodes", "copies"),
    [("1", (8,), 8), ("2", (3, 3), 2), ("4", (3, 3, 4), 1), ("8", (8, 7), 1), ("16", (8, 8, 8), 1),
     ("64", (8,) * 7, 0), ("64", (8,) * 8, 1), ("1g", (1,), 7), ("2g", (1,), 3), ("3g", (1,), 2),
     ("4g", (1,), 1), ("4g", (0,), 0), ("8", (16,), 2), ("16", (16,), 1)],
)  # fmt: skip
def test_most_copies(shape: str, nodes: tuple[int, ...], copies: int) -> None:
    """A pool holds exactly this many copies of a shape alone."""
    counters = Counters(nodes)
    assert counters.fits(shape, copies)
    assert not counters.fits(shape, copies + 1)


def test_a_slice_takes_a_device_from_whole_shapes() -> None:
    """A device that holds one slice is no part of a whole shape, and has room for more slices."""
    counters = Counters((2,))
    counters.add("1g")
    assert not counters.fits("2")
    assert counters.fits("1")
    counters.add("1")
    assert counters.fits("1g", 6)
    assert not counters.fits("1g", 7)


def test_a_three_and_a_four_share_a_device_but_two_fours_do_not() -> None:
    """Placements bind: 3g stands beside 4g, another 4g needs another device."""
    assert mig_devices(0, 0, 1, 1) == 1
    assert mig_devices(0, 0, 0, 2) == 2
    assert mig_devices(1, 0, 2, 0) == 2


def test_a_gang_needs_whole_nodes() -> None:
    """Sixteen free devices on four half-used nodes hold no gang of sixteen."""
    assert not Counters((4, 4, 4, 4)).fits("16")
    assert Counters((8, 4, 8)).fits("16")


def test_a_copy_is_apart() -> None:
    """What is added to a copy leaves the original as it was."""
    counters = Counters((1,))
    twin = counters.copy()
    twin.add("1g", 7)
    assert counters.fits("1")
    assert not twin.fits("1g")
