"""Whether a multiset of shapes fits a pool: on counters alone, in any order.

Decides "fits" by two closed forms (MECHANISM, Feasibility). Both are downward-closed, so a shape
that stops fitting never fits again; placement.py always succeeds on what passes here. The buddy
condition equalled best-fit-decreasing in 20,000 random cases, the MIG form an exhaustive search on
1-3 devices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from bidplane_streams.market.shapes import GANGS, MIG, UNITS
from bidplane_topics.instances import InstanceAlternative, InstancePool

SIZES = (1, 2, 4, 8)
# Between the shape and the node of an alternative that is pinned to one: "2@5".
_PIN: Final = "@"


def shape_of(alternative: InstanceAlternative) -> str:
    """What ``Counters`` take for it: its shape, with its node where it is pinned to one."""
    if alternative.pinned is None:
        return alternative.shape
    return f"{alternative.shape}{_PIN}{alternative.pinned}"


class Rest(NamedTuple):
    """What partly used devices still have: halves, pairs outside of them, slots outside of both.

    A left half is slots 0-3, a right one 4-6; a pair is 0-1, 2-3 or 4-5.
    """

    lefts: int = 0
    rights: int = 0
    pairs: int = 0
    singles: int = 0

    @property
    def slots(self) -> int:
        """All free slots."""
        return 4 * self.lefts + 3 * self.rights + 2 * self.pairs + self.singles


NOTHING: Final = Rest()


def rest_of(devices: Iterable[Iterable[int]]) -> Rest:
    """The sum over devices, each given by its free compute slots."""
    lefts = rights = pairs = singles = 0
    for free in map(frozenset, devices):
        slots = len(free)
        if free >= {0, 1, 2, 3}:
            lefts, slots = lefts + 1, slots - 4
        else:
            whole = sum(free >= {start, start + 1} for start in (0, 2))
            pairs, slots = pairs + whole, slots - 2 * whole
        if free >= {4, 5, 6}:
            rights, slots = rights + 1, slots - 3
        elif free >= {4, 5}:
            pairs, slots = pairs + 1, slots - 2
        singles += slots
    return Rest(lefts, rights, pairs, singles)


def mig_fits(n1: int, n2: int, n3: int, n4: int, devices: int, *, rest: Rest = NOTHING) -> bool:
    """Whether 1g..4g slices fit on that many free devices and what partly used ones still have.

    NVIDIA's placements: 4g@0, 3g@0|4, 2g@0|2|4, 1g@0..6. A 3g takes a right half where it can,
    since a left one holds all that a right one does, and a 4g.
    """
    lefts, rights = devices + rest.lefts, devices + rest.rights
    left = lefts - n4 - max(0, n3 - rights)
    right = max(0, rights - n3)
    pairs = 2 * left + right + rest.pairs
    slots = 4 * left + 3 * right + 2 * rest.pairs + rest.singles
    return left >= 0 and n2 <= pairs and n1 + 2 * n2 <= slots


def mig_devices(n1: int, n2: int, n3: int, n4: int, *, rest: Rest = NOTHING) -> int:
    """The least number of free devices that hold these slices beside the partly used ones."""
    devices = max(0, -(-(n1 + 2 * n2 + 3 * n3 + 4 * n4 - rest.slots) // 7))
    while not mig_fits(n1, n2, n3, n4, devices, rest=rest):
        devices += 1
    return devices


class Counters:
    """What a pool has given away. ``fits`` asks, ``add`` takes; ``copy`` is cheap.

    What is pinned to a node is taken off it: all that is asked afterwards has the lower node.
    """

    __slots__ = ("capacity", "nodes", "rest", "shared", "slices", "used")

    def __init__(self, nodes: tuple[int, ...], rest: Rest = NOTHING) -> None:
        """``nodes``: the free devices of each node; ``rest``: what partly used ones still have."""
        self.rest = rest
        self.nodes = nodes
        self.capacity = [sum(size * (free // size) for free in nodes) for size in SIZES]
        self.slices = [0, 0, 0, 0]
        self.shared = 0
        # Devices given away in blocks of 1, 2, 4, 8; a gang counts as its blocks of 8.
        self.used = [0, 0, 0, 0]

    @classmethod
    def of(cls, pool: InstancePool) -> Counters:
        """A pool of which nothing is given away yet."""
        return cls(pool.nodes, rest_of(slots for _, slots in pool.partly_used))

    def copy(self) -> Counters:
        """The same counts, changed apart."""
        twin = Counters.__new__(Counters)
        twin.nodes = self.nodes
        twin.capacity = self.capacity
        twin.rest = self.rest
        twin.slices = list(self.slices)
        twin.shared = self.shared
        twin.used = list(self.used)
        return twin

    def fits(self, shape: str, copies: int = 1) -> bool:
        """Whether ``copies`` more of the shape fit."""
        if shape in MIG:
            return self._holds(self.used, self._shared_with(shape, copies))
        if _PIN in shape:
            lowered = self.copy()
            lowered.add(shape)
            return min(lowered.nodes) >= 0 and lowered.holds()
        used = list(self.used)
        used[_block(shape)] += copies * (UNITS[shape] // 7)
        return self._holds(used, self.shared)

    def add(self, shape: str, copies: int = 1) -> None:
        """Take ``copies`` of the shape; the caller has asked whether they fit."""
        if shape in MIG:
            self.shared = self._shared_with(shape, copies)
            self.slices[MIG.index(shape)] += copies
        elif _PIN in shape:
            self._lower(*map(int, shape.split(_PIN)))
        else:
            self.used[_block(shape)] += copies * (UNITS[shape] // 7)

    def holds(self) -> bool:
        """Whether all that was taken fits."""
        return self._holds(self.used, self.shared)

    def _lower(self, size: int, node: int) -> None:
        """Take what is pinned off its node, below nothing where the node has not as much."""
        had, left = self.nodes[node], self.nodes[node] - size
        self.nodes = (*self.nodes[:node], left, *self.nodes[node + 1 :])
        self.capacity = [
            capacity - block * (had // block - left // block)
            for capacity, block in zip(self.capacity, SIZES, strict=True)
        ]

    def _shared_with(self, shape: str, copies: int) -> int:
        slices = list(self.slices)
        slices[MIG.index(shape)] += copies
        return mig_devices(*slices, rest=self.rest)

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
