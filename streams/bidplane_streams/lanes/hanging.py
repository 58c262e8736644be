"""Transactions that the broker has left open, and their orderly end.

Seen on Kafka 4.3.1 (KRaft, one broker), after ``kill -9`` and after a pause longer than its own
session: while the broker is fenced, its coordinator takes the missing leaders of partitions for
deleted topics ("likely deleted already and hence can be skipped"), skips their markers and may
declare the transaction complete. Records without a marker hang: readers of committed records stop
there, and the next commit of the same producer makes them visible. After a crash all markers are
missing; after a pause some may be.

Decides what a transaction that hangs somewhere was, and ends it. A living lane knows that its own
was committed, so it is committed again. After the fence of an earlier owner it is ended as the rest
of it was: committed if the changelog or the group's offsets show it, aborted if neither does (then
its inputs are read again). Refuses to guess more: the README says what that leaves open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bidplane_streams import clock
from bidplane_streams.lanes import clients
from bidplane_streams.lanes.conf import LaneConf

log = logging.getLogger(__name__)

_PAUSE_S = 0.002
_SETTLE_S = 1.0


class Ends:
    """Asks where partitions end, on connections of its own: a fetch would hold them."""

    def __init__(self, conf: LaneConf) -> None:
        """Nothing is connected yet."""
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

    async def stable(self, tp: TopicPartition) -> int:
        """Where readers of committed records stop."""
        return int((await self._stable.end_offsets([tp]))[tp])

    async def hanging(self, places: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Where something that was written before this call has not ended within a second.

        Others may write there meanwhile: it counts what was there when the question was asked.
        """
        ends = await self._all.end_offsets(list(places))
        return await self.unpassed({tp: end - 1 for tp, end in ends.items()})

    async def unpassed(self, offsets: Mapping[TopicPartition, int]) -> set[TopicPartition]:
        """Where what was written at ``offsets`` belongs to an open transaction, after a second."""
        left, until_s = dict(offsets), clock.elapsed_s() + _SETTLE_S
        while left:
            stable = await self._stable.end_offsets(list(left))
            left = {tp: offset for tp, offset in left.items() if stable[tp] <= offset}
            if left and clock.elapsed_s() > until_s:
                break
            await asyncio.sleep(_PAUSE_S if left else 0)
        return set(left)


def has_reached(
    applied: Mapping[str, int] | None,
    pending: Mapping[str, int] | None,
    group: Mapping[str, int | None],
) -> bool:
    """Whether a transaction whose rows hang has been committed among the group's offsets.

    ``applied`` is the changelog's last committed vector, ``pending`` the one that hangs there (none
    where its last row was never written), ``group`` the group's offsets; topics that the group does
    not read are left out.
    """
    if pending is None:
        return False
    told = {topic: pending.get(topic) for topic in group}
    before = {topic: (applied or {}).get(topic) for topic in group}
    return told == dict(group) != before


def is_behind(applied: Mapping[str, int] | None, group: Mapping[str, int | None]) -> bool:
    """Whether the group stands before what the changelog has applied, and nowhere after it."""
    if applied is None or any(offset is None for offset in group.values()):
        return False
    steps = [applied.get(topic, 0) - (offset or 0) for topic, offset in group.items()]
    return min(steps) >= 0 < max(steps)


async def end(
    conf: LaneConf, producer: AIOKafkaProducer, partition: int, places: Iterable[TopicPartition],
    offsets: Mapping[str, int], *, commit: bool,
) -> None:  # fmt: skip
    """End whatever this producer's id holds open in ``places`` and among its group's offsets.

    A marker ends all that a producer has open in a partition, so a transaction that names the
    partitions and writes nothing is enough. ``offsets`` are those of the lane's inputs.

    Raises:
        TimeoutError: the broker does not take part.
    """
    word = "committing" if commit else "aborting"
    named = ", ".join(sorted(f"{tp.topic}-{tp.partition}" for tp in places)) or "its offsets"
    log.warning("%s-%d: %s what it may have open in %s", conf.group, partition, word, named)
    at = {
        TopicPartition(topic, partition): OffsetAndMetadata(offsets.get(topic, 0), "")
        for topic in conf.inputs
    }
    async with asyncio.timeout(conf.transaction_ms / 1000 * 1.5):
        await producer.begin_transaction()
        for place in places:
            # aiokafka has no public word for naming a partition without writing to it.
            producer._txn_manager.maybe_add_partition_to_txn(place)  # noqa: SLF001
        await producer.send_offsets_to_transaction(at, conf.group)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
