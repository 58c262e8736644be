"""Positions of what was sold."""

from __future__ import annotations

import pytest

from bidplane_streams.market.placement import place_pool


def test_blocks_go_to_the_tightest_node() -> None:
    """The largest block is placed first, each on the node with the least room that holds it."""
    positions = place_pool((8, 3, 2), [("a", "1", 1), ("b", "2", 1), ("c", "8", 1)])
    assert positions == {"c": ((0, 8),), "b": ((2, 2),), "a": ((1, 1),)}


def test_a_gang_takes_whole_nodes() -> None:
    """A gang of sixteen is eight devices on each of two nodes."""
    assert place_pool((8, 5, 8), [("a", "16", 1)]) == {"a": ((0, 8), (2, 8))}


def test_levels_may_land_on_several_nodes() -> None:
    """Copies of an elastic award are placed one by one and summed by node."""
    assert place_pool((3, 2), [("a", "2", 2)]) == {"a": ((0, 2), (1, 2))}


def test_slices_share_a_device_at_nvidia_places() -> None:
    """A device holds 4g at 0 and 3g at 4; sevenths fill a device of their own."""
    positions = place_pool((1,), [("a", "4g", 1), ("b", "3g", 1)])
    assert positions == {"a": ((0, "0:4g@0"),), "b": ((0, "0:3g@4"),)}
    ones = place_pool((1,), [("a", "1g", 7)])
    assert ones["a"] == tuple((0, f"0:1g@{start}") for start in range(7))


def test_slices_take_the_highest_devices_of_a_node() -> None:
    """Whole devices take a node's lowest ordinals, shared ones its highest, so they never meet."""
    positions = place_pool((8,), [("a", "4", 1), ("b", "2g", 1)])
    assert positions == {"a": ((0, 4),), "b": ((0, "7:2g@4"),)}


def test_what_was_oversold_stops_the_process() -> None:
    """Selling more than a pool holds is a broken invariant, never a partial placement."""
    with pytest.raises(AssertionError, match="no node holds"):
        place_pool((4, 4), [("a", "8", 1)])
