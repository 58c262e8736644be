"""The end of a process whose lane cannot go on.

Decides that nothing is repaired in place: any error of a lane ends the process, and its supervisor
starts a fresh one, which restores the committed state. Catches nothing: looks at how tasks ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any, Final

EXIT_LANE: Final = 70

log = logging.getLogger(__name__)


def watched(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run ``work`` as a task whose error ends the process; listeners of aiokafka may not raise."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        die(task.get_name(), error)


def die(where: str, error: BaseException) -> None:
    """Log one line and the traceback, then leave without a clean-up that could commit something."""
    log.critical("%s: %s: %s: exiting", where, type(error).__name__, error, exc_info=error)
    leave(EXIT_LANE)


def leave(code: int) -> None:
    """End the process here and now; the log is written."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    logging.shutdown()
    os._exit(code)
