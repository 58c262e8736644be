"""Records in a temporary file, by the position at which each stands there.

Decides how a log that is larger than memory is kept while it is audited: what is read again comes
from the page cache, which the kernel takes back when it needs the room. Refuses to know order.
"""

from __future__ import annotations

import mmap
import struct
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Final, NamedTuple, TypeVar, overload

import msgspec

from bidplane_agents.errors import BadInput

_LENGTH: Final = struct.Struct("<I")
_BUFFER: Final = 1 << 20
T = TypeVar("T")


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
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    @property
    def origin(self) -> tuple[str, int, int]:
        """Topic, partition and offset: what names a record for ever."""
        return self.topic, self.partition, self.offset


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


class Heap:
    """Takes records and gives them back; its file has no name and is gone with it.

    Raises (from every method):
        BadInput: the folder for temporary files cannot take what it is given.
    """

    def __init__(self) -> None:
        """An empty file in the folder for temporary files."""
        with _named():
            self._file = tempfile.TemporaryFile(buffering=_BUFFER)  # noqa: SIM115 (for the life of this)
        weakref.finalize(self, _close, self._file)
        self._size = 0
        self._view: mmap.mmap | bytes = b""

    def add(self, record: Record) -> int:
        """Keep a record; where it stands."""
        raw, at = _encode(record), self._size
        with _named():
            self._file.write(_LENGTH.pack(len(raw)) + raw)
        self._size = at + _LENGTH.size + len(raw)
        return at

    def at(self, position: int) -> Record:
        """The record that ``add`` put there."""
        if position >= len(self._view):
            with _named():
                self._file.flush()
                self._view = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
        (length,) = _LENGTH.unpack_from(self._view, position)
        start = position + _LENGTH.size
        return _decode(self._view[start : start + length])


class Unread(Sequence[T]):
    """A sequence of which each item is read when it is asked for, and not kept."""

    def __init__(self, places: array[int], read: Callable[[int], T]) -> None:
        """``places``: what ``read`` takes for each item."""
        self._places, self._read = places, read

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._read(place) for place in self._places[index]]
        return self._read(self._places[index])

    def __iter__(self) -> Iterator[T]:
        return map(self._read, self._places)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # what could not be written was told when it was
        file.close()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"no temporary file can be written ({error.strerror or error}): the log is kept in one "
            "while it is looked at; set TMPDIR to a folder with room for it"
        ) from error
