"""When a lane looks for a transaction that hangs, and what it does about one (see ``hanging``).

Decides the three moments. Before the next transaction the one before must have ended on the
changelog, so at most one can hang there. Where else it wrote is looked at a second later, out of
its way: another commit to the same place would end it in the same manner. On opening a partition,
after its fence, every place is looked at that it may have written to.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bidplane_streams.errors import MarkersLost
from bidplane_streams.lanes import changelog, death, hanging
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.slot import Slot

_LOOK_S = 1.0
_LEAVE_S = 3.0


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

    def committed(
        self, slot: Slot, wrote: dict[TopicPartition, int], positions: dict[str, int]
    ) -> None:
        """Look at what was committed just now; ``slot.ended`` says when the next may begin."""
        name = f"{self._conf.group}-{slot.partition}"
        ended = self._rows_ended(slot, wrote.pop(slot.rows_at), positions)
        slot.ended = death.watched(ended, f"{name}-ended")
        slot.wrote |= wrote
        if slot.look is None or slot.look.done():
            slot.look = death.watched(self._look(slot), f"{name}-look")

    async def leave(self, slot: Slot) -> None:
        """See once more to what hangs: the next owner could not tell what it was."""
        # Cut short, an ending would itself be aborted by the next owner's fence.
        if slot.ending is not None:
            await asyncio.wait([slot.ending])
        if slot.ended is None or slot.look is None:
            return
        slot.look.cancel()
        # Without a broker nothing can be seen to, and a stop must not wait for one.
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.wait([slot.ended])
                await self._end_outputs(slot, await self._open_outputs(slot))
        slot.ended.cancel()
        await asyncio.wait([slot.ended, slot.look])
        if slot.ending is not None:
            await asyncio.wait([slot.ending])

    async def _look(self, slot: Slot) -> None:
        while slot.wrote:
            await asyncio.sleep(_LOOK_S)
            if hung := await self._open_outputs(slot):
                async with slot.lock:
                    if slot.revoked or slot.ended is None:
                        return
                    await slot.ended
                    await self._end_outputs(slot, hung)

    async def _rows_ended(self, slot: Slot, offset: int, positions: dict[str, int]) -> None:
        rows = {slot.rows_at: offset}
        if await self._ends.unpassed(rows):
            # With all that it wrote: ended in two steps, a death between them would part it.
            await self._end(slot, {slot.rows_at, *slot.wrote}, positions, commit=True)
            self._sure(slot, await self._ends.unpassed(rows))

    async def _open_outputs(self, slot: Slot) -> set[TopicPartition]:
        """Outputs below which something is open, of ours or of others who write there too."""
        wrote = dict(slot.wrote)
        hung = await self._ends.unpassed(wrote)
        for tp, offset in wrote.items():
            if tp not in hung and slot.wrote.get(tp) == offset:
                del slot.wrote[tp]
        return hung

    async def _end_outputs(self, slot: Slot, hung: set[TopicPartition]) -> None:
        """The caller sees to it that no transaction of this slot runs.

        They stay to be looked at: what is open there may be another's, and then this changes
        nothing.
        """
        if hung:
            await self._end(slot, hung, slot.applied, commit=True)

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
        positions, commit = applied, hanging.is_behind(applied, group)
        if not hung and not commit:
            return False
        if slot.rows_at in hung:
            from_ = await self._ends.stable(slot.rows_at)
            positions = await changelog.pending(self._conf, slot.partition, from_)
            commit = hanging.has_reached(applied, positions, group)
        await self._end(slot, hung, positions or {}, commit=commit)
        self._sure(slot, await self._ends.hanging([slot.rows_at]))
        return True

    async def _end(
        self, slot: Slot, hung: set[TopicPartition], positions: dict[str, int], *, commit: bool
    ) -> None:
        conf = self._conf
        slot.ending = asyncio.ensure_future(
            hanging.end(conf, slot.producer, slot.partition, hung, positions, commit=commit)
        )
        await asyncio.shield(slot.ending)

    def _sure(self, slot: Slot, left: set[TopicPartition]) -> None:
        if left:
            raise MarkersLost(f"{self._conf.group}-{slot.partition}: no marker ends what hangs")
