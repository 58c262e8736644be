"""How an artefact gets into the cache: built beside its place, then renamed into it.

Decides that a half-built artefact is never seen, and that two builders of one artefact wait for
each other. Refuses to know what is built. A build that was interrupted at any point leaves at most
a folder that the next one removes; nothing has to be repaired by hand.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from bidplane_streams.embedded import errors

PROGRESS_EVERY_S = 10.0
TAIL_LINES = 3
T = TypeVar("T")

_running: set[int] = set()
"""The process groups of the tools that run now."""


def say(line: str) -> None:
    """A line of progress, on standard error."""
    sys.stderr.write(f"bidplane: {line}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def exclusively(lock: pathlib.Path, waiting: str) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it however the holder ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def once(place: pathlib.Path, build: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """``place``, after ``build(temporary sibling)`` and a rename if it was not there yet.

    Raises:
        BuildFailed: the build failed; nothing is left at ``place``.
    """
    if place.exists():
        return place
    lock = place.with_name(f"{place.name}.lock")
    with exclusively(lock, f"waiting for another process that builds {place.name}"):
        if place.exists():
            return place
        for leftover in place.parent.glob(f"{place.name}.building-*"):
            shutil.rmtree(leftover)
        site = place.with_name(f"{place.name}.building-{os.getpid()}")
        site.mkdir()
        try:
            build(site)
            site.rename(place)
        finally:
            shutil.rmtree(site, ignore_errors=True)
    return place


def run(what: str, argv: Sequence[str], cwd: pathlib.Path, env: Mapping[str, str]) -> None:
    """Run a build tool to its end with a line of progress every ten seconds.

    Raises:
        BuildFailed: it ended with another code than 0; its last lines are in the error.
    """
    begun = told = time.monotonic()
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    lines = 0
    with _tool(argv, cwd, env) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.strip())
            lines += 1
            if time.monotonic() - told > PROGRESS_EVERY_S:
                told = time.monotonic()
                say(f"{what}: {told - begun:.0f} s, step {lines}: {tail[-1][:60]}")
        code = process.wait()
    if code != 0:
        raise errors.BuildFailed(f"{what} failed with code {code}: {' | '.join(tail)}")
    say(f"{what}: done in {time.monotonic() - begun:.0f} s")


@contextlib.contextmanager
def _tool(
    argv: Sequence[str], cwd: pathlib.Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The tool in a process group of its own, which ends with this block however it is left."""
    leash = [sys.executable, "-I", "-S", str(pathlib.Path(__file__).with_name("leash.py"))]
    process = subprocess.Popen(
        [*leash, str(os.getpid()), *argv],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    _running.add(process.pid)
    try:
        yield process
    finally:
        _kill(process.pid)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()
        _running.discard(process.pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


async def aside(call: Callable[[], T]) -> T:
    """Do something that may build in a thread; a cancellation ends its tool, so nobody waits."""
    try:
        return await asyncio.to_thread(call)
    except asyncio.CancelledError:
        for group in list(_running):
            _kill(group)
        raise
