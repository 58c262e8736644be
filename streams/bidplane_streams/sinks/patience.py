"""Asking until somebody answers: decides how often, and how often a failure is said."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bidplane_streams.sinks import errors

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_S: Final = 0.3
MOST_S: Final = 5.0
SAY_EVERY_S: Final = 30.0


class Voice:
    """Says that a server does not answer, again every 30 s, and once that it answers again.

    Many mirrors and tables lose the same server at the same moment: one line is enough for all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody is silent yet; ``clock`` gives seconds."""
        self._clock = clock
        self._said_s: dict[str, float] = {}

    def failed(self, where: str, error: BaseException) -> None:
        """``where`` did not answer."""
        now_s = self._clock()
        if now_s - self._said_s.get(where, now_s - SAY_EVERY_S) >= SAY_EVERY_S:
            self._said_s[where] = now_s
            words = str(error) or type(error).__name__
            log.warning(
                "%s does not answer, trying again: %s",
                where,
                words.removeprefix(where).lstrip(": "),
            )

    def answered(self, where: str) -> None:
        """``where`` answered."""
        if self._said_s.pop(where, None) is not None:
            log.warning("%s answers again", where)


VOICE: Final = Voice()


async def until_answered(who: str, call: Callable[[], Awaitable[T]]) -> T:
    """Call until it raises nothing retriable; one line of log when ``who`` begins to fail.

    Raises:
        Permanent: trying again would not help.
    """
    delay = FIRST_S
    while True:
        try:
            found = await call()
        except errors.Retriable as error:
            VOICE.failed(who, error)
        else:
            VOICE.answered(who)
            return found
        await asyncio.sleep(delay)
        delay = min(MOST_S, delay * 2)
