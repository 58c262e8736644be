"""What a load test keeps on disk while it runs, and what is left of one that was killed.

Decides what is left over: a folder whose lock nobody holds, and a Prometheus target at which nobody
listens. The lock is the kernel's, so a number that another process has got since does not mislead.
Refuses to touch a folder without one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from typing import Final

import orjson

from bidplane_loadtest.load import exposition

PREFIX: Final = "bidplane-load-"
LOCK: Final = "loadtest.lock"
_ANSWER_S: Final = 1.0


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """A fresh folder of this process, gone at the end; it holds the agents' keys."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        made = pathlib.Path(name)
        draft = made / f"{LOCK}.draft"
        with draft.open("w") as held:
            # Held before it is called the lock: nobody finds it free in between.
            fcntl.flock(held, fcntl.LOCK_EX)
            draft.rename(made / LOCK)
            yield made


def sweep(directory: pathlib.Path | None) -> None:
    """Remove what dead load tests left among temporary files and in the system's ``directory``."""
    for lock in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        if _is_free(lock):
            shutil.rmtree(lock.parent, ignore_errors=True)
    if directory is not None:
        path = exposition.target(directory)
        if path.exists() and not _answers(path):
            path.unlink(missing_ok=True)


def _is_free(lock: pathlib.Path) -> bool:
    try:
        with lock.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(held.fileno()).st_uid == os.getuid()
    except OSError:  # held, gone, or another user's
        return False


def _answers(path: pathlib.Path) -> bool:
    try:
        (group,) = orjson.loads(path.read_bytes())
        host, _, port = group["targets"][0].rpartition(":")
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return True
