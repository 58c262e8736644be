"""FIFO with EASY backfill: later jobs go ahead if the first one does not start later for it.

Decides by exact durations, which a real backfill scheduler has to be told: an advantage of this
baseline. The first job that waits reserves a node for the moment when it will fit; a job that
overtakes it ends before that moment, or takes nothing that the reservation needs.
"""

from __future__ import annotations

from typing import NamedTuple

from bidplane_loadtest.simulator.cluster import WHOLE, Cluster, Place, Request, tightest
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.placing import BestFit, Chooser
from bidplane_loadtest.simulator.policies.fifo import whole
from bidplane_loadtest.simulator.work import Job


class Reservation(NamedTuple):
    """When the first job will start at the latest, and the cluster at that moment with it in."""

    number: int
    at_ms: int
    later: Cluster


class _Held(NamedTuple):
    job: Job
    place: Place
    ends_ms: int


class Easy:
    """Whole GPUs, in order of arrival, with backfill behind the first."""

    def __init__(self, cluster: Cluster) -> None:
        """``cluster`` is this policy's own."""
        self.cluster = cluster
        self._chooser = Chooser(cluster, BestFit())
        self._queue: list[Job] = []
        self._held: dict[int, _Held] = {}
        self.reservation: Reservation | None = None
        self._tried = 0
        self._freed = False

    def arrive(self, job: Job, now_ms: int) -> None:
        """It waits at the end."""
        del now_ms
        self._queue.append(job)

    def leave(self, job: Job, now_ms: int) -> None:
        """What it had is free."""
        del now_ms
        self.cluster.give_back(self._held.pop(job.number).place, whole(job.request))
        self._freed = True

    def due_ms(self, now_ms: int) -> int | None:
        """Whenever something happened."""
        return now_ms if self._queue else None

    def decide(self, now_ms: int) -> Decision:
        """Start the first until it does not fit; then backfill behind its reservation."""
        started: list[Start] = []
        while self._queue and (place := self._chooser.place(whole(self._queue[0].request))):
            started.append(self._begin(self._queue.pop(0), place, now_ms))
            self._freed = True
        if self._queue:
            head = self._queue[0]
            if self.reservation is None or self.reservation.number != head.number:
                self.reservation = self._reserve(head, now_ms)
            started += self._backfill(now_ms)
        self._tried, self._freed = len(self._queue), False
        return Decision([], started)

    def prices(self) -> list[tuple[int, int]]:
        """None."""
        return []

    def _begin(self, job: Job, place: Place, now_ms: int) -> Start:
        self.cluster.take(place, whole(job.request))
        self._held[job.number] = _Held(job, place, now_ms + job.duration_ms)
        return Start(job, job.request.gpus * WHOLE)

    def _reserve(self, head: Job, now_ms: int) -> Reservation:
        """Let running jobs end, one after another, until the first one fits."""
        later, request = self.cluster.copy(), whole(head.request)
        ending = sorted(self._held.values(), key=lambda held: (held.ends_ms, held.job.number))
        at_ms = now_ms
        for held in ending:
            later.give_back(held.place, whole(held.job.request))
            at_ms = held.ends_ms
            node = held.place.node
            if later.fits(node, request):
                break
        else:
            raise AssertionError("a job that fits an empty cluster fits once all have ended")
        later.take(Place(node, tightest(later.gpus[node], request)), request)
        return Reservation(head.number, at_ms, later)

    def _backfill(self, now_ms: int) -> list[Start]:
        """Later jobs, in order; after nothing was given back only those that are new."""
        assert self.reservation is not None
        _, at_ms, later = self.reservation
        first = 1 if self._freed else max(1, self._tried)
        started: list[Start] = []
        refused: set[tuple[Request, bool]] = set()
        gone: set[int] = set()
        for job in self._queue[first:]:
            request, outlasts = whole(job.request), now_ms + job.duration_ms > at_ms
            if (request, outlasts) in refused:
                continue
            place = self._beside(later, request) if outlasts else self._chooser.place(request)
            if place is None:
                refused.add((request, outlasts))
                continue
            if outlasts:
                later.take(place, request)
            started.append(self._begin(job, place, now_ms))
            gone.add(job.number)
        if gone:
            self._queue = [job for job in self._queue if job.number not in gone]
        return started

    def _beside(self, later: Cluster, request: Request) -> Place | None:
        """A place that is free now and will not be needed by the reservation."""
        for node, gpus in enumerate(self.cluster.gpus):
            if not (self.cluster.fits(node, request) and later.fits(node, request)):
                continue
            both = [min(now, then) for now, then in zip(gpus, later.gpus[node], strict=True)]
            chosen = tightest(both, request)
            if len(chosen) == request.gpus:
                return Place(node, chosen)
        return None
