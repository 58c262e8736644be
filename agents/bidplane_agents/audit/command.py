"""``bidplane audit``: read the log, check every promise, say which is broken first.

Decides what goes to which stream and the exit code. Refuses to judge.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from bidplane_agents import connection
from bidplane_agents.audit import log as logs
from bidplane_agents.audit import reading, verdict
from bidplane_agents.errors import BadInput, BidplaneError

SAY_EVERY_S: Final = 3.0


def run(kafka: str, as_json: bool, save: str | None = None, load: str | None = None) -> int:
    """Audit the log of ``kafka`` (host:port), or the file ``load``; keep a copy in ``save``.

    Returns the exit code: 0 all promises kept, 2 a file or a topic cannot be used, 4 Kafka cannot
    be reached, 5 a promise is broken.
    """
    say = Progress().say
    try:
        log = _log(kafka, load, say)
        if save is not None:
            _save(log, save)
        findings = verdict.audit(log, say)
    except BidplaneError as error:
        sys.stderr.write(f"bidplane: {error}\n")
        return error.exit_code
    if as_json:
        text = orjson.dumps(verdict.as_data(findings, log), option=orjson.OPT_INDENT_2).decode()
    else:
        text = "\n".join(verdict.as_lines(findings, log))
    sys.stdout.write(text + "\n")
    return verdict.exit_code(findings)


def _log(kafka: str, load: str | None, say: Callable[[str], None]) -> logs.Log:
    if load is not None:
        return logs.load(Path(load))
    return asyncio.run(reading.read_log(connection.from_environment(kafka), say))


def _save(log: logs.Log, path: str) -> None:
    try:
        logs.save(log, Path(path))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file that can be written") from error


class Progress:
    """What is being done, on stderr: the first word at once, then the newest every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, who: str = "audit") -> None:
        """``clock`` gives seconds; ``who`` speaks."""
        self._who, self._clock = who, clock
        self._said_s = clock() - SAY_EVERY_S

    def say(self, text: str) -> None:
        """Say it, unless something was said a moment ago."""
        if self._clock() - self._said_s >= SAY_EVERY_S:
            self._said_s = self._clock()
            sys.stderr.write(f"{self._who}: {text}\n")
