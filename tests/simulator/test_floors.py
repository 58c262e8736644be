"""Entitlements: what a tenant is due comes first, however little it bids."""

from __future__ import annotations

import pytest

from simulator import scenes
from simulator.scenes import job, scene


@pytest.mark.parametrize(
    ("policy", "cheap_first"), [("market-greedy", False), ("market-floors", True)]
)
def test_a_floor_is_served_before_a_higher_value(policy: str, *, cheap_first: bool) -> None:
    """A tenant's even part, two GPUs, goes to its cheap job; without floors the dear one leads."""
    cheap = job(0, 2, tenant="lab", value_micros=1000)
    dear = job(1, 8, tenant="batch", value_micros=90_000_000)
    started = scenes.starts(scenes.play(scene(cheap, dear), policy))
    assert (started[0] < started[1]) == cheap_first
