"""Best-fit, FGD and value-aware FIFO: an order of jobs, and a rule that picks the node.

Decides nothing but the two orders. A job that fits nowhere waits while later ones go ahead, as in a
Kubernetes scheduler.
"""

from __future__ import annotations

from bidplane_loadtest.simulator.cluster import Cluster, Place
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.placing import Chooser, Rule
from bidplane_loadtest.simulator.policies.backlog import Backlog, Key
from bidplane_loadtest.simulator.work import Job


def by_arrival(job: Job) -> int:
    """First come, first served."""
    return job.arrival_ms


def by_density(job: Job) -> int:
    """The most valuable GPU time first: what the market knows, without its prices."""
    return -(job.value_micros << 40) // job.size


class Packed:
    """Jobs in the order of ``key``, each where ``rule`` says."""

    def __init__(self, cluster: Cluster, rule: Rule, key: Key) -> None:
        """``cluster`` is this policy's own."""
        self.cluster = cluster
        self._chooser = Chooser(cluster, rule)
        self._backlog = Backlog(key)
        self._places: dict[int, Place] = {}

    def arrive(self, job: Job, now_ms: int) -> None:
        """It waits in its place."""
        del now_ms
        self._backlog.add(job)

    def leave(self, job: Job, now_ms: int) -> None:
        """What it had is free."""
        del now_ms
        self.cluster.give_back(self._places.pop(job.number), job.request)
        self._backlog.freed()

    def due_ms(self, now_ms: int) -> int | None:
        """Whenever something happened."""
        return now_ms if len(self._backlog) else None

    def decide(self, now_ms: int) -> Decision:
        """Start what fits."""
        del now_ms
        started: list[Start] = []

        def start(job: Job) -> bool:
            place = self._chooser.place(job.request)
            if place is None:
                return False
            self.cluster.take(place, job.request)
            self._places[job.number] = place
            started.append(Start(job, job.request.total_milli))
            return True

        self._backlog.serve(start)
        return Decision([], started)

    def prices(self) -> list[tuple[int, int]]:
        """None."""
        return []
