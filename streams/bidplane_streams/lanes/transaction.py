"""One transaction of one partition: offsets, outputs, changed rows and the vector, all or nothing.

Decides the order of calls. Refuses to know what is written.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bidplane_streams.lanes import batches, changelog
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Batch, Effects, Output


async def commit(
    conf: LaneConf, producer: AIOKafkaProducer, partition: int, batch: Batch, effects: Effects,
    *, rested: bool = False,
) -> dict[TopicPartition, int]:  # fmt: skip
    """Make ``batch`` applied and ``effects`` visible, both or neither; say where they end.

    The offsets are those of what was written, by partition.

    Offsets first: right after a commit the coordinator answers CONCURRENT_TRANSACTIONS for a while;
    AddOffsetsToTxn retries after retry_backoff_ms, AddPartitionsToTxn after a hard-coded 20 ms.
    Once it has ``rested`` it does not, and records and offsets travel side by side.

    Raises:
        LaneError: a record fits no batch.
        TimeoutError: the broker gave up on the transaction long before.
    """
    rows = changelog.rows(effects.changes, batch.positions)
    async with asyncio.timeout(conf.transaction_ms / 1000 * 1.5):
        await producer.begin_transaction()
        offsets = producer.send_offsets_to_transaction(
            {
                TopicPartition(topic, partition): OffsetAndMetadata(batch.positions[topic], "")
                for topic in conf.inputs
            },
            conf.group,
        )
        if not rested:
            await offsets
        sent: list[asyncio.Future[Any]] = []
        for (topic, target), outputs in effects.outputs.items():
            sent += await batches.send(producer, topic, target, outputs)
        state = (Output(key, value) for key, value in rows.items())
        sent += await batches.send(producer, conf.changelog, partition, state)
        if rested:
            await offsets
        written = await asyncio.gather(*sent)  # aiokafka would commit although a batch has failed
        await producer.commit_transaction()
    # Batches of one partition are in order, so its last offset is what stays.
    return {TopicPartition(one.topic, one.partition): int(one.offset) for one in written}
