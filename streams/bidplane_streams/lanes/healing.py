"""When a lane looks for a transaction that hangs, and what it does about one (see ``hanging``).

Decides the two moments: after each commit, and on opening a partition after its fence.
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_streams.errors import MarkersLost
from bidplane_streams.lanes import changelog, hanging
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.slot import Slot


class Healer:
    """For all partitions of one lane; ``counts`` says how many partitions a topic has."""

    def __init__(self, conf: LaneConf, counts: dict[str, int]) -> None:
        """Nothing is connected yet."""
        self._conf = conf
        self._outputs = [
            TopicPartition(topic, partition)
            for topic in conf.outputs
            for partition in range(counts[topic])
        ]
        self._ends = hanging.Ends(conf)

    async def start(self) -> None:
        """Connect."""
        await self._ends.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._ends.stop()

    async def ended(
        self, slot: Slot, wrote: dict[TopicPartition, int], positions: dict[str, int]
    ) -> None:
        """Return once a committed transaction has ended wherever it wrote; see to it if need be.

        Raises:
            MarkersLost: it does not end.
        """
        hung = await self._ends.unpassed(wrote)
        if hung:
            await self._end(slot, hung, positions, commit=True)
            self._sure(slot, await self._ends.unpassed({tp: wrote[tp] for tp in hung}))

    async def opened(
        self, slot: Slot, applied: dict[str, int] | None, consumer: AIOKafkaConsumer
    ) -> bool:
        """End what an earlier owner of a fenced partition left open; whether there was anything.

        ``applied`` is the changelog's vector as readers of committed records see it.

        Raises:
            MarkersLost: it does not end.
        """
        hung = await self._ends.hanging([slot.rows_at, *self._outputs])
        group = {tp.topic: await consumer.committed(tp) for tp in slot.tps}
        if not hung and not hanging.is_behind(applied, group):
            return False
        rows_hang = slot.rows_at in hung
        pending = await changelog.pending(self._conf, slot.partition) if rows_hang else None
        commit = hanging.was_committed(applied, pending, group)
        await self._end(slot, hung, pending or applied or {}, commit=commit)
        self._sure(slot, await self._ends.hanging([slot.rows_at]))
        return True

    async def _end(
        self, slot: Slot, hung: set[TopicPartition], positions: dict[str, int], *, commit: bool
    ) -> None:
        conf = self._conf
        await hanging.end(conf, slot.producer, slot.partition, hung, positions, commit=commit)

    def _sure(self, slot: Slot, left: set[TopicPartition]) -> None:
        if left:
            raise MarkersLost(f"{self._conf.group}-{slot.partition}: no marker ends what hangs")
