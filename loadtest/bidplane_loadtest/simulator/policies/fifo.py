"""A queue with whole GPUs: what a cluster without sharing and without a clever queue does.

Decides that nobody overtakes: while the first job fits nowhere, all wait. The queue's order is the
policy's: by arrival, or by value per GPU time.
"""

from __future__ import annotations

import bisect
from typing import Any

from bidplane_loadtest.simulator.cluster import WHOLE, Cluster, Place, Request
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.placing import BestFit, Chooser
from bidplane_loadtest.simulator.policies.backlog import Key
from bidplane_loadtest.simulator.work import Job


def whole(request: Request) -> Request:
    """The request with every GPU taken whole."""
    return request._replace(milli=WHOLE)


class Fifo:
    """Strictly in order of ``key``, on the node with the least left."""

    def __init__(self, cluster: Cluster, key: Key) -> None:
        """``cluster`` is this policy's own."""
        self.cluster = cluster
        self._chooser = Chooser(cluster, BestFit())
        self._key = key
        self._queue: list[tuple[Any, int, Job]] = []
        self._places: dict[int, Place] = {}

    def arrive(self, job: Job, now_ms: int) -> None:
        """It waits in its place."""
        del now_ms
        bisect.insort(self._queue, (self._key(job), job.number, job))

    def leave(self, job: Job, now_ms: int) -> None:
        """What it had is free."""
        del now_ms
        self.cluster.give_back(self._places.pop(job.number), whole(job.request))

    def due_ms(self, now_ms: int) -> int | None:
        """Whenever something happened."""
        return now_ms if self._queue else None

    def decide(self, now_ms: int) -> Decision:
        """Start the first until it does not fit."""
        del now_ms
        started = []
        while self._queue:
            _, _, job = self._queue[0]
            place = self._chooser.place(whole(job.request))
            if place is None:
                break
            self.cluster.take(place, whole(job.request))
            self._places[job.number] = place
            del self._queue[0]
            started.append(Start(job, job.request.gpus * WHOLE))
        return Decision([], started)

    def prices(self) -> list[tuple[int, int]]:
        """None."""
        return []
