"""Priority by QoS class with preemption, as a Kubernetes cluster with priority classes does it.

Decides who is stopped for whom: only work of a lower class, the lowest class first and in it the
latest to start, on the node where that costs least. A job that is stopped has lost its work and
waits again in its place.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bidplane_loadtest.jobs import Qos
from bidplane_loadtest.simulator.cluster import Cluster, Place, Request, tightest
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.placing import BestFit, Chooser
from bidplane_loadtest.simulator.policies.backlog import Backlog
from bidplane_loadtest.simulator.work import Job

RANK: Final[dict[Qos, int]] = {"LS": 3, "Guaranteed": 2, "Burstable": 1, "BE": 0}


class _Held(NamedTuple):
    job: Job
    place: Place
    started_ms: int


class _Eviction(NamedTuple):
    """What stopping some jobs of a node costs: the highest class, then what they used."""

    rank: int
    milli: int
    node: int
    victims: tuple[_Held, ...]


class Priority:
    """Higher classes first, at the cost of lower ones that run."""

    def __init__(self, cluster: Cluster) -> None:
        """``cluster`` is this policy's own."""
        self.cluster = cluster
        self._chooser = Chooser(cluster, BestFit())
        self._backlog = Backlog(lambda job: (-RANK[job.qos], job.arrival_ms))
        self._held: dict[int, _Held] = {}
        self._on: list[set[int]] = [set() for _ in cluster.nodes]

    def arrive(self, job: Job, now_ms: int) -> None:
        """It waits behind those of its class."""
        del now_ms
        self._backlog.add(job)

    def leave(self, job: Job, now_ms: int) -> None:
        """What it had is free."""
        del now_ms
        self._drop(self._held[job.number])

    def due_ms(self, now_ms: int) -> int | None:
        """Whenever something happened."""
        return now_ms if len(self._backlog) else None

    def decide(self, now_ms: int) -> Decision:
        """Start what fits, or what fits once lower classes are stopped."""
        stopped: list[Job] = []
        started: list[Start] = []

        def start(job: Job) -> bool:
            place = self._chooser.place(job.request)
            if place is None:
                eviction = self._cheapest(job)
                if eviction is None:
                    return False
                for victim in eviction.victims:
                    self._drop(victim)
                    stopped.append(victim.job)
                left = self.cluster.gpus[eviction.node]
                place = Place(eviction.node, tightest(left, job.request))
            self.cluster.take(place, job.request)
            self._held[job.number] = _Held(job, place, now_ms)
            self._on[place.node].add(job.number)
            started.append(Start(job, job.request.total_milli))
            return True

        self._backlog.serve(start)
        for job in stopped:
            self._backlog.add(job)
        # A job that started and was stopped in one pass neither started nor stopped.
        both = {job.number for job in stopped} & {one.job.number for one in started}
        return Decision(
            [job for job in stopped if job.number not in both],
            [one for one in started if one.job.number not in both],
        )

    def prices(self) -> list[tuple[int, int]]:
        """None."""
        return []

    def _drop(self, held: _Held) -> None:
        self.cluster.give_back(held.place, held.job.request)
        self._on[held.place.node].remove(held.job.number)
        del self._held[held.job.number]
        self._backlog.freed()

    def _cheapest(self, job: Job) -> _Eviction | None:
        """The eviction that stops the lowest class, then the least GPU; first node on a tie."""
        found = (self._eviction(node, job) for node in range(len(self.cluster.nodes)))
        return min((one for one in found if one is not None), default=None)

    def _eviction(self, node: int, job: Job) -> _Eviction | None:
        """Stop lower classes on one node, lowest and latest first, until the job fits."""
        lower = [
            self._held[number]
            for number in self._on[node]
            if RANK[self._held[number].job.qos] < RANK[job.qos]
        ]
        lower.sort(key=lambda held: (RANK[held.job.qos], -held.started_ms, -held.job.number))
        if not lower or not _holds(self.cluster, node, lower, job.request):
            return None
        victims: list[_Held] = []
        for held in lower:
            victims.append(held)
            if _holds(self.cluster, node, victims, job.request):
                break
        milli = sum(held.job.request.total_milli for held in victims)
        return _Eviction(RANK[victims[-1].job.qos], milli, node, tuple(victims))


def _holds(cluster: Cluster, node: int, gone: list[_Held], request: Request) -> bool:
    """Whether the node would hold the request without these jobs."""
    cpu = cluster.cpu[node] + sum(held.job.request.cpu_milli for held in gone)
    memory = cluster.memory[node] + sum(held.job.request.memory_mib for held in gone)
    if request.cpu_milli > cpu or request.memory_mib > memory:
        return False
    if request.models and cluster.nodes[node].model not in request.models:
        return False
    left = list(cluster.gpus[node])
    for held in gone:
        for gpu in held.place.gpus:
            left[gpu] += held.job.request.milli
    return sum(have >= request.milli for have in left) >= request.gpus
