"""Follows what the agents of some tenants are told, and notes when each bid heard what.

Decides which outcome is which stage. Refuses to send, and to know why anything was decided.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bidplane_loadtest.load import marks
from bidplane_loadtest.load.beats import STAGES, Buckets
from bidplane_loadtest.load.marks import Book
from bidplane_topics import codec, registry
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported

POLL_MS: Final = 200
RETRY_S: Final = 0.5
# After so many outcomes the sender gets its turn.
SLICE: Final = 100
_REASON: Final = {name: number for number, name in enumerate(marks.REASONS)}
_KIND: Final = {name: number for number, name in enumerate(marks.KINDS)}
# What comes of an order that was refused on arrival is never "won" later: these end a bid's story.
_FAILED: Final = frozenset({"voided", "ended"})


class Hearer:
    """Files outcomes by the rows that the sender gave to its bids."""

    def __init__(self, book: Book, rows: dict[str, int], window_ms: int) -> None:
        """``rows`` is shared with the sender: by bid id, without those whose story is over."""
        self.book, self.rows, self.window_ms = book, rows, window_ms
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.held = 0
        self.unbound = 0
        self.stages = {name: Buckets() for name in STAGES}
        self.begin_ms = 0

    async def run(
        self, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition],
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        """Listen until cancelled; a broker that goes away is waited for."""
        while True:
            try:
                polled = await consumer.getmany(*places, timeout_ms=POLL_MS)
            except KafkaError:
                await asyncio.sleep(RETRY_S)
                continue
            now_us = clock()
            for records in polled.values():
                await self._file_all(records, now_us)

    async def _file_all(self, records: Sequence[Any], now_us: int) -> None:
        for number, record in enumerate(records, 1):
            self.file(codec.decode(registry.OUTCOMES, record.value), now_us)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def acknowledged(self, row: int, now_us: int) -> None:
        """The broker has the bid."""
        self._count("acked", row, now_us)

    def file(self, outcome: OutcomeReported, now_us: int) -> None:
        """Note one outcome, heard now. A repeated one, or one of another run, changes nothing."""
        row = self.rows.get(outcome.bid_id)
        if row is None:
            return
        kind, book = outcome.kind, self.book
        if kind == "held" and book.held[row] == marks.NEVER:
            book.held[row] = now_us
            self.held += 1
            self._count("admitted", row, now_us)
        elif kind in TERMINAL_BID_KINDS and book.decided[row] == marks.NEVER:
            self._decided(outcome, row, now_us)
        elif kind == "bound" and book.bound[row] == marks.NEVER:
            book.bound[row] = now_us
            self._count("bound", row, now_us)
            self._over(outcome.bid_id)
        elif kind in _FAILED and book.bound[row] == marks.NEVER:
            book.voided[row] = now_us
            self._over(outcome.bid_id)

    def _decided(self, outcome: OutcomeReported, row: int, now_us: int) -> None:
        book = self.book
        book.decided[row], book.closed_ms[row] = now_us, outcome.at_ms
        book.kind[row] = _KIND[outcome.kind]
        reason = str(outcome.reason or "")
        book.reason[row] = _REASON[reason]
        self.kinds[outcome.kind] += 1
        if reason:
            self.reasons[reason] += 1
        self._count("decided", row, now_us)
        self.stages["beyond_close"].take(self._beyond_us(row, now_us) / 1e6)
        if outcome.kind == "won":
            self.unbound += 1
        else:
            self.rows.pop(outcome.bid_id)

    def _over(self, bid: str) -> None:
        self.rows.pop(bid)
        self.unbound -= 1

    def _count(self, stage: str, row: int, now_us: int) -> None:
        self.stages[stage].take((now_us - self.book.due[row]) / 1e6)

    def _beyond_us(self, row: int, now_us: int) -> int:
        """Since the close of the window in which the bid was due."""
        due_ms = self.begin_ms + self.book.due[row] // 1000
        close_ms = (due_ms // self.window_ms + 1) * self.window_ms
        return max(0, now_us - (close_ms - self.begin_ms) * 1000)
