"""The router: copies each outcome, byte for byte, to the topic that its tenant's agents read.

Decides targets and makes a tenant's topic when it is first needed. At least once: an outcome may be
copied again after a crash, and its id, which is content, makes that harmless. Refuses to read any.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from mode import Service

from bidplane_streams import clock, metrics
from bidplane_streams.errors import LaneError
from bidplane_streams.lanes import batches, clients, death, readiness, silence
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.logic import Output
from bidplane_topics import registry

log = logging.getLogger(__name__)

_POLL_MS = 1000
# A commit of every copy was a round trip in each outcome's way.
_COMMIT_MS = 200
_TARGETS_MAX = 10_000
_STOP_S = 5.0


class Router(Service):
    """A member of the router's group. ``conf.inputs`` is the outcomes topic alone."""

    def __init__(self, conf: LaneConf, **options: Any) -> None:
        """``options`` are those of mode's services."""
        super().__init__(**options)
        self.conf = conf
        self.routed = 0
        self.last_ms = 0
        self._consumer: AIOKafkaConsumer | None = None
        self._silence = silence.Silence(conf.name)
        self._known: set[str] = set()
        self._targets: dict[bytes | None, str] = {}
        self._uncommitted = False
        self._committed_ms = 0
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start in the background."""
        self._task = death.watched(self._run(), self.conf.group)

    async def on_stop(self) -> None:
        """Stop; what was copied but not committed is copied again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_S)

    def missing(self) -> str:
        """What it waits for before it copies; empty if nothing."""
        if self._consumer is None:
            return f"{self.conf.name} waits for Kafka and its topics"
        return self._silence.words(self._consumer, self._consumer.assignment())

    def view(self) -> dict[str, Any]:
        """What the web view shows."""
        return {"routed": self.routed, "last_ms": self.last_ms, "tenants": len(self._known)}

    async def _run(self) -> None:
        await readiness.topics(self.conf)
        consumer = clients.follower(self.conf)
        producer = clients.repeater(self.conf)
        admin = clients.admin(self.conf.access, self.conf.group)
        clients.calm_logs()
        try:
            await admin.start()
            await producer.start()
            await consumer.start()
            self._consumer = consumer
            while not self.should_stop:
                await self._turn(consumer, producer, admin)
        finally:
            self._consumer = None
            await consumer.stop()
            await producer.stop()
            await admin.close()

    async def _turn(
        self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient
    ) -> None:
        wait_ms = _COMMIT_MS if self._uncommitted else _POLL_MS
        got = await consumer.getmany(timeout_ms=wait_ms, max_records=self.conf.records_max)
        copies: dict[str, list[Output]] = {}
        for found in got.values():
            for record in found:
                target = self._targets.get(record.key) or self._target(record.key)
                copies.setdefault(target, []).append(Output(record.key, record.value))
        for topic in sorted(set(copies) - self._known):
            await self._ensure(admin, topic)
        sent = [
            batch
            for topic, outputs in copies.items()
            for batch in await batches.send(producer, topic, 0, outputs)
        ]
        await asyncio.gather(*sent)
        for tp, found in got.items():
            self.routed += len(found)
            metrics.ROUTED.labels(tp.partition).inc(len(found))
        await self._commit(consumer, moved=bool(got))

    async def _commit(self, consumer: AIOKafkaConsumer, *, moved: bool) -> None:
        """Now and then: what was copied since is copied again after a crash, as it always may."""
        now_ms = clock.now_ms()
        self.last_ms = now_ms if moved else self.last_ms
        self._uncommitted = self._uncommitted or moved
        if self._uncommitted and (not moved or now_ms - self._committed_ms >= _COMMIT_MS):
            await consumer.commit()
            self._uncommitted, self._committed_ms = False, now_ms

    def _target(self, key: bytes | None) -> str:
        if len(self._targets) >= _TARGETS_MAX:
            self._targets.clear()
        return self._targets.setdefault(key, _topic(key))

    async def _ensure(self, admin: AIOKafkaAdminClient, name: str) -> None:
        row = registry.by_name(name)
        # aiokafka cannot leave it to the broker: as many replicas as the outcomes have.
        (outcomes,) = await admin.describe_topics(list(self.conf.inputs))
        replicas = len(outcomes["partitions"][0]["replicas"])
        wanted = NewTopic(name, 1, replicas, topic_configs=row.config())
        answer = await admin.create_topics([wanted])
        for _, code, message in answer.topic_errors:
            error = for_code(code)
            if code != 0 and error is not TopicAlreadyExistsError:
                raise LaneError(f"{name} cannot be made: {error.__name__}: {message}")
        self._known.add(name)


def _topic(key: bytes | None) -> str:
    """The topic of the tenant in an outcome's key, which is ``tenant/agent``."""
    return registry.allocations((key or b"").decode().partition("/")[0]).name
