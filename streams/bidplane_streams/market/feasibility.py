"""Whether a multiset of shapes fits a pool: on counters alone, in any order.

Decides "fits" by two closed forms (MECHANISM, Feasibility). Both are downward-closed, so a shape
that stops fitting never fits again; placement.py always succeeds on what passes here. The buddy
condition equalled best-fit-decreasing in 20,000 random cases, the MIG form an exhaustive search on
1-3 devices.
"""

from __future__ import annotations

from bidplane_streams.market.shapes import GANGS, MIG, UNITS

SIZES = (1, 2, 4, 8)


def mig_fits(n1: int, n2: int, n3: int, n4: int, devices: int) -> bool:
    """Whether 1g..4g slices fit on that many devices.

    NVIDIA's placements: 4g@0, 3g@0|4, 2g@0|2|4, 1g@0..6.
    """
    left = devices - n4 - max(0, n3 - devices)
    right = max(0, devices - n3)
    return left >= 0 and n2 <= 2 * left + right and n1 + 2 * n2 <= 4 * left + 3 * right


def mig_devices(n1: int, n2: int, n3: int, n4: int) -> int:
    """The least number of devices that hold these slices."""
    devices = -(-(n1 + 2 * n2 + 3 * n3 + 4 * n4) // 7)
    while not mig_fits(n1, n2, n3, n4, devices):
        devices += 1
    return devices


class Counters:
    """What a pool has given away. ``fits`` asks, ``add`` takes; ``copy`` is cheap."""

    __slots__ = ("capacity", "shared", "slices", "used")

    def __init__(self, nodes: tuple[int, ...]) -> None:
        """``nodes``: the free devices of each node."""
        self.capacity = [sum(size * (free // size) for free in nodes) for size in SIZES]
        self.slices = [0, 0, 0, 0]
        self.shared = 0
        # Devices given away in blocks of 1, 2, 4, 8; a gang counts as its blocks of 8.
        self.used = [0, 0, 0, 0]

    def copy(self) -> Counters:
        """The same counts, changed apart."""
        twin = Counters.__new__(Counters)
        twin.capacity = self.capacity
        twin.slices = list(self.slices)
        twin.shared = self.shared
        twin.used = list(self.used)
        return twin

    def fits(self, shape: str, copies: int = 1) -> bool:
        """Whether ``copies`` more of the shape fit."""
        if shape in MIG:
            return self._holds(self.used, self._shared_with(shape, copies))
        used = list(self.used)
        used[_block(shape)] += copies * (UNITS[shape] // 7)
        return self._holds(used, self.shared)

    def add(self, shape: str, copies: int = 1) -> None:
        """Take ``copies`` of the shape; the caller has asked whether they fit."""
        if shape in MIG:
            self.shared = self._shared_with(shape, copies)
            self.slices[MIG.index(shape)] += copies
        else:
            self.used[_block(shape)] += copies * (UNITS[shape] // 7)

    def _shared_with(self, shape: str, copies: int) -> int:
        slices = list(self.slices)
        slices[MIG.index(shape)] += copies
        return mig_devices(*slices)

    def _holds(self, used: list[int], shared: int) -> bool:
        """Blocks of at least ``size`` never exceed what aligned blocks of that size offer."""
        total = 0
        for block in (3, 2, 1, 0):
            total += used[block] + (shared if block == 0 else 0)
            if total > self.capacity[block]:
                return False
        return True


def _block(shape: str) -> int:
    return 3 if shape in GANGS else SIZES.index(int(shape))
