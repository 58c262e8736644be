"""Fragmentation of a node, as Weng et al. (USENIX ATC 2023) define it.

Decides how much of a node's free GPU a pod drawn from the workload could not use. The workload is
its most frequent kinds, until they make up 95 % of the pods; a kind without a GPU can use none.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from bidplane_loadtest.simulator.cluster import Request

POPULAR_PERCENT = 95


class Kind(NamedTuple):
    """A kind of pod and how often it comes."""

    pods: int
    cpu_milli: int
    milli: int
    gpus: int
    models: tuple[str, ...]


def popular(requests: Iterable[Request]) -> list[Kind]:
    """The most frequent kinds, most frequent first, until they cover POPULAR_PERCENT."""
    counted = Counter((one.cpu_milli, one.milli, one.gpus, one.models) for one in requests)
    kinds = sorted((Kind(count, *key) for key, count in counted.items()), reverse=True)
    wanted, seen, chosen = sum(counted.values()) * POPULAR_PERCENT, 0, []
    for kind in kinds:
        if seen * 100 >= wanted:
            break
        seen += kind.pods
        chosen.append(kind)
    return chosen


class Fragmentation:
    """Free thousandths of a GPU that a pod could not use, times ``weight``, remembered by state.

    Only which kinds the CPU left suffices for matters, so states are told apart by that alone.
    """

    def __init__(self, kinds: list[Kind]) -> None:
        """``kinds`` as ``popular`` chose them."""
        self.weight = sum(kind.pods for kind in kinds)
        self._kinds = kinds
        self._steps = sorted({kind.cpu_milli for kind in kinds})
        self._known: dict[tuple[int, str, tuple[int, ...]], int] = {}

    def of(self, cpu_milli: int, model: str, gpus: tuple[int, ...]) -> int:
        """``gpus``: what is left of each, in ascending order."""
        step = bisect.bisect_right(self._steps, cpu_milli)
        known = self._known.get((step, model, gpus))
        if known is None:
            known = self._known[step, model, gpus] = self._amount(cpu_milli, model, gpus)
        return known

    def _amount(self, cpu_milli: int, model: str, gpus: tuple[int, ...]) -> int:
        free, amount = sum(gpus), 0
        for kind in self._kinds:
            first = bisect.bisect_left(gpus, kind.milli)
            usable = (
                kind.gpus > 0
                and cpu_milli >= kind.cpu_milli
                and len(gpus) - first >= kind.gpus
                and (not kind.models or model in kind.models)
            )
            amount += kind.pods * (sum(gpus[:first]) if usable else free)
        return amount
