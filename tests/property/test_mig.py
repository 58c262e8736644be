"""MIG packing by closed form and by search, against every placement there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache

import pytest
from msgspec import UNSET

from bidplane_agents.audit import mechanism
from bidplane_streams.market import feasibility, slicing
from bidplane_topics.instances import InstancePool
from bidplane_topics.supply import PLACEMENTS

PLACES = {1: [(at, 1) for at in range(7)], 2: [(0, 2), (2, 2), (4, 2)], 3: [(0, 4), (4, 4)],
          4: [(0, 4)]}  # fmt: skip


Counts = tuple[int, ...]


@cache
def one_device(free: Counts = tuple(range(7))) -> frozenset[Counts]:
    """Every count of slices that NVIDIA's placement table allows on a device's free slots."""
    reached: set[Counts] = set()
    stack = [(sum(1 << slot for slot in range(7) if slot not in free), (0, 0, 0, 0))]
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


def together(some: Iterable[Counts], more: Iterable[Counts]) -> set[Counts]:
    """What fits on two lots of devices at once."""
    more = list(more)
    return {tuple(a + b for a, b in zip(one, two, strict=True)) for one in some for two in more}


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_mig_form_is_exact(devices: int) -> None:
    """The closed form and the auditor's search equal an exhaustive packing of 1 to 3 devices."""
    packable: set[Counts] = {(0, 0, 0, 0)}
    for _ in range(devices):
        packable = together(packable, one_device())
    ranges = (range(7 * devices + 2), range(3 * devices + 2), range(2 * devices + 2),
              range(devices + 2))  # fmt: skip
    for counts in itertools.product(*ranges):
        assert feasibility.mig_fits(*counts, devices) == (counts in packable), counts
        assert mechanism.slices_fit(*counts, devices) == (counts in packable), counts


FREE = [free for size in range(1, 7) for free in itertools.combinations(range(7), size)]
# Each state beside itself, beside a free device, and beside states that lack other halves.
MIXES = [
    (*one, *other)
    for one in [(free,) for free in FREE]
    for other in ((), one, (tuple(range(7)),), ((0, 1, 2, 3),), ((4, 5, 6),), ((1, 2, 4, 5),))
]


def test_partly_used_devices_are_exact() -> None:
    """With any slots in use, counts fit just where a search packs them, and get free places."""
    for mix in MIXES:
        packable: set[Counts] = {(0, 0, 0, 0)}
        for free in mix:
            packable = together(packable, one_device(free))
        whole = sum(len(free) == 7 for free in mix)
        partial = tuple((0, free) for free in mix if len(free) < 7)
        pool = InstancePool(name="p", device_class="c", nodes=(whole,), partial=partial or UNSET)
        rest, stock = feasibility.rest_of(free for _, free in partial), mechanism.stock_of(pool)
        largest = [max(counts[size] for counts in packable) for size in range(4)]
        for counts in itertools.product(*(range(most + 2) for most in largest)):
            fits = counts in packable
            n1, n2, n3, n4 = counts
            assert feasibility.mig_fits(n1, n2, n3, n4, whole, rest=rest) == fits, (mix, counts)
            assert mechanism.slices_fit(*counts, whole, stock[1:]) == fits, (mix, counts)
            if fits:
                check_places(mix, counts)


def check_places(mix: tuple[Counts, ...], counts: Counts) -> None:
    """Every slice stands at a placement, on free slots, and none shares one."""
    free = {(device, slot) for device, slots in enumerate(mix) for slot in slots}
    profiles = dict(zip(("1g", "2g", "3g", "4g"), counts, strict=True))
    found = slicing.starts(mix, profiles)
    for profile, count in profiles.items():
        assert len(found[profile]) == count
        for device, start in found[profile]:
            width = {(3, 0): 4}.get((int(profile[0]), start), int(profile[0]))
            taken = {(device, start + slot) for slot in range(width)}
            assert (profile, start) in PLACEMENTS
            assert taken <= free
            free -= taken
