"""What an agent has been told since its client started, filed by what it is about.

Decides which outcomes are the agent's own, drops repeats (the router may repeat; ids are content),
and wakes whoever waits. Refuses to judge outcomes.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Final

from bidplane_agents import log
from bidplane_agents.connection import Connection
from bidplane_agents.errors import Unreachable
from bidplane_topics import codec, registry
from bidplane_topics import errors as contract
from bidplane_topics.outcomes import OutcomeReported

THREADS_MAX: Final = 20_000
REPEATS_REMEMBERED: Final = 20_000

_logger: Final = logging.getLogger(__name__)


def declined(name: str) -> str:
    """The thread of refused commands that named this bid or lease."""
    return f"declined|{name}"


class Thread:
    """All outcomes about one bid, command or record, and a bell for those who wait."""

    def __init__(self) -> None:
        self.outcomes: list[OutcomeReported] = []
        self.bell = asyncio.Event()

    def add(self, outcome: OutcomeReported) -> None:
        """File it and wake everyone who waits now."""
        self.outcomes.append(outcome)
        self.bell.set()
        self.bell = asyncio.Event()


class Repeats:
    """Remembers the last ids, to drop a record that the router wrote twice."""

    def __init__(self, seen: Iterable[str] = ()) -> None:
        self._seen: collections.OrderedDict[str, None] = collections.OrderedDict()
        for outcome_id in seen:
            self.is_new(outcome_id)

    def is_new(self, outcome_id: str) -> bool:
        """Whether it was not seen lately; it is from now on."""
        if outcome_id in self._seen:
            return False
        self._seen[outcome_id] = None
        if len(self._seen) > REPEATS_REMEMBERED:
            self._seen.popitem(last=False)
        return True


class Inbox:
    """Reads allocations.<tenant> from the moment it was started."""

    def __init__(self, connection: Connection, tenant: str, agent: str) -> None:
        self._connection, self._tenant, self._agent = connection, tenant, agent
        self._threads: collections.OrderedDict[str, Thread] = collections.OrderedDict()
        self._queues: set[asyncio.Queue[OutcomeReported]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fix the position first, so that no answer to a later bid can be missed.

        Raises:
            Unreachable: Kafka does not answer.
        """
        tail = log.Tail(self._connection, registry.allocations(self._tenant).name)
        await tail.from_now()
        self._task = asyncio.create_task(self._run(tail), name=f"inbox {self._tenant}")

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Unreachable):
                await self._task
            self._task = None

    async def _run(self, tail: log.Tail) -> None:
        async for outcome in own_outcomes(tail, self._agent):
            self.file(outcome)

    def file(self, outcome: OutcomeReported) -> None:
        """Put an outcome where those who wait for it look."""
        for about in self._about(outcome):
            self.thread(about).add(outcome)
        for queue in self._queues:
            queue.put_nowait(outcome)

    def _about(self, outcome: OutcomeReported) -> tuple[str, ...]:
        if outcome.kind in ("declined", "replayed"):
            # About a command or a record, not about the bid or lease that the command named: a
            # declined cancel must not look like the end of its bid.
            named = outcome.lease_id or outcome.bid_id
            return (outcome.outcome_id.partition("|")[2], declined(named))
        if outcome.kind == "offered":  # answers the command that made the offer, and tells its id
            return (outcome.outcome_id.partition("|")[2], outcome.lease_id)
        return tuple(name for name in (outcome.bid_id, outcome.lease_id) if name)

    def thread(self, about: str) -> Thread:
        """The thread about a bid, command or record; the oldest are forgotten."""
        found = self._threads.get(about)
        if found is None:
            found = self._threads[about] = Thread()
            if len(self._threads) > THREADS_MAX:
                self._threads.popitem(last=False)
        self._threads.move_to_end(about)
        return found

    async def about(self, *names: str) -> AsyncIterator[OutcomeReported]:
        """What was and will be told about ``names``, for ever.

        Raises:
            Unreachable: reading stopped.
        """
        threads = [self.thread(name) for name in names]
        read = [0] * len(threads)
        while True:
            bells = [thread.bell for thread in threads]
            for index, thread in enumerate(threads):
                while read[index] < len(thread.outcomes):
                    read[index] += 1
                    yield thread.outcomes[read[index] - 1]
            if all(bell is thread.bell for bell, thread in zip(bells, threads, strict=True)):
                await self._rung(bells)

    async def _rung(self, bells: list[asyncio.Event]) -> None:
        waits = [asyncio.create_task(bell.wait()) for bell in bells]
        watched: set[asyncio.Task[object]] = {*waits}
        if self._task is not None:
            watched.add(self._task)
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._task is None or self._task.done():
            self._stopped()

    def _stopped(self) -> None:
        if self._task is not None and not self._task.cancelled():
            error = self._task.exception()
            if error is not None:
                raise error
        raise Unreachable("the client stopped listening: use it inside `async with`")

    async def everything(self) -> AsyncIterator[OutcomeReported]:
        """Every own outcome from now on.

        Raises:
            Unreachable: reading stopped.
        """
        queue: asyncio.Queue[OutcomeReported] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)


async def own_outcomes(
    tail: log.Tail, agent: str, repeats: Repeats | None = None
) -> AsyncIterator[OutcomeReported]:
    """Outcomes of ``agent``, each once; a record that a newer version wrote is passed over."""
    repeats = repeats or Repeats()
    async for record in tail.records():
        try:
            outcome = codec.decode(registry.OUTCOMES, record.value)
        except contract.MalformedRecord as error:
            _logger.warning("%s at offset %d is unreadable: %s", record.topic, record.offset, error)
            continue
        if outcome.agent == agent and repeats.is_new(outcome.outcome_id):
            yield outcome
