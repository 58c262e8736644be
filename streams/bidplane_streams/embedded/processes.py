"""Child processes that end with their parent: start, watch, restart, stop.

Decides how a child is tied to us, where its log goes, and how long it may take to end. Refuses to
know what the child serves. Every child leads its own process group, so Ctrl-C at a terminal reaches
only the parent, which then stops them in order; a parent that is killed takes them along by
``leash.py``. Start children from the thread that lives as long as the program (the event loop's):
the kernel's parent is a thread, and its end would end the child.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os
import pathlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from bidplane_streams.embedded import errors

LEASH = pathlib.Path(__file__).with_name("leash.py")
BACKOFF_FIRST_S = 0.2
BACKOFF_LAST_S = 5.0
STEADY_S = 10.0
"""A child that lived this long is healthy: its next end is answered at once again."""
STOP_GRACE_S = 5.0
POLL_S = 0.05


def last_line(log: pathlib.Path) -> str:
    """The last non-empty line of a log, for an error of one line."""
    if not log.exists():
        return "(no log)"
    with log.open(errors="replace") as lines:
        tail = collections.deque((line.strip() for line in lines if line.strip()), maxlen=1)
    return tail[0][-300:] if tail else "(empty log)"


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What to run: a name for people, the argument vector, added environment, where it logs."""

    name: str
    argv: Sequence[str]
    logs: pathlib.Path
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cwd: pathlib.Path | None = None
    stop_grace_s: float = STOP_GRACE_S

    @property
    def log(self) -> pathlib.Path:
        """The file with the child's output."""
        return self.logs / f"{self.name}.log"


class Child:
    """One supervised child; restarted with back-off after an end that nobody asked for."""

    def __init__(self, recipe: Recipe, *, restart: bool = False) -> None:
        self.recipe = recipe
        self.restart = restart
        self.starts = 0
        self.exit_codes: list[int] = []
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._spawning = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        """Start the child unless it runs; the keeper task watches it from here on."""
        if self.pid is not None or (self._keeper is not None and not self._keeper.done()):
            return
        self._stopping = False
        self.exit_codes.clear()
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.recipe.name}")

    async def _spawn(self) -> None:
        recipe = self.recipe
        recipe.logs.mkdir(parents=True, exist_ok=True)
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        with recipe.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                *recipe.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=recipe.cwd,
                env={**os.environ, **recipe.env},
                start_new_session=True,
            )
        self.starts += 1

    async def _keep(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while self._process is not None:
            begun = time.monotonic()
            self.exit_codes.append(await self._process.wait())
            self._kill_group()
            if self._stopping or not self.restart:
                return
            if time.monotonic() - begun > STEADY_S:
                backoff_s = BACKOFF_FIRST_S
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_LAST_S)
            async with self._spawning:  # or a stop in the middle of it would lose the new child
                await self._spawn()

    def _kill_group(self) -> None:
        """End what the child left behind in its group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole group; nothing happens when it does not run."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def kill9(self) -> None:
        """Kill the child at once, as a crash would, and wait until it is gone.

        With ``restart`` its keeper starts it again; without, ``start`` does.
        """
        process = self._process
        self.signal(signal.SIGKILL)
        if process is not None:
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()
        if not self.restart and self._keeper is not None:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._keeper

    async def stop(self) -> None:
        """End the child: SIGTERM, a grace, SIGKILL. Safe to call at any time, more than once."""
        self._stopping = True
        await self._dismiss_keeper()
        self.signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.recipe.stop_grace_s):
                    await self._process.wait()
            self._kill_group()
            async with asyncio.timeout(STOP_GRACE_S):
                await self._process.wait()
        self._process = None

    async def _dismiss_keeper(self) -> None:
        if self._keeper is None:
            return
        async with self._spawning:
            self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
        self._keeper = None

    async def ended(self, timeout_s: float) -> int:
        """Wait for an end and give its exit code.

        Raises:
            TimeoutError: it still runs after ``timeout_s`` seconds.
        """
        assert self._keeper is not None, "it was never started"
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(self._keeper)
        return self.exit_codes[-1]

    async def ready(self, probe: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Wait until ``probe`` says yes.

        Raises:
            ServerFailed: the child ended first, or did not get ready in ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not await probe():
            if self.exit_codes:
                said = f"ended with code {self.exit_codes[-1]} before it was ready"
            elif time.monotonic() > deadline:
                said = f"was not ready within {timeout_s:.0f} s"
            else:
                await asyncio.sleep(POLL_S)
                continue
            log = self.recipe.log
            raise errors.ServerFailed(f"{self.recipe.name} {said}: {last_line(log)} ({log})")


async def stop_all(children: Sequence[Child]) -> None:
    """Stop children at the same time, all of them even if one resists; each keeps its grace."""
    ends = await asyncio.gather(*(child.stop() for child in children), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
