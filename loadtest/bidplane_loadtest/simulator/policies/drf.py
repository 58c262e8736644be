"""Dominant resource fairness (Ghodsi et al., NSDI 2011) between tenants, over CPU, memory and GPUs.

Decides whose turn it is: the tenant whose largest share of any resource is the smallest. Within a
tenant jobs come in order of arrival; what fits nowhere is passed over.
"""

from __future__ import annotations

from bidplane_loadtest.simulator.cluster import Cluster, Place, Request
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.placing import BestFit, Chooser
from bidplane_loadtest.simulator.work import Job

_PRECISION = 1_000_000_000


class DominantShare:
    """Tenants take turns by dominant share."""

    def __init__(self, cluster: Cluster) -> None:
        """``cluster`` is this policy's own."""
        self.cluster = cluster
        self._chooser = Chooser(cluster, BestFit())
        self._whole = (sum(cluster.cpu), sum(cluster.memory), cluster.capacity_milli)
        self._used: dict[str, list[int]] = {}
        self._queues: dict[str, list[Job]] = {}
        self._places: dict[int, Place] = {}
        self._refused: set[Request] = set()

    def arrive(self, job: Job, now_ms: int) -> None:
        """It waits behind its tenant's others."""
        del now_ms
        self._used.setdefault(job.tenant, [0, 0, 0])
        self._queues.setdefault(job.tenant, []).append(job)

    def leave(self, job: Job, now_ms: int) -> None:
        """What it had is free, and its tenant has less."""
        del now_ms
        self.cluster.give_back(self._places.pop(job.number), job.request)
        self._count(job, -1)
        self._refused.clear()

    def due_ms(self, now_ms: int) -> int | None:
        """Whenever something happened."""
        return now_ms if any(self._queues.values()) else None

    def share(self, tenant: str) -> int:
        """The tenant's dominant share, in billionths."""
        used = self._used.get(tenant, [0, 0, 0])
        return max(
            have * _PRECISION // whole for have, whole in zip(used, self._whole, strict=True)
        )

    def decide(self, now_ms: int) -> Decision:
        """Serve the tenant with the smallest share that something fits for, again and again."""
        del now_ms
        started: list[Start] = []
        while (job := self._next()) is not None:
            place = self._chooser.place(job.request)
            if place is None:
                self._refused.add(job.request)
                continue
            self.cluster.take(place, job.request)
            self._places[job.number] = place
            self._queues[job.tenant].remove(job)
            self._count(job, 1)
            started.append(Start(job, job.request.total_milli))
        return Decision([], started)

    def prices(self) -> list[tuple[int, int]]:
        """None."""
        return []

    def _next(self) -> Job | None:
        for tenant in sorted(self._queues, key=lambda name: (self.share(name), name)):
            for job in self._queues[tenant]:
                if job.request not in self._refused:
                    return job
        return None

    def _count(self, job: Job, sign: int) -> None:
        request = job.request
        taken = (request.cpu_milli, request.memory_mib, request.total_milli)
        self._used[job.tenant] = [
            have + sign * more for have, more in zip(self._used[job.tenant], taken, strict=True)
        ]
