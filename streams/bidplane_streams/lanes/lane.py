"""A lane: consume, decide, produce, exactly once, for each partition it is given.

Decides when partitions open, when a decision runs, and that any error ends the process. Refuses to
know what is decided (``logic.Logic``). Public API of aiokafka and mode only. What makes it exact:

1. One transactional producer per partition. Its start fences and aborts the earlier owner, so it
   comes before anything is read. (One transaction for several partitions of a member is unsound:
   offset commits carry no member or generation, so a zombie would not be fenced.)
2. State, the vector of applied offsets, outputs and the group's offsets are one transaction. On
   open the vector must agree with the group; the consumer is sought explicitly.
3. The consumer moves only by the records that it hands to us. (Offsets have gaps: control records.)
4. One task polls for all open partitions and hands records on at once: aiokafka fetches nothing
   from a broker while a partition of it has unread data, so records must never wait inside it.
5. Nothing is repaired in place: see ``death``.

Tried and rejected: a poll per partition (p50 at 10,000/s 58 ms against 43); Faust's exactly_once
(outputs outside its transactions); ``@app.service`` (waits for Faust's own group: 5 s more after a
kill).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from mode import Service

from bidplane_streams import clock, metrics
from bidplane_streams.errors import AssignmentTorn, MarkersLost
from bidplane_streams.instruments import Series
from bidplane_streams.lanes import (
    changelog,
    clients,
    death,
    healing,
    measuring,
    opening,
    readiness,
    silence,
    transaction,
)
from bidplane_streams.lanes import logic as logics
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Effects, Logic
from bidplane_streams.lanes.shared import Shared
from bidplane_streams.lanes.slot import Slot

log = logging.getLogger(__name__)

_NOBODY = TopicPartition("__nobody__", 0)
# Longer than a coordinator takes to end a transaction, unless it is overloaded.
_RESTED_S = 0.1


class Lane(Service):
    """A member of a lane's group."""

    def __init__(
        self, conf: LaneConf, logic: Logic[Any], measures: measuring.Measures | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        """``options`` are those of mode's services."""
        super().__init__(**options)
        self.conf = conf
        self.logic = logic
        self.measures = measures or measuring.Nothing()
        self.slots: dict[int, Slot] = {}
        self.shared = Shared(conf, self._wake_all)
        self._consumer: AIOKafkaConsumer = None
        self._silence = silence.Silence(conf.name)
        self._healer: healing.Healer | None = None
        self._counts: dict[str, int] = {}
        self._fetch: asyncio.Future[Any] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._joined = False
        self._permits = asyncio.Semaphore(conf.transactions_max)

    # -- service ---------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Start in the background: the application and its web views need not wait for Kafka."""
        self._tasks = [
            death.watched(self._serve(), f"{self.conf.group}"),
            death.watched(self._share(), f"{self.conf.group}-shared"),
        ]

    async def on_stop(self) -> None:
        """Finish what runs, abort nothing: the next owner's fence aborts what was cut short."""
        try:
            async with asyncio.timeout(self.conf.stop_s):
                await self._release()
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(self._tasks)
                if self._consumer is not None:
                    await self._consumer.stop()
                if self._healer is not None:
                    await self._healer.stop()
        except TimeoutError as error:
            death.die(f"{self.conf.group}: unclean stop", error)

    def missing(self) -> str:
        """What it waits for before all that it was given is open; empty if nothing."""
        if self._consumer is None:
            return f"{self.conf.name} waits for Kafka and its topics"
        if not self._joined:
            return f"{self.conf.name} waits for its group to hand out partitions"
        opening_ = [str(slot.partition) for slot in self.slots.values() if not slot.open]
        if opening_:
            return f"{self.conf.name} opens partition {', '.join(opening_)}"
        read = [tp for slot in self.slots.values() if not slot.full for tp in slot.tps]
        return self._silence.words(self._consumer, read)

    def view(self) -> dict[str, Any]:
        """What the web view shows: per partition what is applied, what waits, the last commit."""
        return {
            str(slot.partition): {
                "open": slot.open, "applied": slot.applied, "waiting": slot.waiting(),
                "lag": self._lag(slot), "committed_ms": slot.committed_ms,
            }
            for slot in self.slots.values()
        }  # fmt: skip

    def _lag(self, slot: Slot) -> dict[str, int]:
        if not slot.open or slot.revoked:
            return {}
        ends = {tp.topic: self._consumer.highwater(tp) or 0 for tp in slot.tps}
        return {topic: max(0, end - slot.applied[topic]) for topic, end in ends.items()}

    async def _serve(self) -> None:
        self._counts = await readiness.topics(self.conf)
        partitions = self._counts[self.conf.inputs[0]]
        metrics.LANE_TOPIC_PARTITIONS.labels(self.conf.name).set(partitions)
        self._healer = healing.Healer(self.conf, self._counts)
        await self._healer.start()
        consumer = clients.member(self.conf)
        clients.calm_logs()
        await consumer.start()
        consumer.subscribe(list(self.conf.inputs), listener=_Listener(self))
        self._consumer = consumer
        while not self.should_stop:
            await self._poll()

    async def _share(self) -> None:
        await readiness.topics(self.conf)
        await self.shared.run()

    def _wake_all(self) -> None:
        for slot in self.slots.values():
            slot.wake.set()

    def _poke(self) -> None:
        # A cancelled getmany() has taken nothing: it reads its records after its last await.
        if self._fetch is not None:
            self._fetch.cancel()

    # -- ownership -------------------------------------------------------------------------------

    def assigned(self, tps: Iterable[TopicPartition]) -> None:
        """Start opening partitions: tasks only, since heartbeats are off inside the join."""
        topics: dict[int, set[str]] = {}
        self._joined = True
        for tp in tps:
            topics.setdefault(tp.partition, set()).add(tp.topic)
            self._consumer.pause(tp)
        for partition, found in sorted(topics.items()):
            if found != set(self.conf.inputs):
                raise AssignmentTorn(f"partition {partition}: got {sorted(found)} alone")
            slot = self.slots[partition] = Slot(self.conf, partition, self.shared)
            slot.task = death.watched(self._run(slot), f"{self.conf.group}-{partition}")

    async def released(self) -> None:
        """Give all partitions up, within the time that the group allows."""
        async with asyncio.timeout(self.conf.rebalance_ms / 1000 * 0.8):
            await self._release()

    async def _release(self) -> None:
        slots, self.slots = list(self.slots.values()), {}
        self._joined = False
        for slot in slots:  # before any await: from here on nothing is handed to them
            slot.revoked = True
        self._poke()
        await asyncio.gather(*(self._close(slot) for slot in slots))

    async def _close(self, slot: Slot) -> None:
        assert slot.task is not None
        async with slot.lock:  # the running transaction ends first
            slot.task.cancel()
        await asyncio.wait([slot.task])
        if self._healer is not None:
            await self._healer.leave(slot)
        if slot.producer is not None:
            await slot.producer.stop()

    async def _run(self, slot: Slot) -> None:
        await self._open(slot)
        gauge = metrics.LANE_PARTITIONS.labels(self.conf.name)
        gauge.inc()
        try:
            while not slot.revoked:
                await self._due(slot)
                async with self._permits, slot.lock:
                    if not slot.revoked:
                        await self._turn(slot)
                self._make_room(slot)
        finally:
            gauge.dec()
            self._forget(slot)

    async def _open(self, slot: Slot) -> None:
        conf, began_s = self.conf, clock.elapsed_s()
        assert self._healer is not None
        await self._fence(slot)
        restored = await changelog.restore(conf, self.logic, slot.partition)
        if await self._healer.opened(slot, restored.vector, self._consumer):
            restored = await changelog.restore(conf, self.logic, slot.partition)
        await self.shared.ready.wait()
        positions = await self._positions(slot, restored.vector or {})
        if slot.revoked:
            return
        for tp in slot.tps:
            self._consumer.seek(tp, positions[tp.topic])
            self._consumer.resume(tp)
        slot.begin(restored.state, positions)
        self.measures.opened(slot.partition, slot.state)
        self._poke()
        took_s = clock.elapsed_s() - began_s
        metrics.LANE_OPEN_S.labels(conf.name).observe(took_s)
        log.info(
            "%s-%d open after %.0f ms: %d rows restored, at %s",
            conf.group, slot.partition, took_s * 1000, restored.rows, positions,
        )  # fmt: skip

    async def _fence(self, slot: Slot) -> None:
        """Nobody else can commit this partition from here on."""
        conf = self.conf
        slot.producer = clients.transactor(conf, slot.partition)
        try:
            async with asyncio.timeout(conf.fence_s):
                await slot.producer.start()
        except TimeoutError:
            told = f"{conf.transactional_id(slot.partition)}: its coordinator gives no new epoch"
            raise MarkersLost(f"{told}; restart the broker that leads its transactions") from None

    async def _positions(self, slot: Slot, vector: dict[str, int]) -> dict[str, int]:
        firsts = await self._consumer.beginning_offsets(slot.tps)
        positions = {
            topic: opening.start(topic, vector.get(topic), None, self.shared.first[topic])
            for topic in self.conf.globals_
        }
        for tp in slot.tps:
            committed = await self._consumer.committed(tp)
            applied = vector.get(tp.topic)
            positions[tp.topic] = opening.start(tp.topic, applied, committed, firsts[tp])
        return positions

    # -- reading ---------------------------------------------------------------------------------

    async def _poll(self) -> None:
        owners = {tp: s for s in self.slots.values() if s.open and not s.full for tp in s.tps}
        for tp, slot in owners.items():
            if not slot.revoked:
                slot.check_unmoved(tp, await self._consumer.position(tp))
        got = await self._getmany(list(owners))
        for tp, slot in owners.items():
            if not slot.revoked:
                position = await self._consumer.position(tp)
                slot.receive(tp, logics.records(got.get(tp, ())), position)
                self._hold_back(slot)
        self._measure(owners)

    async def _getmany(self, tps: list[TopicPartition]) -> dict[TopicPartition, Any]:
        # With none open, poll one that nobody has: errors of aiokafka's background tasks surface
        # only in polls. All records at once, so that none stay behind in the consumer.
        self._fetch = asyncio.ensure_future(
            self._consumer.getmany(*(tps or [_NOBODY]), timeout_ms=1000, max_records=1_000_000)
        )
        try:
            await asyncio.wait([self._fetch])
            return {} if self._fetch.cancelled() else self._fetch.result()
        finally:
            self._fetch.cancel()
            self._fetch = None

    def _hold_back(self, slot: Slot) -> None:
        if not slot.full and slot.waiting() >= self.conf.buffer_records:
            slot.full = True
            self._consumer.pause(*slot.tps)

    def _make_room(self, slot: Slot) -> None:
        if slot.full and not slot.revoked and slot.waiting() < self.conf.buffer_records // 2:
            slot.full = False
            self._consumer.resume(*slot.tps)
            self._poke()

    def _measure(self, owners: dict[TopicPartition, Slot]) -> None:
        for slot in set(owners.values()):
            if not slot.revoked:
                name, partition = self.conf.name, str(slot.partition)
                lags = self._lag(slot).items()
                series: Series = {(name, topic, partition): lag for topic, lag in lags}
                metrics.LANE_LAG_RECORDS.put((name, partition), series)

    def _forget(self, slot: Slot) -> None:
        self.measures.closed(slot.partition)
        metrics.LANE_LAG_RECORDS.drop((self.conf.name, str(slot.partition)))

    # -- deciding --------------------------------------------------------------------------------

    async def _due(self, slot: Slot) -> None:
        now_ms = clock.now_ms()
        close_ms = self.logic.next_close_ms(slot.state, now_ms)
        slot.due_ms = close_ms or 0
        if close_ms is None:
            await slot.wake.wait()
        else:
            await asyncio.sleep(max(1, close_ms - now_ms) / 1000)

    async def _turn(self, slot: Slot) -> None:
        conf, batch = self.conf, slot.take(self.conf.records_max)
        began_s = clock.elapsed_s()
        effects = await self._decide(slot, batch)
        decided_s = clock.elapsed_s()
        metrics.LANE_DECIDE_S.labels(conf.name).observe(decided_s - began_s)
        if effects is None:
            return
        assert self._healer is not None
        if slot.ended is not None:
            await slot.ended
        rested = clock.elapsed_s() - slot.committed_s > _RESTED_S
        wrote = await transaction.commit(
            conf, slot.producer, slot.partition, batch, effects, rested=rested
        )
        slot.advance(batch)
        slot.committed_ms, slot.committed_s = clock.now_ms(), clock.elapsed_s()
        self._healer.committed(slot, wrote, batch.positions)
        if effects.notes is not None:
            moments = measuring.Moments(slot.due_ms, slot.committed_ms)
            self.measures.committed(slot.partition, effects.notes, moments)
        metrics.LANE_TRANSACTION_S.labels(conf.name).observe(clock.elapsed_s() - decided_s)
        for topic, records in batch.records.items():
            metrics.LANE_RECORDS.labels(conf.name, topic).inc(len(records))
        for (topic, _), outputs in effects.outputs.items():
            metrics.EMITTED.labels(conf.name, topic).inc(len(outputs))

    async def _decide(self, slot: Slot, batch: logics.Batch) -> Effects | None:
        given = (slot.state, slot.partition, batch, clock.now_ms())
        if self.logic.threaded:
            return await asyncio.to_thread(self.logic.decide, *given)
        return self.logic.decide(*given)


class _Listener(ConsumerRebalanceListener):
    """Hands rebalances on. What a listener raises is swallowed, so watched tasks do the work."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Give up everything: the range assignor's protocol is eager."""
        del revoked
        await asyncio.wait([death.watched(self._lane.released(), "revoke")])

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Open what was given."""
        if not self._lane.should_stop:
            await asyncio.wait([death.watched(self._assign(assigned), "assign")])

    async def _assign(self, assigned: Iterable[TopicPartition]) -> None:
        self._lane.assigned(assigned)
