"""A cluster's nodes and what is left of them: CPU, memory and every single GPU in thousandths.

Decides what fits and what a placement takes. Refuses to know which node is best: that is
placing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WHOLE = 1000  # thousandths of a GPU


class Node(NamedTuple):
    """What a node has when it is empty."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str


class Request(NamedTuple):
    """What a pod wants: ``milli`` thousandths of each of ``gpus`` GPUs; ``models`` empty: any."""

    cpu_milli: int
    memory_mib: int
    gpus: int
    milli: int
    models: tuple[str, ...] = ()

    @property
    def total_milli(self) -> int:
        """Thousandths of a GPU in all."""
        return self.gpus * self.milli


class Place(NamedTuple):
    """Where a pod runs: a node and the numbers of its GPUs."""

    node: int
    gpus: tuple[int, ...]


class Cluster:
    """Residuals of every node; ``changed`` lists the nodes that changed, in order."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """All of it is free."""
        self.nodes = tuple(nodes)
        self.cpu = [node.cpu_milli for node in nodes]
        self.memory = [node.memory_mib for node in nodes]
        self.gpus = [[WHOLE] * node.gpus for node in nodes]
        self.free = [WHOLE * node.gpus for node in nodes]
        self.changed: list[int] = []
        self.capacity_milli = sum(self.free)
        self.used_milli = 0

    def copy(self) -> Cluster:
        """The same residuals, changed apart."""
        twin = Cluster.__new__(Cluster)
        twin.nodes = self.nodes
        twin.cpu, twin.memory, twin.free = list(self.cpu), list(self.memory), list(self.free)
        twin.gpus = [list(gpus) for gpus in self.gpus]
        twin.changed = []
        twin.capacity_milli, twin.used_milli = self.capacity_milli, self.used_milli
        return twin

    def fits(self, node: int, request: Request) -> bool:
        """Whether the pod could start on this node now."""
        if request.cpu_milli > self.cpu[node] or request.memory_mib > self.memory[node]:
            return False
        if request.gpus == 0:
            return True
        if request.total_milli > self.free[node]:
            return False
        if request.models and self.nodes[node].model not in request.models:
            return False
        milli = request.milli
        return sum(left >= milli for left in self.gpus[node]) >= request.gpus

    def take(self, place: Place, request: Request) -> None:
        """The pod starts there.

        Raises:
            AssertionError: it does not fit; a GPU would be used twice.
        """
        node = place.node
        assert len(set(place.gpus)) == request.gpus, "a pod wants as many GPUs as it names"
        self.cpu[node] -= request.cpu_milli
        self.memory[node] -= request.memory_mib
        self.free[node] -= request.total_milli
        self.used_milli += request.total_milli
        for gpu in place.gpus:
            self.gpus[node][gpu] -= request.milli
            assert self.gpus[node][gpu] >= 0, "a GPU is used twice"
        assert self.cpu[node] >= 0, "CPU is used twice"
        assert self.memory[node] >= 0, "memory is used twice"
        self.changed.append(node)

    def give_back(self, place: Place, request: Request) -> None:
        """The pod has ended."""
        node = place.node
        self.cpu[node] += request.cpu_milli
        self.memory[node] += request.memory_mib
        self.free[node] += request.total_milli
        self.used_milli -= request.total_milli
        for gpu in place.gpus:
            self.gpus[node][gpu] += request.milli
            assert self.gpus[node][gpu] <= WHOLE, "more was given back than was taken"
        self.changed.append(node)


def tightest(left: Sequence[int], request: Request) -> tuple[int, ...]:
    """The GPUs that a pod takes on a node that holds it: those with the least left that suffices.

    Whole GPUs are the lowest numbers, since all of them have as much left.
    """
    if request.gpus == 0:
        return ()
    fitting = [(have, gpu) for gpu, have in enumerate(left) if have >= request.milli]
    return tuple(gpu for _, gpu in sorted(fitting)[: request.gpus])
