"""The generator processes as the run sees them: started, told when to begin, listened to, ended.

Decides who speaks for whom. Refuses to know what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np

from bidplane_agents import profiles
from bidplane_agents.errors import Unreachable
from bidplane_loadtest.load import beats, crowd, schedule, swarm
from bidplane_loadtest.players import stop
from bidplane_streams.embedded.processes import LEASH

READY_TIMEOUT_S: Final = 120.0
END_TIMEOUT_S: Final = 60.0


class Generator:
    """One process."""

    def __init__(self, job: pathlib.Path, marks: pathlib.Path) -> None:
        """``marks`` is what it writes at its end."""
        self.job, self.marks = job, marks
        self.beat = beats.Beat()
        self.child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.child is not None, "it is not started"
        return self.child.pid

    async def start(self) -> None:
        """Start it on a leash: it cannot outlive this process."""
        module = [sys.executable, "-m", "bidplane_loadtest.load.swarm", str(self.job)]
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        self.child = await asyncio.create_subprocess_exec(
            *leash, *module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.child is not None
        assert self.child.stdout is not None
        while line := await self.child.stdout.readline():
            self.beat = msgspec.json.decode(line, type=beats.Beat)

    def order(self, order: swarm.Order) -> None:
        """Tell it; one that is gone hears nothing."""
        assert self.child is not None
        assert self.child.stdin is not None
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            self.child.stdin.write(msgspec.json.encode(order) + b"\n")

    async def end(self) -> None:
        """Have it write its marks and leave; kill it where it does not."""
        if self.child is None:
            return
        self.order(swarm.Order(do="finish"))
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self.child.wait()
        except TimeoutError:
            self.child.kill()
            await self.child.wait()
        if self._reading is not None:
            await stop([self._reading])

    def check(self) -> None:
        """Raise where it is gone before it should be.

        Raises:
            Unreachable: it ended; its own line above says why.
        """
        if self.child is not None and self.child.returncode is not None:
            raise Unreachable(
                f"a generator process ended with exit code {self.child.returncode}: its line is "
                "above; run again"
            )


class Generators:
    """All of them, as an async context manager; leaving it ends them."""

    def __init__(
        self, folder: pathlib.Path, load: schedule.Load, people: list[profiles.Profile], *,
        kafka: str, market: str, window_ms: int, processes: int,
    ) -> None:  # fmt: skip
        """``folder`` gets each one's job, load and marks, and a file with all keys."""
        self.begin_ms = 0
        self.begin_ns = 0
        self.all = []
        agents = len(people)
        keys = folder / crowd.FILE
        crowd.write(keys, people)
        speaker = np.array([crowd.process_of(one, processes) for one in range(agents)])
        for index in range(processes):
            mine = folder / f"load-{index}.npz"
            schedule.save(load.of(speaker[load.agent] == index), mine)
            job = swarm.Job(
                kafka=kafka, market=market, window_ms=window_ms, people=str(keys),
                tenants=crowd.tenants_of(agents, processes, index), load=str(mine),
                marks=str(folder / f"marks-{index}.npz"),
            )  # fmt: skip
            path = folder / f"job-{index}.json"
            path.write_bytes(msgspec.json.encode(job))
            self.all.append(Generator(path, pathlib.Path(job.marks)))

    async def __aenter__(self) -> Self:
        """Start all."""
        for one in self.all:
            await one.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """End all."""
        await self.end()

    async def end(self) -> None:
        """End all, and wait for their marks."""
        await asyncio.gather(*(one.end() for one in self.all))

    def beat(self) -> beats.Beat:
        """The newest word of all together."""
        return beats.total([one.beat for one in self.all])

    async def begin(self, window_ms: int) -> None:
        """Have all sign ahead, then begin together at the start of a window.

        Raises:
            Unreachable: one of them is not ready in time.
        """
        # Envelopes count from the begin, which is not known before they are signed: the guess is
        # a moment from now on, and sequences only have to grow.
        guess_ms = self._aligned(window_ms, 0)
        for one in self.all:
            one.order(swarm.Order(do="sign", begin_ms=guess_ms))
        await self._until_ready()
        self.begin_ms = self._aligned(window_ms, 0.5)
        gap_ns = self.begin_ms * 1_000_000 - time.time_ns()
        self.begin_ns = time.monotonic_ns() + gap_ns
        order = swarm.Order(do="begin", begin_ms=self.begin_ms, begin_ns=self.begin_ns)
        for one in self.all:
            one.order(order)

    def _aligned(self, window_ms: int, delay_s: float) -> int:
        """The first start of a window from ``delay_s`` from now on."""
        return -(-(time.time_ns() // 1_000_000 + int(delay_s * 1000)) // window_ms) * window_ms

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not all(one.beat.ready for one in self.all):
                    for one in self.all:
                        one.check()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise Unreachable(
                f"the generators were not ready in {READY_TIMEOUT_S:.0f} s: is Kafka well?"
            ) from error

    def now_s(self) -> float:
        """Seconds since the begin."""
        return (time.monotonic_ns() - self.begin_ns) / 1e9

    def stop_sending(self) -> None:
        """Send nothing more; what was sent may still be answered."""
        for one in self.all:
            one.order(swarm.Order(do="stop"))

    def check(self) -> None:
        """Raise where one is gone."""
        for one in self.all:
            one.check()

    def marks(self) -> Sequence[pathlib.Path]:
        """The files that they wrote."""
        return [one.marks for one in self.all if one.marks.exists()]
