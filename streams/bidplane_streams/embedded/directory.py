"""The directory of a running system: who holds it, what runs there, how to end it.

Decides the lock (held by the kernel for exactly as long as its holder lives) and the form of
state.json, which every command reads addresses from. Refuses to start anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil

from bidplane_streams.embedded import certs, errors

STOP_TIMEOUT_S = 45.0
POLL_S = 0.1
MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """Where a system keeps its files: ``lock``, ``state.json``, ``logs/``, its servers' data."""

    path: pathlib.Path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory.

        Raises:
            AlreadyRunning: another process holds it; the error says which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise errors.AlreadyRunning(
                    f"a system already runs in {self.path} (process {_first_line(lock)}): "
                    f"stop it with `bidplane down --dir {self.path}` or name another --dir"
                ) from None
            lock.seek(0)
            lock.truncate()
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                yield
            finally:
                (self.path / "state.json").unlink(missing_ok=True)
                lock.truncate(0)

    def holder(self) -> int | None:
        """The process that holds the directory; None when nobody does."""
        try:
            with (self.path / "lock").open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    told = _first_line(lock)
                    return int(told) if told.isdigit() else None
        except FileNotFoundError:
            pass
        return None

    def write_state(self, state: dict[str, Any]) -> None:
        """Write state.json, all of it or nothing."""
        text = json.dumps(state, indent=1) + "\n"
        certs.write_secret(self.path / "state.json", text.encode())

    def state(self) -> dict[str, Any] | None:
        """What state.json says while somebody holds the directory; None otherwise."""
        if self.holder() is None:
            return None
        try:
            read: dict[str, Any] = json.loads((self.path / "state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return read

    def status(self) -> dict[str, Any] | None:
        """``state`` with each process' memory (``rss_mib``) and whether it lives (``up``)."""
        state = self.state()
        if state is None:
            return None
        for process in state.get("processes", {}).values():
            process.update(_life(process.get("pid")))
        state["supervisor"] = {"pid": state.get("pid"), **_life(state.get("pid"))}
        return state

    def down(self) -> bool:
        """Stop the system that holds the directory and wait for its end; False if none did."""
        holder = self.holder()
        if holder is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.holder() == holder:
            if time.monotonic() > deadline:  # its children go with it: they are leashed
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder, signal.SIGKILL)
            time.sleep(POLL_S)
        return True


def _first_line(lock: Any) -> str:
    lock.seek(0)
    return str(lock.readline()).strip() or "unknown"


def _life(pid: int | None) -> dict[str, Any]:
    try:
        if pid is None:
            return {"up": False, "rss_mib": 0}
        return {"up": True, "rss_mib": psutil.Process(pid).memory_info().rss // MIB}
    except psutil.Error:
        return {"up": False, "rss_mib": 0}
