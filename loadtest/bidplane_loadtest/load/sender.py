"""Sends every record of a schedule at its own time, or as soon after it as it can.

Decides the order and the moment of sending, and signs ahead in its pauses. A record that is late is
sent late and noted so; none is skipped and none is early. Refuses to know what becomes of bids.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from bidplane_agents import connection, profiles, sequence, session
from bidplane_loadtest.load.marks import Book
from bidplane_loadtest.load.schedule import Load
from bidplane_topics import bids

INTENDED_HEADER: Final = "bidplane-intended-ms"
SENT_HEADER: Final = "bidplane-sent-ms"
# Signed records that wait for their time: a minute's worth at a few hundred a second.
STOCK_MAX: Final = 20_000
# A pause that is longer than a signature takes (40 µs) is used to sign one.
SIGN_PAUSE_US: Final = 200
# Late records are sent in a row; so often others get their turn.
YIELD_EVERY: Final = 16
BATCH_BYTES: Final = 128 * 1024


class Sender:
    """One producer's work. ``clock`` gives microseconds since the begin, ``epoch_us`` its date."""

    def __init__(
        self, load: Load, people: Sequence[profiles.Profile], market: str, book: Book,
    ) -> None:  # fmt: skip
        """Nothing is signed yet. ``people`` are all agents, by the numbers that the load has."""
        self.load, self.market, self.book = load, market, book
        self.rows: dict[str, int] = {}
        self.failed = 0
        self.next = 0
        self.lag_us = 0
        self._due = load.due_us.tolist()
        self._people = people
        self._voices: dict[int, session.Session] = {}
        self._stock: deque[session.SealedRecord] = deque()
        self._signed = 0
        self._begin_ms = 0
        self._acknowledged: Callable[[int, int], None] = lambda _row, _at: None
        self._pending: set[asyncio.Future[Any]] = set()

    def stock(self, begin_ms: int, limit: int = STOCK_MAX) -> int:
        """Sign up to ``limit`` records ahead; how many are signed."""
        self._begin_ms = begin_ms
        while self._signed < min(limit, len(self._due)):
            self._sign()
        return self._signed

    def begin_at(self, begin_ms: int) -> None:
        """The date of the begin, which was a guess while the stock was signed."""
        self._begin_ms = begin_ms

    def _sign(self) -> None:
        number = self._signed
        self._signed += 1
        self._stock.append(self._voice(int(self.load.agent[number])).seal(self._commands(number)))

    def _voice(self, agent: int) -> session.Session:
        """The agent's voice; its clock is the schedule, so an envelope counts from its due time."""
        if agent not in self._voices:
            self._voices[agent] = session.Session(
                self._people[agent],
                connection.Connection(""),
                sequence.Sequence(),
                lambda: self._begin_ms + self._due[self._signed - 1] // 1000,
            )
        return self._voices[agent]

    def _commands(self, number: int) -> tuple[bids.Command, ...]:
        load = self.load
        one = bids.Alternative(
            selector={"device_class": "gpu.nvidia.com"},
            shape=load.shapes[load.shape[number]],
            duration_ms=int(load.duration_ms[number]),
        )
        value = int(load.value_micros[number])
        return tuple(
            bids.Command(
                place=bids.Place(market=self.market, value_micros=value + more, alternatives=(one,))
            )
            for more in range(load.envelope)
        )

    def offered(self, now_us: int) -> int:
        """How many records are due by now."""
        return bisect.bisect_right(self._due, now_us)

    def behind_us(self, now_us: int) -> int:
        """How late the next record is; 0 when it is not due."""
        return max(0, now_us - self._due[self.next]) if self.next < len(self._due) else 0

    async def run(
        self, producer: Any, clock: Callable[[], int], acknowledged: Callable[[int, int], None]
    ) -> None:
        """Send everything. ``acknowledged`` is called with a row and its moment."""
        self._acknowledged = acknowledged
        for number, due_us in enumerate(self._due):
            while (wait_us := due_us - clock()) > 0:
                await self._pause(wait_us)
            if not self._stock:
                self._sign()
            await self._send(producer, number, self._stock.popleft(), clock)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if self._pending:
            await asyncio.wait(self._pending)

    async def _pause(self, wait_us: int) -> None:
        more = self._signed < len(self._due) and len(self._stock) < STOCK_MAX
        if more and wait_us > SIGN_PAUSE_US:
            self._sign()
            await asyncio.sleep(0)
            return
        await asyncio.sleep(wait_us / 1_000_000)

    async def _send(
        self, producer: Any, number: int, record: session.SealedRecord, clock: Callable[[], int]
    ) -> None:
        now_us = clock()
        self.lag_us = max(self.lag_us, now_us - self._due[number])
        for row, bid in zip(self.book.rows(number), record.command_ids, strict=True):
            self.rows[bid] = row
            self.book.sent[row] = now_us
        self.next = number + 1
        stamps = (
            (INTENDED_HEADER, str(self._begin_ms + self._due[number] // 1000).encode()),
            (SENT_HEADER, str(self._begin_ms + now_us // 1000).encode()),
        )
        future = await producer.send(
            record.topic, record.value, record.key, record.partition,
            headers=[*record.headers, *stamps],
        )  # fmt: skip
        self._pending.add(future)
        future.add_done_callback(functools.partial(self._told, number, clock))

    def _told(self, number: int, clock: Callable[[], int], future: asyncio.Future[Any]) -> None:
        self._pending.discard(future)
        rows = self.book.rows(number)
        if future.cancelled() or future.exception() is not None:
            self.failed += len(rows)
            return
        now_us = clock()
        for row in rows:
            self.book.acked[row] = now_us
            self._acknowledged(row, now_us)
