"""The log: every record the audit may look at, by topic, partition and offset.

Decides where the log begins and which of its records came so late that what belongs with them may
not have been read yet. Refuses to know what records mean and where they came from: Kafka, a file or
a test.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from bidplane_agents.errors import BadInput

# A topic and one of its partitions.
Place = tuple[str, int]
FORMAT: Final = "bidplane-log-v1"


class Record(NamedTuple):
    """A record where it stood. ``value`` is None for a tombstone; the time is the broker's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def origin(self) -> tuple[str, int, int]:
        """Topic, partition and offset: what names a record for ever."""
        return self.topic, self.partition, self.offset


class Log:
    """Records by place, in offset order."""

    def __init__(
        self,
        records: Iterable[Record],
        firsts: Mapping[Place, int] | None = None,
        settled: Mapping[Place, int] | None = None,
    ) -> None:
        """Take ``records`` in any order.

        ``firsts`` says at which offset a partition's log begins (default 0). Records at or after
        ``settled`` (default: none) were written during the reading: they prove what came before
        them, but nothing is missed that should have come with them.
        """
        self._by_place: dict[Place, list[Record]] = {}
        for record in records:
            self._by_place.setdefault(record.place, []).append(record)
        for found in self._by_place.values():
            found.sort(key=lambda record: record.offset)
        self.firsts = dict(firsts or {})
        self.settled = dict(settled or {})

    def of(self, topic: str, partition: int) -> list[Record]:
        """The records of one partition."""
        return self._by_place.get((topic, partition), [])

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic that hold records."""
        return sorted(partition for name, partition in self._by_place if name == topic)

    def topic(self, topic: str) -> list[Record]:
        """All records of a topic, partition by partition."""
        return [one for partition in self.partitions(topic) for one in self.of(topic, partition)]

    def is_late(self, record: Record) -> bool:
        """Whether the record was written while the log was being read."""
        settled = self.settled.get(record.place)
        return settled is not None and record.offset >= settled

    def begins(self, topic: str, partition: int) -> int:
        """The first offset that the broker still had."""
        return self.firsts.get((topic, partition), 0)

    def is_whole(self, topic: str, partition: int) -> bool:
        """Whether no record of a topic that is written without transactions was compacted away."""
        found = self.of(topic, partition)
        return not self.begins(topic, partition) and (
            not found or found[-1].offset == len(found) - 1
        )

    def __len__(self) -> int:
        return sum(map(len, self._by_place.values()))

    def records(self) -> list[Record]:
        """Everything, by topic, partition and offset."""
        return [record for place in sorted(self._by_place) for record in self._by_place[place]]


def save(log: Log, path: Path) -> None:
    """Write the log as JSON lines: one heading, then a record a line."""
    lines = [
        orjson.dumps(
            {"format": FORMAT, "firsts": _marks(log.firsts), "settled": _marks(log.settled)}
        )
    ]
    lines += [orjson.dumps(_line(record)) for record in log.records()]
    path.write_bytes(b"\n".join(lines) + b"\n")


def load(path: Path) -> Log:
    """Read what ``save`` wrote.

    Raises:
        BadInput: the file cannot be read or is no saved log; names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file that --save wrote") from error
    if not lines:
        raise BadInput(f"{path}: the file is empty: name a file that --save wrote")
    records: list[Record] = []
    try:
        heading = orjson.loads(lines[0])
        if heading["format"] != FORMAT:
            raise BadInput(f"{path}:1: format {heading['format']!r} is not {FORMAT}")
        firsts, settled = _places(heading["firsts"]), _places(heading["settled"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInput(f"{path}:1: this is no saved log ({error})") from error
    for number, line in enumerate(lines[1:], start=2):
        try:
            records.append(_record(orjson.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}:{number}: this is no record of a log ({error})") from error
    return Log(records, firsts, settled)


def _marks(marks: Mapping[Place, int]) -> list[list[Any]]:
    return [[topic, partition, offset] for (topic, partition), offset in sorted(marks.items())]


def _places(marks: list[list[Any]]) -> dict[Place, int]:
    return {(topic, partition): offset for topic, partition, offset in marks}


def _line(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "timestamp_ms": record.timestamp_ms, "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }  # fmt: skip


def _record(line: dict[str, Any]) -> Record:
    return Record(
        line["topic"], line["partition"], line["offset"], line["timestamp_ms"],
        _bytes(line["key"]), _bytes(line["value"]),
        tuple((name, _bytes(value) or b"") for name, value in line["headers"]),
    )  # fmt: skip


def _text(value: bytes | None) -> str | dict[str, str] | None:
    """Text where the bytes are text, since signatures cover every byte; else base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(value: str | dict[str, str] | None) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])
