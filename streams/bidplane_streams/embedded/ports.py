"""Ports of this machine: free loopback ports below 32768, remembered in a directory.

Decides which port each server listens on, the same one after a restart where it is still free.
Refuses to know the servers. Ports above 32767 belong to clients (the kernel hands them out), so a
server that restarts there may find its own port taken by one of its clients.

A server listens seconds after its port was drawn, and until then the port looks free: so one
process gives no port twice within minutes. Two processes may: the draw is by chance among 22,768.
"""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import random
import socket
import time
from typing import Final

from bidplane_streams.embedded import errors

LOWEST = 10000
HIGHEST = 32767
DRAWS: Final = 10_000
# Longer than any server takes until it listens.
GIVEN_S: Final = 300.0
# The ports that this process gave away: the file that remembers each ("" for none), and until when.
_given: Final[dict[int, tuple[str, float]]] = {}


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def find_free(but_not: frozenset[int] = frozenset(), owner: str = "") -> int:
    """A free port that nobody else was given; ``owner`` is the file that will remember it.

    Drawn at random, so that systems that start at once do not meet.

    Raises:
        ServerFailed: there is none.
    """
    draw = random.SystemRandom()
    for _ in range(DRAWS):
        port = draw.randint(LOWEST, HIGHEST)
        if port not in but_not and _taken(port, owner):
            return port
    raise errors.ServerFailed(f"no port between {LOWEST} and {HIGHEST} is free: stop some servers")


def remembered(file: pathlib.Path, *names: str) -> dict[str, int]:
    """A port for each name: the one that ``file`` remembers if it is free, else a new one.

    Raises:
        ServerFailed: there is none.
    """
    known: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads(file.read_text())
    owner = str(file.absolute())
    chosen: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if port is None or port in chosen.values() or not _taken(port, owner):
            port = find_free(frozenset(known.values()), owner)
        chosen[name] = known[name] = port
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1))
    return chosen


def _taken(port: int, owner: str) -> bool:
    """Give a port to ``owner``; False where somebody else has it, or was given it just now."""
    whose, until_s = _given.get(port, ("", -math.inf))
    is_theirs = not owner or whose != owner
    if (is_theirs and time.monotonic() < until_s) or not is_free(port):
        return False
    _given[port] = owner, time.monotonic() + GIVEN_S
    return True
