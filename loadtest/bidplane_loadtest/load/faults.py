"""Faults under load: a process of the system is killed or frozen at its time.

Decides nothing but the moment of the signal, and notes it. Only processes that state.json of an own
system names are touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from bidplane_loadtest.load.result import Struck
from bidplane_loadtest.load.scenarios import Fault


class Faults:
    """Strikes in order; ``struck`` is what was done so far."""

    def __init__(
        self, planned: Sequence[Fault], pids: Callable[[], Mapping[str, int]],
        now_s: Callable[[], float], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        """``pids`` gives process ids by name as they are now, ``now_s`` seconds since the begin."""
        self.struck: list[Struck] = []
        self._planned, self._pids, self._now_s, self._say = planned, pids, now_s, say

    async def run(self) -> None:
        """Strike at each time; a process that is gone already is not struck."""
        for fault in self._planned:
            await asyncio.sleep(max(0.0, fault.at_s - self._now_s()))
            pid = self._pids().get(fault.process)
            if pid is not None:
                await self._strike(fault, pid)

    async def _strike(self, fault: Fault, pid: int) -> None:
        begun_s = self._now_s()
        self._say(f"{fault.name} (process {pid})")
        with contextlib.suppress(ProcessLookupError):
            if fault.kind == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                await _freeze(pid, fault.seconds)
        self.struck.append(
            Struck(name=fault.name, at_s=round(begun_s, 2), ended_s=round(self._now_s(), 2))
        )


async def _freeze(pid: int, seconds: float) -> None:
    """Stop it for a while; it goes on whatever happens here."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
