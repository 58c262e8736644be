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
from bidplane_streams.lanes import clients, death, readiness
from bidplane_streams.lanes.conf import LaneConf
from bidplane_topics import registry

log = logging.getLogger(__name__)

_POLL_MS = 1000
_STOP_S = 5.0


class Router(Service):
    """A member of the router's group. ``conf.inputs`` is the outcomes topic alone."""

    def __init__(self, conf: LaneConf, **options: Any) -> None:
        """``options`` are those of mode's services."""
        super().__init__(**options)
        self.conf = conf
        self.routed = 0
        self.last_ms = 0
        self._known: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start in the background."""
        self._task = death.watched(self._run(), self.conf.group)

    async def on_stop(self) -> None:
        """Stop; what was copied but not committed is copied again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_S)

    def view(self) -> dict[str, Any]:
        """What the web view shows."""
        return {"routed": self.routed, "last_ms": self.last_ms, "tenants": len(self._known)}

    async def _run(self) -> None:
        await readiness.topics(self.conf)
        consumer = clients.follower(self.conf)
        producer = clients.repeater(self.conf.access, self.conf.group)
        admin = clients.admin(self.conf.access, self.conf.group)
        clients.calm_logs()
        try:
            await admin.start()
            await producer.start()
            await consumer.start()
            while not self.should_stop:
                await self._turn(consumer, producer, admin)
        finally:
            await consumer.stop()
            await producer.stop()
            await admin.close()

    async def _turn(
        self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient
    ) -> None:
        got = await consumer.getmany(timeout_ms=_POLL_MS, max_records=self.conf.records_max)
        records = [record for found in got.values() for record in found]
        if not records:
            return
        targets = {record.key: _topic(record.key) for record in records}
        for topic in sorted(set(targets.values()) - self._known):
            await self._ensure(admin, topic)
        sent = [
            await producer.send(targets[r.key], r.value, key=r.key, partition=0) for r in records
        ]
        await asyncio.gather(*sent)
        await consumer.commit()
        self.routed += len(records)
        self.last_ms = clock.now_ms()
        for tp, found in got.items():
            metrics.ROUTED.labels(tp.partition).inc(len(found))

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
