"""``bidplane audit``: read the log, check every promise, say which is broken first.

Decides what goes to which stream and the exit code. Refuses to judge.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson

from bidplane_agents.audit import log as logs
from bidplane_agents.audit import reading, verdict
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput, BidplaneError


def run(kafka: str, as_json: bool, save: str | None = None, load: str | None = None) -> int:
    """Audit the log of ``kafka`` (host:port), or the file ``load``; keep a copy in ``save``.

    Returns the exit code: 0 all promises kept, 2 a file cannot be used, 4 Kafka cannot be reached,
    5 a promise is broken.
    """
    try:
        log = _log(kafka, load)
        if save is not None:
            _save(log, save)
    except BidplaneError as error:
        _say(str(error))
        return error.exit_code
    findings = verdict.audit(log, _say)
    if as_json:
        text = orjson.dumps(verdict.as_data(findings, log), option=orjson.OPT_INDENT_2).decode()
    else:
        text = "\n".join(verdict.as_lines(findings, log))
    sys.stdout.write(text + "\n")
    return verdict.exit_code(findings)


def _log(kafka: str, load: str | None) -> logs.Log:
    if load is not None:
        return logs.load(Path(load))
    return asyncio.run(reading.read_log(Connection(kafka), _say))


def _save(log: logs.Log, path: str) -> None:
    try:
        logs.save(log, Path(path))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file that can be written") from error


def _say(text: str) -> None:
    sys.stderr.write(f"audit: {text}\n")
