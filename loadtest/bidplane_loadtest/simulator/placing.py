"""Which node a pod goes to: one class per rule, and a chooser that remembers scores.

Decides the scores of the published experiment (Weng et al., USENIX ATC 2023): whole numbers from 0
to 100, the higher the better, ties to the first node by name. Scores that are finer would be other
rules: ties matter.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final, Protocol

from bidplane_loadtest.simulator.cluster import WHOLE, Cluster, Place, Request, tightest
from bidplane_loadtest.simulator.fragmentation import Fragmentation

BEST: Final = 100
# The largest node of the trace, which free CPU and GPUs are measured against.
CPU_SPAN: Final = 128_000
GPU_SPAN: Final = 8 * WHOLE
NEVER: Final = -1


class Rule(Protocol):
    """How good a node that holds the pod is, and which of its GPUs the pod gets."""

    def score(self, cluster: Cluster, node: int, request: Request) -> int:
        """From 0 to BEST."""

    def devices(self, cluster: Cluster, node: int, request: Request) -> tuple[int, ...]:
        """The GPUs on that node."""


class BestFit:
    """The node with the least CPU and GPU left afterwards, weighed alike."""

    def score(self, cluster: Cluster, node: int, request: Request) -> int:
        """BEST less what would be left, in hundredths of the largest node."""
        cpu = cluster.cpu[node] - request.cpu_milli
        gpu = cluster.free[node] - request.total_milli
        span = 2 * CPU_SPAN * GPU_SPAN
        return max(0, BEST - -(-BEST * (cpu * GPU_SPAN + gpu * CPU_SPAN) // span))

    def devices(self, cluster: Cluster, node: int, request: Request) -> tuple[int, ...]:
        """The tightest."""
        return tightest(cluster.gpus[node], request)


class DotProduct:
    """The node whose free CPU and GPU point least in the pod's direction (Tetris, turned round)."""

    def score(self, cluster: Cluster, node: int, request: Request) -> int:
        """BEST less the dot product, both measured against the largest node."""
        cpu = cluster.cpu[node] * request.cpu_milli * GPU_SPAN**2
        gpu = cluster.free[node] * request.total_milli * CPU_SPAN**2
        return max(0, BEST - -(-BEST * (cpu + gpu) // (2 * (CPU_SPAN * GPU_SPAN) ** 2)))

    def devices(self, cluster: Cluster, node: int, request: Request) -> tuple[int, ...]:
        """The tightest."""
        return tightest(cluster.gpus[node], request)


class Packing:
    """Shared GPUs first, then free GPUs of a used node, then a free node."""

    def score(self, cluster: Cluster, node: int, request: Request) -> int:
        """Three bands, as published."""
        if request.gpus == 0:
            return 0
        left = cluster.gpus[node]
        whole = sum(have == WHOLE for have in left)
        if whole == len(left):
            return max(BEST // 3 - whole, whole)
        taken = [left[gpu] for gpu in tightest(left, request)]
        fresh = sum(have == WHOLE for have in taken)
        if fresh:
            return max(BEST // 2 - fresh, BEST // 3)
        return max(BEST - sum(have * 100 // WHOLE for have in taken) // 10, BEST // 2)

    def devices(self, cluster: Cluster, node: int, request: Request) -> tuple[int, ...]:
        """The tightest."""
        return tightest(cluster.gpus[node], request)


class LeastFragmentation:
    """FGD: the node, and the GPU on it, where the pod fragments least."""

    def __init__(self, fragmentation: Fragmentation) -> None:
        """``fragmentation`` knows the workload."""
        self._fragmentation = fragmentation

    def score(self, cluster: Cluster, node: int, request: Request) -> int:
        """A logistic curve over the fragmentation that is saved, in GPUs."""
        return self._best(cluster, node, request)[0]

    def devices(self, cluster: Cluster, node: int, request: Request) -> tuple[int, ...]:
        """A share goes where it fragments least; whole GPUs are the lowest numbers."""
        return self._best(cluster, node, request)[1]

    def _best(self, cluster: Cluster, node: int, request: Request) -> tuple[int, tuple[int, ...]]:
        left = cluster.gpus[node]
        before = self._amount(cluster, node, left, 0)
        if request.gpus != 1 or request.milli == WHOLE:
            chosen = tightest(left, request)
            after = self._amount(cluster, node, _without(left, chosen, request), request.cpu_milli)
            return self._curve(before - after), chosen
        best: tuple[int, tuple[int, ...]] = (NEVER, ())
        tried: set[int] = set()
        for gpu, have in enumerate(left):
            if have < request.milli or have in tried:
                continue
            tried.add(have)
            after = self._amount(cluster, node, _without(left, (gpu,), request), request.cpu_milli)
            score = self._curve(before - after)
            if score > best[0]:
                best = (score, (gpu,))
        return best

    def _amount(self, cluster: Cluster, node: int, left: list[int], cpu_milli: int) -> int:
        model = cluster.nodes[node].model
        return self._fragmentation.of(cluster.cpu[node] - cpu_milli, model, tuple(sorted(left)))

    def _curve(self, saved: int) -> int:
        return int(BEST / (1 + math.exp(-saved / self._fragmentation.weight / WHOLE)))


def _without(left: list[int], gpus: tuple[int, ...], request: Request) -> list[int]:
    after = list(left)
    for gpu in gpus:
        after[gpu] -= request.milli
    return after


class Chooser:
    """The best node for a pod. Scores are kept per kind of pod; only changed nodes are scored."""

    def __init__(self, cluster: Cluster, rule: Rule) -> None:
        """Nothing is scored yet."""
        self._cluster, self._rule = cluster, rule
        self._scores: dict[Request, list[int]] = {}
        self._read: dict[Request, int] = {}

    def place(self, request: Request) -> Place | None:
        """Where the pod goes; None where no node holds it."""
        scores = self._current(request)
        best = max(scores, default=NEVER)
        if best == NEVER:
            return None
        node = scores.index(best)
        return Place(node, self._rule.devices(self._cluster, node, request))

    def holding(self, request: Request) -> list[int]:
        """All nodes that hold the pod."""
        return [node for node, score in enumerate(self._current(request)) if score != NEVER]

    def _current(self, request: Request) -> list[int]:
        cluster = self._cluster
        scores = self._scores.get(request)
        if scores is None:
            scores = self._scores[request] = [NEVER] * len(cluster.nodes)
            stale: set[int] = set(range(len(cluster.nodes)))
        else:
            stale = set(cluster.changed[self._read[request] :])
        self._read[request] = len(cluster.changed)
        for node in stale:
            fits = cluster.fits(node, request)
            scores[node] = self._rule.score(cluster, node, request) if fits else NEVER
        return scores


class Anywhere:
    """Random: any node that holds the pod, and any GPU of it that does."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        """``dice`` decides everything."""
        self._cluster, self._dice = cluster, dice
        self._known = Chooser(cluster, Packing())

    def place(self, request: Request) -> Place | None:
        """Where the pod goes; None where no node holds it."""
        holding = self._known.holding(request)
        if not holding:
            return None
        node = self._dice.choice(holding)
        left = self._cluster.gpus[node]
        if request.gpus == 1 and request.milli < WHOLE:
            fitting = [gpu for gpu, have in enumerate(left) if have >= request.milli]
            return Place(node, (self._dice.choice(fitting),))
        return Place(node, tightest(left, request))


Placer = Callable[[Request], Place | None]
