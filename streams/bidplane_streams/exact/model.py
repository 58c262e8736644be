"""A component in linear rows: market/feasibility.py as a solver reads it.

Decides the model. Refuses to solve. Only how many copies of a shape each pool sells, and how its
shared devices are split, must be whole numbers: for given counts the rest is an assignment of bids
to copies, whose vertices are whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bidplane_streams.market import optimum
from bidplane_streams.market.feasibility import SIZES, Counters
from bidplane_streams.market.shapes import GANGS, MIG, UNITS
from bidplane_topics.instances import Instance, InstancePool


class Way(NamedTuple):
    """A column of the model: copies of a bid's alternative, and what each of them gains."""

    bid_id: str
    alternative: int
    gain: int


class Row(NamedTuple):
    """least <= Σ coefficient · column <= most; no ``least``: from below it is unbounded."""

    entries: list[tuple[int, int]]
    most: int
    least: int | None = None


class Model:
    """Ways first, then whole columns without a gain. ``most`` and ``whole`` are by column."""

    def __init__(self, instance: Instance) -> None:
        """Ways that gain nothing, or that an empty pool cannot serve, are left out."""
        self.ways: list[Way] = []
        self.most: list[int] = []
        self.whole: list[bool] = []
        self.rows: list[Row] = []
        self._sold: dict[str, dict[str, list[int]]] = {pool.name: {} for pool in instance.pools}
        self._add_bids(instance)
        for pool in instance.pools:
            self._add_pool(pool)

    def _add_bids(self, instance: Instance) -> None:
        pools = {pool.name: pool for pool in instance.pools}
        empty = {pool.name: Counters.of(pool) for pool in instance.pools}
        lots: list[tuple[int, int, int]] = []
        for bid in instance.bids:
            columns, seen = [], set()
            for index, chosen in enumerate(bid.alternatives):
                gain = optimum.gain(bid, index, pools)
                possible = empty[chosen.pool].fits(chosen.shape, bid.level_min)
                if gain <= 0 or not possible or chosen in seen:
                    continue
                seen.add(chosen)
                column = self._column(bid.level_max)
                self.ways.append(Way(bid.bid_id, index, gain))
                self._sold[chosen.pool].setdefault(chosen.shape, []).append(column)
                columns.append(column)
                if bid.level_min > 1:
                    lots.append((column, bid.level_min, bid.level_max))
            if len(columns) > 1:
                self.rows.append(Row([(column, 1) for column in columns], 1))
        for column, least, most in lots:  # nothing, or at least so many copies
            served = self._column(1, whole=True)
            self.rows.append(Row([(column, 1), (served, -most)], 0))
            self.rows.append(Row([(column, -1), (served, least)], 0))

    def _column(self, most: int, *, whole: bool = False) -> int:
        self.most.append(most)
        self.whole.append(whole)
        return len(self.most) - 1

    def _add_pool(self, pool: InstancePool) -> None:
        counters, devices = Counters.of(pool), pool.units
        sold: dict[str, int] = {}
        for shape in UNITS:
            columns = self._sold[pool.name].get(shape, [])
            if columns:
                sold[shape] = self._column(devices, whole=True)
                entries = [(column, 1) for column in columns]
                self.rows.append(Row([*entries, (sold[shape], -1)], 0, least=0))
        shared = None
        if any(shape in MIG for shape in sold):
            shared = self._column(sum(pool.nodes), whole=True)
            self._add_slices(counters, sold, shared)
        for size, capacity in zip(SIZES, counters.capacity, strict=True):
            blocks = [
                (column, UNITS[shape] // UNITS["1"] // size)
                for shape, column in sold.items()
                if shape not in MIG and (shape in GANGS or int(shape) >= size)
            ]
            if size == 1 and shared is not None:
                blocks.append((shared, 1))
            if blocks:
                self.rows.append(Row(blocks, capacity // size))

    def _add_slices(self, counters: Counters, sold: dict[str, int], shared: int) -> None:
        """``feasibility.mig_fits``, where ``left`` counts the 3g that take a left half.

        With l = left, s = shared and A, C, P, S the rest of partly used devices:
        L = A + s - n4 - l and R = C + s - n3 + l are the halves that 1g and 2g may use.
        """
        rest = counters.rest
        left = self._column(self.most[shared] + rest.lefts, whole=True)
        pairs = 2 * rest.lefts + rest.rights + rest.pairs

        def row(ones: int, twos: int, threes: int, fours: int, by: tuple[int, int], most: int
                ) -> Row:  # fmt: skip
            numbers = zip(MIG, (ones, twos, threes, fours), strict=True)
            counts = [(sold[shape], number) for shape, number in numbers if shape in sold]
            return Row(_without_zeros([*counts, (left, by[0]), (shared, by[1])]), most)

        self.rows += [
            row(0, 0, -1, 0, (1, 0), 0),
            row(0, 0, 0, 1, (1, -1), rest.lefts),
            row(0, 0, 1, 0, (-1, -1), rest.rights),
            row(0, 1, 1, 2, (1, -3), pairs),
            row(1, 2, 3, 4, (1, -7), rest.slots),
        ]


def _without_zeros(entries: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(column, number) for column, number in entries if number]
