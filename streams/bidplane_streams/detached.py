"""A system that outlives the command which starts it: `bidplane up --detach`.

Decides what the waiting person reads, which is what the started process writes to its log, and when
waiting is in vain. Refuses to know what the process does.
"""

from __future__ import annotations

import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bidplane_agents import errors
from bidplane_streams.embedded import directory

# Without a new line for so long, it hangs. A first start may build for longer than this in all.
SILENT_TIMEOUT_S: Final = 300.0
POLL_S: Final = 0.2
HELD_BACK_S: Final = 2.0
PREFIX: Final = "bidplane: "


class Lines:
    """The lines that a growing file gets from now on."""

    def __init__(self, path: pathlib.Path) -> None:
        """What the file holds already, of an earlier run, is passed over."""
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def new(self) -> list[str]:
        """Whole lines since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(end)
        return whole.decode(errors="replace").splitlines()


def start(
    argv: Sequence[str], home: directory.Directory, say: Callable[[str], None]
) -> dict[str, Any]:
    """Start ``argv`` in a session of its own; its state, once it is ready.

    ``say`` is told every line that it writes meanwhile.

    Raises:
        BadInput, Unreachable: it ended, and why; or it hangs.
    """
    log = home.path / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = Lines(log)
    with log.open("ab") as out:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        return _until_ready(child, home, lines, say, log)
    except KeyboardInterrupt:
        say(f"{PREFIX}it goes on starting: `bidplane down --dir {home.path}` stops it")
        raise


def _until_ready(
    child: subprocess.Popen[bytes], home: directory.Directory, lines: Lines,
    say: Callable[[str], None], log: pathlib.Path,
) -> dict[str, Any]:  # fmt: skip
    held, heard_s = "", time.monotonic()
    while not (state := home.state() or {}).get("ready"):
        code = child.poll()  # before reading: its last line must not be missed
        for line in lines.new():
            if held:
                say(held)
            # Its progress and its error look alike: only the end tells which the last one was.
            held, heard_s = (line if line.startswith(PREFIX) else ""), time.monotonic()
            if not held:
                say(line)
        if held and code is None and time.monotonic() - heard_s > HELD_BACK_S:
            say(held)
            held = ""
        if code is not None:
            why = held.removeprefix(PREFIX) or "it ended while starting"
            raise (errors.BadInput if code == 2 else errors.Unreachable)(f"{why} (its log: {log})")
        if time.monotonic() - heard_s > SILENT_TIMEOUT_S:
            child.terminate()
            raise errors.Unreachable(
                f"not ready, and nothing new for {SILENT_TIMEOUT_S:.0f} s: see {log}"
            )
        time.sleep(POLL_S)
    child.returncode = 0  # it outlives us by intent: Popen need not warn of that
    return state
