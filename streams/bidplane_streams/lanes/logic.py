"""What a lane asks of whoever decides: the only words that lanes and their logic share.

Decides shapes. Refuses to know Kafka's client, so that a logic can be tested with plain values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

Headers = tuple[tuple[str, bytes], ...]
S = TypeVar("S")


class Record(NamedTuple):
    """A record as it was read; ``timestamp_ms`` is the broker's append time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def records(given: Iterable[Any]) -> list[Record]:
    """A Kafka client's records as ours."""
    return [
        Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
        for r in given
    ]


class Output(NamedTuple):
    """A record to write; the broker stamps its time."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Batch(msgspec.Struct, frozen=True):
    """What one decision sees: records per topic in offset order, and every topic's next offset.

    ``records`` holds the topics in the order in which the lane names them, globals first.
    """

    records: dict[str, list[Record]]
    positions: dict[str, int]

    def __len__(self) -> int:
        """How many records."""
        return sum(map(len, self.records.values()))


class Effects(msgspec.Struct):
    """What a decision causes: outputs by (topic, partition), and state rows (None deletes one)."""

    outputs: dict[tuple[str, int], list[Output]] = msgspec.field(default_factory=dict)
    changes: dict[bytes, bytes | None] = msgspec.field(default_factory=dict)
    # Outcomes by kind and reason, for the counters: one by one they took a tenth of a decision.
    told: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    # What the logic's measures are told once all of it is committed.
    notes: Any = None

    def emit(self, topic: str, partition: int, output: Output) -> None:
        """Add a record to write."""
        place = topic, partition
        found = self.outputs.get(place)
        if found is None:
            found = self.outputs[place] = []
        found.append(output)


class Logic(Protocol[S]):
    """The decisions of a lane, without I/O and without a clock.

    ``threaded`` runs ``decide`` in a worker thread, so that heartbeats never wait for it.
    """

    threaded: bool

    def new_state(self, partition: int) -> S:
        """The state of a partition of which nothing is known."""
        ...

    def restore(self, state: S, key: bytes, value: bytes | None) -> None:
        """Take back one row that an earlier decision changed."""
        ...

    def next_close_ms(self, state: S, now_ms: int) -> int | None:
        """When to decide next, records or none; None decides as soon as there are records."""
        ...

    def decide(self, state: S, partition: int, batch: Batch, now_ms: int) -> Effects | None:
        """Apply a batch.

        None says that nothing is worth a transaction: the state must then be untouched; the records
        are kept and come again with those that follow. A full buffer stops reading, so a logic must
        not say None for ever.
        """
        ...
