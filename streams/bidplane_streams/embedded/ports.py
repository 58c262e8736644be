"""Ports of this machine: free loopback ports below 32768, remembered in a directory.

Decides which port each server listens on, the same one after a restart where it is still free.
Refuses to know the servers. Ports above 32767 belong to clients (the kernel hands them out), so a
server that restarts there may find its own port taken by one of its clients.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
import socket

LOWEST = 10000
HIGHEST = 32767


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


def find_free(but_not: frozenset[int] = frozenset()) -> int:
    """A free port, drawn at random so that systems that start at once do not meet."""
    draw = random.SystemRandom()
    while True:
        port = draw.randint(LOWEST, HIGHEST)
        if port not in but_not and is_free(port):
            return port


def remembered(file: pathlib.Path, *names: str) -> dict[str, int]:
    """A port for each name: the one that ``file`` remembers if it is free, else a new one."""
    known: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads(file.read_text())
    chosen: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        taken = port is None or port in chosen.values() or not is_free(port)
        chosen[name] = find_free(frozenset(known.values())) if taken or port is None else port
        known[name] = chosen[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1))
    return chosen
