"""One transaction of one partition: offsets, outputs, changed rows and the vector, all or nothing.

Decides the order of calls. Refuses to know what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bidplane_streams.errors import LaneError
from bidplane_streams.lanes import changelog
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Batch, Effects, Output


async def commit(
    conf: LaneConf, producer: AIOKafkaProducer, partition: int, batch: Batch, effects: Effects
) -> int:
    """Make ``batch`` applied and ``effects`` visible, both or neither; say where rows were written.

    Offsets first: right after a commit the coordinator answers CONCURRENT_TRANSACTIONS for a while;
    AddOffsetsToTxn retries after retry_backoff_ms, AddPartitionsToTxn after a hard-coded 20 ms.

    Raises:
        LaneError: a record fits no batch.
        TimeoutError: the broker gave up on the transaction long before.
    """
    rows = changelog.rows(effects.changes, batch.positions)
    async with asyncio.timeout(conf.transaction_ms / 1000 * 1.5):
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(
            {
                TopicPartition(topic, partition): OffsetAndMetadata(batch.positions[topic], "")
                for topic in conf.inputs
            },
            conf.group,
        )
        sent: list[asyncio.Future[Any]] = []
        for (topic, target), outputs in effects.outputs.items():
            sent += await _send(producer, topic, target, outputs)
        state = (Output(key, value) for key, value in rows.items())
        sent += await _send(producer, conf.changelog, partition, state)
        written = await asyncio.gather(*sent)  # aiokafka would commit although a batch has failed
        await producer.commit_transaction()
    return int(written[-1].offset)


async def _send(
    producer: AIOKafkaProducer, topic: str, partition: int, outputs: Iterable[Output]
) -> list[asyncio.Future[Any]]:
    sent: list[asyncio.Future[Any]] = []
    builder = producer.create_batch()
    for output in outputs:
        if not _appended(builder, output):
            builder.close()
            sent.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            if not _appended(builder, output):
                raise LaneError(f"{topic}: a record of {len(output.value or b'')} bytes is too big")
    if builder.record_count():
        builder.close()
        sent.append(await producer.send_batch(builder, topic, partition=partition))
    return sent


def _appended(builder: Any, output: Output) -> bool:
    fields = {"key": output.key, "value": output.value, "headers": list(output.headers)}
    return builder.append(timestamp=None, **fields) is not None
