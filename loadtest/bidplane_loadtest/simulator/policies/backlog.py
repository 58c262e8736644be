"""Jobs that wait, in an order, and a pass over them that tries no kind of job twice in vain.

Decides what is worth trying: after nothing was given back, only jobs that are new. Refuses to know
what the order means.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any

from bidplane_loadtest.simulator.cluster import Request
from bidplane_loadtest.simulator.work import Job

Key = Callable[[Job], Any]


class Backlog:
    """Waiting jobs by ``key``, then by number."""

    def __init__(self, key: Key) -> None:
        """Nobody waits."""
        self._key = key
        self._jobs: list[tuple[Any, int, Job]] = []
        self._fresh: list[tuple[Any, int, Job]] = []
        self._refused: set[Request] = set()
        self._freed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def jobs(self) -> list[Job]:
        """All of them, in order."""
        return [job for _, _, job in self._jobs]

    def add(self, job: Job) -> None:
        """A job waits."""
        entry = (self._key(job), job.number, job)
        bisect.insort(self._jobs, entry)
        bisect.insort(self._fresh, entry)

    def freed(self) -> None:
        """Something was given back: every job is worth trying again."""
        self._freed = True
        self._refused.clear()

    def serve(self, start: Callable[[Job], bool]) -> None:
        """Offer each job worth trying to ``start``, in order; those that started wait no more."""
        candidates = self._jobs if self._freed else self._fresh
        self._fresh, self._freed = [], False
        gone: set[int] = set()
        for _, number, job in candidates:
            if job.request in self._refused:
                continue
            if start(job):
                gone.add(number)
            else:
                self._refused.add(job.request)
        if gone:
            self._jobs = [entry for entry in self._jobs if entry[1] not in gone]
