"""A log in memory: bytes by topic and partition, stamped with a time that only grows.

Decides offsets. Refuses to keep anything but bytes, so that whatever does not survive the wire is
seen.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from bidplane_streams.market.effects import SignedCommands
from bidplane_topics import codec, registry

Place = tuple[str, int]
_SIGNED = msgspec.json.Decoder(SignedCommands)


class Entry(NamedTuple):
    """A record's bytes and its append time."""

    value: bytes
    at_ms: int


class Log:
    """All topics. A bid is stored with its key id, since nobody signs here."""

    def __init__(self) -> None:
        """Empty."""
        self.entries: dict[Place, list[Entry]] = {}

    def append(self, topic: registry.Topic, partition: int, event: Any, at_ms: int) -> None:
        """Write an event."""
        value = msgspec.json.encode(event)
        self.entries.setdefault((topic.name, partition), []).append(Entry(value, at_ms))

    def read(self, topic: registry.Topic, partition: int, offset: int) -> list[tuple[Any, int]]:
        """Decoded events and append times from ``offset`` on."""
        found = self.entries.get((topic.name, partition), [])[offset:]
        return [(decode(topic, entry.value), entry.at_ms) for entry in found]

    def digest(self) -> str:
        """A digest of every byte."""
        running = hashlib.sha256()
        for place in sorted(self.entries):
            running.update(repr((place, self.entries[place])).encode())
        return running.hexdigest()


def decode(topic: registry.Topic, value: bytes) -> Any:
    """The event in ``value``."""
    return _SIGNED.decode(value) if topic is registry.BIDS else codec.decode(topic, value)
