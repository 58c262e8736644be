"""Kafka clients with the settings that exactness needs, and the guard of their log.

Decides every option of aiokafka that a lane relies on. Refuses to know what is read or written.
"""

from __future__ import annotations

import logging

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from bidplane_streams import clock
from bidplane_streams.lanes.conf import Access, LaneConf

_QUIET_S = 10.0
_ASSIGN_BYTES = 8 << 20


def member(conf: LaneConf) -> AIOKafkaConsumer:
    """The group member that reads a lane's inputs.

    Range: partition p of every input goes to one member (round robin, the default, does not promise
    it). No reset: we seek, and a reset behind our back would be a silent gap.
    """
    return AIOKafkaConsumer(
        **conf.access.options(),
        group_id=conf.group, group_instance_id=f"{conf.group}-{conf.instance}",
        client_id=f"{conf.group}-{conf.instance}",
        partition_assignment_strategy=(RangePartitionAssignor,),
        enable_auto_commit=False, isolation_level="read_committed", auto_offset_reset="none",
        session_timeout_ms=conf.session_ms, heartbeat_interval_ms=conf.heartbeat_ms,
        rebalance_timeout_ms=conf.rebalance_ms, fetch_max_wait_ms=conf.fetch_wait_ms,
        max_partition_fetch_bytes=4 << 20, request_timeout_ms=30_000,
    )  # fmt: skip


def reader(
    access: Access, client_id: str, fetch_wait_ms: int = 200, *, committed: bool = True
) -> AIOKafkaConsumer:
    """A consumer without a group, for what is read by assignment."""
    return AIOKafkaConsumer(
        **access.options(), group_id=None, client_id=client_id, enable_auto_commit=False,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=fetch_wait_ms, max_partition_fetch_bytes=_ASSIGN_BYTES,
    )  # fmt: skip


def follower(conf: LaneConf) -> AIOKafkaConsumer:
    """A group member that reads at least once: offsets are committed after the effect."""
    return AIOKafkaConsumer(
        *conf.inputs, **conf.access.options(),
        group_id=conf.group, group_instance_id=f"{conf.group}-{conf.instance}",
        client_id=f"{conf.group}-{conf.instance}", enable_auto_commit=False,
        isolation_level="read_committed", auto_offset_reset="earliest",
        session_timeout_ms=conf.session_ms, heartbeat_interval_ms=conf.heartbeat_ms,
        rebalance_timeout_ms=conf.rebalance_ms, fetch_max_wait_ms=conf.idle_fetch_ms,
    )  # fmt: skip


def repeater(conf: LaneConf) -> AIOKafkaProducer:
    """An idempotent producer without transactions, for batches that are ready as they are."""
    return AIOKafkaProducer(
        **conf.access.options(), client_id=conf.group, acks="all", enable_idempotence=True,
        linger_ms=0, max_batch_size=conf.batch_bytes, retry_backoff_ms=20,
    )  # fmt: skip


def transactor(conf: LaneConf, partition: int) -> AIOKafkaProducer:
    """The producer whose start fences every earlier owner of ``partition``."""
    name = conf.transactional_id(partition)
    return AIOKafkaProducer(
        **conf.access.options(), transactional_id=name, client_id=name, acks="all", linger_ms=0,
        max_batch_size=conf.batch_bytes, transaction_timeout_ms=conf.transaction_ms,
        retry_backoff_ms=conf.retry_backoff_ms,
    )  # fmt: skip


def admin(access: Access, client_id: str) -> AIOKafkaAdminClient:
    """An administration client."""
    return AIOKafkaAdminClient(**access.options(), client_id=client_id)


class Once(logging.Filter):
    """Lets a sentence through once in ten seconds: a broker that is down is said, not recited."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        said, now_s = self._said_s.get(str(record.msg)), clock.elapsed_s()
        if said is not None and now_s - said < _QUIET_S:
            return False
        self._said_s[str(record.msg)] = now_s
        return True


def calm_logs() -> None:
    """Rate-limit aiokafka's loggers: a broker that was down once filled 39,000 lines."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if name.startswith("aiokafka") and not any(isinstance(f, Once) for f in logger.filters):
            logger.addFilter(Once())
