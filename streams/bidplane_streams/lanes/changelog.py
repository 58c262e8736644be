"""A lane's state on Kafka: rows, and the vector of what they have applied.

Decides how state is read back and how the vector is written. Refuses to know what rows mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_streams import clock
from bidplane_streams.errors import LaneError
from bidplane_streams.lanes import clients
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Logic

VECTOR: Final = b"\x00vector"
_STALLED_S: Final = 30.0
_DECODER: Final = msgspec.json.Decoder(dict[str, int])


class Restored(NamedTuple):
    """A state, the next offset of every topic it has applied (None: nothing ever), row count."""

    state: Any
    vector: dict[str, int] | None
    rows: int


def rows(
    changes: dict[bytes, bytes | None], positions: dict[str, int]
) -> dict[bytes, bytes | None]:
    """The changelog rows of one transaction.

    Raises:
        LaneError: the logic wrote a key that belongs to the lane.
    """
    if VECTOR in changes:
        raise LaneError("a logic may not write the vector")
    return {**changes, VECTOR: msgspec.json.encode(positions)}


async def restore(conf: LaneConf, logic: Logic[Any], partition: int) -> Restored:
    """Read a partition's state back. The caller has fenced earlier owners, so the end stands still.

    Raises:
        LaneError: the changelog cannot be read to its end.
    """
    reader = clients.reader(conf.access, f"{conf.group}-{partition}-restore")
    await reader.start()
    try:
        return await _read(reader, TopicPartition(conf.changelog, partition), logic)
    finally:
        await reader.stop()


async def pending(conf: LaneConf, partition: int, from_: int) -> dict[str, int] | None:
    """The last vector that was written, committed or not, at ``from_`` or after; None without one.

    Raises:
        LaneError: the changelog cannot be read to its end.
    """
    tp, name = TopicPartition(conf.changelog, partition), f"{conf.group}-{partition}-pending"
    reader = clients.reader(conf.access, name, committed=False)
    await reader.start()
    try:
        reader.assign([tp])
        reader.seek(tp, from_)
        end = (await reader.end_offsets([tp]))[tp]
        found: dict[str, int] | None = None
        async for record in _records(reader, tp, end):
            if record.key == VECTOR:
                found = _DECODER.decode(record.value)
        return found
    finally:
        await reader.stop()


async def _read(reader: AIOKafkaConsumer, tp: TopicPartition, logic: Logic[Any]) -> Restored:
    reader.assign([tp])
    first = (await reader.beginning_offsets([tp]))[tp]
    end = (await reader.end_offsets([tp]))[tp]
    reader.seek(tp, first)
    state, vector, count = logic.new_state(tp.partition), None, 0
    async for record in _records(reader, tp, end):
        count += 1
        if record.key == VECTOR:
            vector = _DECODER.decode(record.value)
        else:
            logic.restore(state, record.key, record.value)
    return Restored(state, vector, count)


async def _records(reader: AIOKafkaConsumer, tp: TopicPartition, end: int) -> AsyncIterator[Any]:
    heard_s = clock.elapsed_s()
    # The position, not the last record's offset: the log ends with a control record.
    while await reader.position(tp) < end:
        records = (await reader.getmany(tp, timeout_ms=200, max_records=20_000)).get(tp, ())
        for record in records:
            yield record
        heard_s = clock.elapsed_s() if records else heard_s
        if clock.elapsed_s() - heard_s > _STALLED_S:
            raise LaneError(f"{tp.topic}-{tp.partition}: no end reached, nothing read for 30 s")
