"""Transactions that the broker has left open, and their orderly end.

Seen on Kafka 4.3.1 (KRaft, one broker, ``kill -9``; twice in eight kills under load): a transaction
was prepared to commit; the restarted broker first believed that it led all partitions, could not
reach itself, then was fenced by its own registration; its coordinator took the missing leaders for
deleted topics ("likely deleted already and hence can be skipped"), skipped every marker and
declared the transaction complete. Its records hang: readers of committed records stop there, and
the next commit of the same producer makes them visible beside those that repeat them.

Decides two things. Before a transaction the one before must have ended on the changelog, so at most
one can hang. On opening, after the fence, a hanging one is aborted in every partition that it may
have touched; no marker was written anywhere, so nobody has seen it, and its inputs are read again.
Refuses the case of some markers written and others lost: with replicas, a leader is missing only
when every replica of a partition is.
"""

from __future__ import annotations

import asyncio
import logging

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bidplane_streams import clock
from bidplane_streams.errors import MarkersLost
from bidplane_streams.lanes import clients
from bidplane_streams.lanes.conf import LaneConf

log = logging.getLogger(__name__)

_PAUSE_S = 0.002
_SETTLE_S = 1.0
_SWEPT = b"\x00swept"


class Ends:
    """Asks where a changelog partition ends, on connections of its own: a fetch would hold them."""

    def __init__(self, conf: LaneConf) -> None:
        """Nothing is connected yet."""
        self._conf = conf
        self._stable = clients.reader(conf.access, f"{conf.group}-stable")
        self._all = clients.reader(conf.access, f"{conf.group}-all", committed=False)

    async def start(self) -> None:
        """Connect."""
        await self._stable.start()
        await self._all.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._stable.stop()
        await self._all.stop()

    async def hangs(self, tp: TopicPartition) -> bool:
        """Whether a transaction is open on ``tp``, whose writers are all fenced."""
        until_s = clock.elapsed_s() + _SETTLE_S
        while (await self._stable.end_offsets([tp]))[tp] < (await self._all.end_offsets([tp]))[tp]:
            if clock.elapsed_s() > until_s:
                return True
            await asyncio.sleep(_PAUSE_S)
        return False

    async def passed(self, tp: TopicPartition, offset: int) -> None:
        """Wait until the transaction that wrote ``offset`` has ended.

        Raises:
            MarkersLost: it does not end.
        """
        until_s = clock.elapsed_s() + self._conf.transaction_ms / 1000
        while (await self._stable.end_offsets([tp]))[tp] <= offset:
            if clock.elapsed_s() > until_s:
                raise MarkersLost(f"{tp.topic}-{tp.partition}: nothing ends what holds {offset}")
            await asyncio.sleep(_PAUSE_S)


async def sweep(
    conf: LaneConf, producer: AIOKafkaProducer, partition: int, targets: list[TopicPartition]
) -> None:
    """Abort whatever this producer's id holds open in ``targets`` and among its group's offsets.

    An abort marker ends all that a producer has open in a partition, so a record is written to each
    of them, never to be seen, and the transaction is aborted.
    """
    log.warning("%s-%d: the broker left a transaction open: aborting it", conf.group, partition)
    offsets = {TopicPartition(topic, partition): OffsetAndMetadata(0, "") for topic in conf.inputs}
    async with asyncio.timeout(conf.transaction_ms / 1000 * 1.5):
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(offsets, conf.group)
        sent = []
        for tp in targets:
            builder = producer.create_batch()
            builder.append(timestamp=None, key=_SWEPT, value=None)
            builder.close()
            sent.append(await producer.send_batch(builder, tp.topic, partition=tp.partition))
        await asyncio.gather(*sent)
        await producer.abort_transaction()
