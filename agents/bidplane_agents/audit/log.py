"""The log: every record the audit may look at, by topic, partition and offset.

Decides where the log begins and which of its records came so late that what belongs with them may
not have been read yet. Refuses to know what records mean and where they came from: Kafka, a file or
a test.
"""

from __future__ import annotations

import base64
import bisect
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from bidplane_agents.audit.heap import Heap, Record, Unread
from bidplane_agents.errors import BadInput

# A topic and one of its partitions.
Place = tuple[str, int]
FORMAT: Final = "bidplane-log-v1"


class Records(Unread[Record]):
    """The records of one partition, in offset order; each is read when it is asked for."""

    def __init__(self, heap: Heap) -> None:
        """None yet."""
        super().__init__(array("q"), heap.at)
        self._heap, self.offsets = heap, array("q")

    def add(self, record: Record) -> None:
        """One more, at its place: most come in order."""
        position = self._heap.add(record)
        index = len(self.offsets)
        if index and record.offset < self.offsets[-1]:
            index = bisect.bisect_right(self.offsets, record.offset)
        self.offsets.insert(index, record.offset)
        self._places.insert(index, position)

    def find(self, offset: int) -> int | None:
        """The index of the record at that offset."""
        index = bisect.bisect_left(self.offsets, offset)
        there = index < len(self.offsets) and self.offsets[index] == offset
        return index if there else None


class Log:
    """Records by place, in offset order. They lie in a temporary file: see ``Heap``."""

    def __init__(
        self,
        records: Iterable[Record] = (),
        firsts: Mapping[Place, int] | None = None,
        settled: Mapping[Place, int] | None = None,
    ) -> None:
        """Take ``records`` in any order.

        ``firsts`` says at which offset a partition's log begins (default 0). Records at or after
        ``settled`` (default: none) were written during the reading: they prove what came before
        them, but nothing is missed that should have come with them.
        """
        self._heap = Heap()
        self._by_place: dict[Place, Records] = {}
        for record in records:
            self.add(record)
        self.firsts = dict(firsts or {})
        self.settled = dict(settled or {})

    def add(self, record: Record) -> None:
        """One record more."""
        found = self._by_place.get(record.place)
        if found is None:
            found = self._by_place[record.place] = Records(self._heap)
        found.add(record)

    def of(self, topic: str, partition: int) -> Records:
        """The records of one partition."""
        return self._by_place.get((topic, partition)) or Records(self._heap)

    def find(self, origin: tuple[str, int, int]) -> Record | None:
        """The record at a topic, partition and offset."""
        records = self.of(origin[0], origin[1])
        index = records.find(origin[2])
        return None if index is None else records[index]

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic that hold records."""
        return sorted(partition for name, partition in self._by_place if name == topic)

    def is_late(self, record: Record) -> bool:
        """Whether the record was written while the log was being read."""
        settled = self.settled.get(record.place)
        return settled is not None and record.offset >= settled

    def begins(self, topic: str, partition: int) -> int:
        """The first offset that the broker still had."""
        return self.firsts.get((topic, partition), 0)

    def is_whole(self, topic: str, partition: int) -> bool:
        """Whether no record of a topic that is written without transactions was compacted away."""
        offsets = self.of(topic, partition).offsets
        return not self.begins(topic, partition) and (
            not offsets or offsets[-1] == len(offsets) - 1
        )

    def __len__(self) -> int:
        return sum(map(len, self._by_place.values()))

    def __iter__(self) -> Iterator[Record]:
        """Everything, by topic, partition and offset."""
        return (record for place in sorted(self._by_place) for record in self._by_place[place])


def save(log: Log, path: Path) -> None:
    """Write the log as JSON lines: one heading, then a record a line."""
    heading = {"format": FORMAT, "firsts": _marks(log.firsts), "settled": _marks(log.settled)}
    with path.open("wb") as file:
        file.write(orjson.dumps(heading) + b"\n")
        file.writelines(orjson.dumps(_line(record)) + b"\n" for record in log)


def load(path: Path) -> Log:
    """Read what ``save`` wrote.

    Raises:
        BadInput: the file cannot be read or is no saved log; names the line.
    """
    try:
        with path.open("rb") as file:
            return _loaded(path, file)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file that --save wrote") from error


def _loaded(path: Path, lines: Iterable[bytes]) -> Log:
    numbered = enumerate(lines, start=1)
    _, first = next(numbered, (1, b""))
    if not first.strip():
        raise BadInput(f"{path}: the file is empty: name a file that --save wrote")
    try:
        heading = orjson.loads(first)
        if heading["format"] != FORMAT:
            raise BadInput(f"{path}:1: format {heading['format']!r} is not {FORMAT}")
        log = Log((), _places(heading["firsts"]), _places(heading["settled"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInput(f"{path}:1: this is no saved log ({error})") from error
    for number, line in numbered:
        try:
            log.add(_record(orjson.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}:{number}: this is no record of a log ({error})") from error
    return log


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
