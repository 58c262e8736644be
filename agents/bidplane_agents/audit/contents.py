"""The log decoded: events with the record each came in, and what was set aside as dead.

Decides what cannot be read. Refuses to judge: an undecodable record is a breach only if nobody set
it aside, and that is for others to say.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from bidplane_agents.audit.heap import Record, Unread
from bidplane_agents.audit.log import Log, Place, Records
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord

# What the audit reads. Bids are decoded elsewhere: only a verified record is worth decoding.
READ: Final = (
    registry.MARKETS, registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT, registry.ORDERS,
    registry.SUPPLY,
    registry.REPORTS, registry.ROUNDS, registry.LEASES, registry.SETTLEMENTS, registry.LEDGER,
    registry.OUTCOMES,
)  # fmt: skip
# What grows with time alone, also while nobody bids; it is decoded each time it is gone through.
NOT_KEPT: Final = frozenset({registry.ROUNDS, registry.REPORTS, registry.SUPPLY})
REASON_HEADER: Final = "bidplane-reason"
ORIGIN_HEADER: Final = "bidplane-origin"
_ORIGIN: Final = re.compile(r"^(.+?)[/|](\d+)[/|](\d+)$")

# The name of a record: topic, partition, offset.
Origin = tuple[str, int, int]


class Seen(NamedTuple):
    """An event and its record, whose key, value and headers are left in the log."""

    record: Record
    event: Any


class DeadLetter(NamedTuple):
    """A record that was set aside, and why."""

    record: Record
    reason: str


class Events(Unread[Seen]):
    """What decodes of one partition, in order, decoded anew whenever it is asked for."""

    def __init__(self, topic: registry.Topic, records: Records, indexes: Iterable[int]) -> None:
        """``indexes`` of those ``records`` that decode."""
        super().__init__(array("q", indexes), functools.partial(_seen, topic, records))
        self._offsets = records.offsets

    def between(self, start: int, end: int) -> list[Seen]:
        """The events at offsets from ``start`` up to, but not at, ``end``."""
        first, last = (
            bisect.bisect_left(self._places, bisect.bisect_left(self._offsets, offset))
            for offset in (start, end)
        )
        return self[first:last]


class Contents:
    """Everything in a log that decodes."""

    def __init__(self, log: Log) -> None:
        """Decode all topics that the audit reads."""
        self.log = log
        self.unreadable: list[Record] = []
        self.dead: dict[Origin, DeadLetter] = {}
        self._kept: dict[Place, list[Seen]] = {}
        self._left: dict[Place, Events] = {}
        for topic in READ:
            for partition in log.partitions(topic.name):
                self._decode(topic, partition)
        for topic in registry.DEAD_LETTERED:
            self._bury(registry.dead_letters(topic).name)

    def of(self, topic: registry.Topic, partition: int) -> Sequence[Seen]:
        """The events of one partition, in order."""
        place = topic.name, partition
        return self._left.get(place) or self._kept.get(place, [])

    def between(self, topic: registry.Topic, partition: int, start: int, end: int) -> list[Seen]:
        """The events at offsets from ``start`` up to, but not at, ``end``."""
        place = topic.name, partition
        if place in self._left:
            return self._left[place].between(start, end)
        found = self._kept.get(place, [])
        first, last = (
            bisect.bisect_left(found, offset, key=lambda one: one.record.offset)
            for offset in (start, end)
        )
        return found[first:last]

    def find(self, topic: registry.Topic, partition: int, offset: int) -> Seen | None:
        """The event at that offset."""
        found = self.between(topic, partition, offset, offset + 1)
        return found[0] if found else None

    def all(self, topic: registry.Topic) -> Iterator[Seen]:
        """The events of a topic, partition by partition."""
        return itertools.chain.from_iterable(
            self.of(topic, partition) for partition in self.log.partitions(topic.name)
        )

    def late(self, one: Seen) -> bool:
        """Whether the record may lack its companions: written while the log was read."""
        return self.log.is_late(one.record)

    def _decode(self, topic: registry.Topic, partition: int) -> None:
        readable = self._readable(topic, partition)
        if topic in NOT_KEPT:
            records = self.log.of(topic.name, partition)
            indexes = (index for index, _ in readable)
            self._left[topic.name, partition] = Events(topic, records, indexes)
        else:
            self._kept[topic.name, partition] = [seen for _, seen in readable]

    def _readable(self, topic: registry.Topic, partition: int) -> Iterator[tuple[int, Seen]]:
        for index, record in enumerate(self.log.of(topic.name, partition)):
            if record.value is None and topic.compacted:
                continue
            try:
                yield index, Seen(_bare(record), codec.decode(topic, record.value))
            except MalformedRecord:
                self.unreadable.append(_bare(record))

    def _bury(self, letters: str) -> None:
        for partition in self.log.partitions(letters):
            for record in self.log.of(letters, partition):
                headers = dict(record.headers)  # the last one counts: ours come after the sender's
                match = _ORIGIN.match(headers.get(ORIGIN_HEADER, b"").decode(errors="replace"))
                if match is not None:
                    origin = match.group(1), int(match.group(2)), int(match.group(3))
                    reason = headers.get(REASON_HEADER, b"").decode(errors="replace")
                    self.dead.setdefault(origin, DeadLetter(_bare(record), reason))


def _seen(topic: registry.Topic, records: Records, index: int) -> Seen:
    record = records[index]
    return Seen(_bare(record), codec.decode(topic, record.value))


def _bare(record: Record) -> Record:
    """Its place and time alone, which is what is kept in memory."""
    topic = sys.intern(record.topic)
    return Record(topic, record.partition, record.offset, record.timestamp_ms, None, None)
