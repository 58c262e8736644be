"""MIG packing by closed form and by search, against every placement there is."""

from __future__ import annotations

import itertools
from functools import lru_cache

import pytest

from bidplane_agents.audit import mechanism
from bidplane_streams.market import feasibility

PLACES = {1: [(at, 1) for at in range(7)], 2: [(0, 2), (2, 2), (4, 2)], 3: [(0, 4), (4, 4)],
          4: [(0, 4)]}  # fmt: skip


@lru_cache(maxsize=1)
def one_device() -> frozenset[tuple[int, ...]]:
    """Every count of slices that NVIDIA's placement table allows on one device."""
    reached: set[tuple[int, ...]] = set()
    stack = [(0, (0, 0, 0, 0))]
    while stack:
        mask, counts = stack.pop()
        reached.add(counts)
        for profile, places in PLACES.items():
            for start, width in places:
                bits = ((1 << width) - 1) << start
                if not mask & bits:
                    more = list(counts)
                    more[profile - 1] += 1
                    stack.append((mask | bits, (more[0], more[1], more[2], more[3])))
    return frozenset(reached)


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_mig_form_is_exact(devices: int) -> None:
    """The closed form and the auditor's search equal an exhaustive packing of 1 to 3 devices."""
    packable = {(0, 0, 0, 0)}
    for _ in range(devices):
        packable = {
            tuple(a + b for a, b in zip(one, two, strict=True))  # type: ignore[misc]
            for one in packable
            for two in one_device()
        }
    ranges = (range(7 * devices + 2), range(3 * devices + 2), range(2 * devices + 2),
              range(devices + 2))  # fmt: skip
    for counts in itertools.product(*ranges):
        assert feasibility.mig_fits(*counts, devices) == (counts in packable), counts
        assert mechanism.slices_fit(*counts, devices) == (counts in packable), counts
