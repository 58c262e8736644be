"""The log decoded: events with the record each came in, and what was set aside as dead.

Decides what cannot be read. Refuses to judge: an undecodable record is a breach only if nobody set
it aside, and that is for others to say.
"""

from __future__ import annotations

import bisect
import re
from typing import Any, Final, NamedTuple

from bidplane_agents.audit.log import Log, Record
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord

# What the audit reads. Bids are decoded elsewhere: only a verified record is worth decoding.
READ: Final = (
    registry.MARKETS, registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT, registry.ORDERS,
    registry.SUPPLY,
    registry.REPORTS, registry.ROUNDS, registry.LEASES, registry.SETTLEMENTS, registry.LEDGER,
    registry.OUTCOMES,
)  # fmt: skip
REASON_HEADER: Final = "bidplane-reason"
ORIGIN_HEADER: Final = "bidplane-origin"
_ORIGIN: Final = re.compile(r"^(.+?)[/|](\d+)[/|](\d+)$")

# The name of a record: topic, partition, offset.
Origin = tuple[str, int, int]


class Seen(NamedTuple):
    """An event and its record."""

    record: Record
    event: Any


class DeadLetter(NamedTuple):
    """A record that was set aside, and why."""

    record: Record
    reason: str


class Contents:
    """Everything in a log that decodes."""

    def __init__(self, log: Log) -> None:
        """Decode all topics that the audit reads."""
        self.log = log
        self.unreadable: list[Record] = []
        self.dead: dict[Origin, DeadLetter] = {}
        self._seen: dict[tuple[str, int], list[Seen]] = {}
        for topic in READ:
            self._decode(topic)
        for topic in registry.DEAD_LETTERED:
            self._bury(topic)

    def of(self, topic: registry.Topic, partition: int) -> list[Seen]:
        """The events of one partition, in order."""
        return self._seen.get((topic.name, partition), [])

    def between(self, topic: registry.Topic, partition: int, start: int, end: int) -> list[Seen]:
        """The events at offsets from ``start`` up to, but not at, ``end``."""
        found = self.of(topic, partition)
        first, last = (
            bisect.bisect_left(found, offset, key=lambda one: one.record.offset)
            for offset in (start, end)
        )
        return found[first:last]

    def all(self, topic: registry.Topic) -> list[Seen]:
        """The events of a topic, partition by partition."""
        return [
            one
            for partition in self.log.partitions(topic.name)
            for one in self.of(topic, partition)
        ]

    def late(self, one: Seen) -> bool:
        """Whether the record may lack its companions: written while the log was read."""
        return self.log.is_late(one.record)

    def _decode(self, topic: registry.Topic) -> None:
        for record in self.log.topic(topic.name):
            if record.value is None and topic.compacted:
                continue
            try:
                event = codec.decode(topic, record.value)
            except MalformedRecord:
                self.unreadable.append(record)
            else:
                self._seen.setdefault(record.place, []).append(Seen(record, event))

    def _bury(self, topic: registry.Topic) -> None:
        for record in self.log.topic(registry.dead_letters(topic).name):
            headers = dict(record.headers)  # the last one counts: ours come after the sender's
            match = _ORIGIN.match(headers.get(ORIGIN_HEADER, b"").decode(errors="replace"))
            if match is not None:
                origin = match.group(1), int(match.group(2)), int(match.group(3))
                reason = headers.get(REASON_HEADER, b"").decode(errors="replace")
                self.dead.setdefault(origin, DeadLetter(record, reason))
