"""Simulated time: a queue of events in integer milliseconds, and what became of every job.

Decides when a policy is asked and keeps the only account of what ran. Refuses to place or to rank:
that is the policies' trade. A job that is stopped has lost its work and waits again.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from bidplane_loadtest.simulator.work import Job, Scenario

End = Literal["finished", "stopped", "cut"]
Kind = Literal["leave", "arrive", "ask"]
_ORDER: dict[Kind, int] = {"leave": 0, "arrive": 1, "ask": 2}


class Start(NamedTuple):
    """A job starts and holds that many thousandths of a GPU, which may exceed what it uses."""

    job: Job
    held_milli: int


class Decision(NamedTuple):
    """What a policy wants, in this order: jobs that stop, jobs that start; when to ask again."""

    stopped: list[Job]
    started: list[Start]
    again_ms: int | None = None


class Policy(Protocol):
    """A scheduler. It is told what happens, and asked when it wants to be."""

    def arrive(self, job: Job, now_ms: int) -> None:
        """A job wants to run."""

    def leave(self, job: Job, now_ms: int) -> None:
        """A job that ran has finished."""

    def due_ms(self, now_ms: int) -> int | None:
        """Asked after everything that happens: when to decide on it, now or later."""

    def decide(self, now_ms: int) -> Decision:
        """Stop and start jobs."""

    def prices(self) -> list[tuple[int, int]]:
        """(milliseconds, micro-credits per GPU-hour) of every clearing that sold something."""


class Run(NamedTuple):
    """One attempt of a job; ``cut`` by the horizon."""

    job: Job
    started_ms: int
    ended_ms: int
    held_milli: int
    end: End


class Frame(NamedTuple):
    """From this moment on: thousandths held, used by jobs, and free while a job waits for less."""

    at_ms: int
    held: int
    used: int
    stranded: int


class History(NamedTuple):
    """What happened. ``waiting`` were not running at the horizon; ``decided_ms`` is CPU time."""

    scene: Scenario
    runs: list[Run]
    waiting: list[Job]
    frames: list[Frame]
    decided_ms: list[float]
    prices: list[tuple[int, int]]


class _Running(NamedTuple):
    job: Job
    started_ms: int
    held_milli: int

    @property
    def ends_ms(self) -> int:
        """When it will have finished, unless it is stopped."""
        return self.started_ms + self.job.duration_ms


class Engine:
    """One run of one policy over one scenario."""

    def __init__(self, scene: Scenario, policy: Policy) -> None:
        """Nothing has happened yet."""
        self._scene, self._policy = scene, policy
        self._events: list[tuple[int, int, int, Kind, Job | None]] = []
        self._serial = 0
        self._asked: set[int] = set()
        self._running: dict[int, _Running] = {}
        self._waiting: dict[int, Job] = {}
        self._sizes: Counter[int] = Counter()
        self._held = self._used = 0
        self._runs: list[Run] = []
        self._frames: list[Frame] = []
        self._decided_ms: list[float] = []

    def run(self, tell: Callable[[int], None] = lambda _: None) -> History:
        """Everything up to the horizon; ``tell`` hears the simulated time now and then."""
        for job in self._scene.jobs:
            self._push(job.arrival_ms, "arrive", job)
        while self._events and self._events[0][0] < self._scene.horizon_ms:
            now_ms = self._events[0][0]
            self._happen(now_ms)
            self._ask(now_ms)
            tell(now_ms)
        for one in self._running.values():
            self._close(one, self._scene.horizon_ms, "cut")
        waiting = [self._waiting[number] for number in sorted(self._waiting)]
        return History(
            self._scene, self._runs, waiting, self._frames, self._decided_ms,
            self._policy.prices(),
        )  # fmt: skip

    def _push(self, at_ms: int, kind: Kind, job: Job | None) -> None:
        self._serial += 1
        heapq.heappush(self._events, (at_ms, _ORDER[kind], self._serial, kind, job))

    def _happen(self, now_ms: int) -> None:
        """Tell the policy everything of this moment: ends first, so that arrivals find room."""
        while self._events and self._events[0][0] == now_ms:
            _, _, _, kind, job = heapq.heappop(self._events)
            if job is None:
                continue
            if kind == "arrive":
                self._wait(job)
                self._policy.arrive(job, now_ms)
            elif (one := self._running.get(job.number)) and one.ends_ms == now_ms:
                self._close(self._remove(job), now_ms, "finished")
                self._policy.leave(job, now_ms)

    def _ask(self, now_ms: int) -> None:
        """Ask the policy if it is due, and note when it wants to be asked next."""
        due_ms = self._policy.due_ms(now_ms)
        if due_ms is not None and due_ms <= now_ms:
            began_s = time.process_time()
            decision = self._policy.decide(now_ms)
            self._decided_ms.append((time.process_time() - began_s) * 1000)
            for job in decision.stopped:
                self._stop(job, now_ms)
            for start in decision.started:
                self._start(start, now_ms)
            due_ms = decision.again_ms
        if due_ms is not None and due_ms > now_ms and due_ms not in self._asked:
            self._asked.add(due_ms)
            self._push(due_ms, "ask", None)
        free = self._scene.capacity_milli - self._held
        stranded = free if any(size <= free for size in self._sizes) else 0
        self._frames.append(Frame(now_ms, self._held, self._used, stranded))

    def _wait(self, job: Job) -> None:
        self._waiting[job.number] = job
        self._sizes[job.request.total_milli] += 1

    def _start(self, start: Start, now_ms: int) -> None:
        job = self._waiting.pop(start.job.number)
        size = job.request.total_milli
        self._sizes[size] -= 1
        if not self._sizes[size]:
            del self._sizes[size]
        assert start.held_milli >= size, "a job holds at least what it uses"
        self._held += start.held_milli
        self._used += size
        assert self._held <= self._scene.capacity_milli, "more is held than there is"
        self._running[job.number] = _Running(job, now_ms, start.held_milli)
        self._push(now_ms + job.duration_ms, "leave", job)

    def _stop(self, job: Job, now_ms: int) -> None:
        self._close(self._remove(job), now_ms, "stopped")
        self._wait(job)

    def _remove(self, job: Job) -> _Running:
        one = self._running.pop(job.number)
        self._held -= one.held_milli
        self._used -= job.request.total_milli
        return one

    def _close(self, one: _Running, now_ms: int, end: End) -> None:
        self._runs.append(Run(one.job, one.started_ms, now_ms, one.held_milli, end))
