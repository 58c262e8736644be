"""The log read from Kafka, from its beginning to the ends it has when the reading starts.

Decides where the log ends. A transaction's records become readable partition by partition, so one
look at the ends could cut through it: what is readable at the first look is judged, and what
appears until the second look, a moment later, is evidence only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_agents.audit.contents import READ
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.log import Log
from bidplane_agents.connection import REACH_TIMEOUT_S, Connection
from bidplane_agents.errors import BadInput, Unreachable
from bidplane_topics import registry

# Effects before causes, as the ends are asked for in this order: the log never holds an effect
# without what caused it.
STAGES: Final = (
    (
        registry.LEDGER, registry.OUTCOMES, registry.ROUNDS, registry.LEASES,
        *(registry.dead_letters(topic) for topic in registry.DEAD_LETTERED),
    ),
    (registry.SETTLEMENTS, registry.TRANSIT),
    (registry.ORDERS,),
    (
        registry.BIDS, registry.SUPPLY, registry.REPORTS, registry.MARKETS, registry.AGENTS,
        registry.ACCOUNTS,
    ),
)  # fmt: skip
assert {topic.name for stage in STAGES for topic in stage} >= {topic.name for topic in READ}
# Longer than a commit takes to reach every partition of its transaction.
SETTLE_S: Final = 2.0
STALL_TIMEOUT_S: Final = 60.0
POLL_MS: Final = 500


async def read_log(connection: Connection, progress: Callable[[str], None]) -> Log:
    """Read all that the audit needs.

    Raises:
        Unreachable: Kafka does not answer, or stops answering.
        BadInput: a topic is not there, or this user may not read it.
    """
    stages = await _stages(connection)
    places = [place for stage in stages for place in stage]
    client = connection.consumer(isolation_level="read_committed")
    async with connection.opened(client) as consumer:
        with connection.reaching():
            firsts = await _asked(consumer.beginning_offsets(places))
            settled = await _ends(consumer, stages)
            await asyncio.sleep(SETTLE_S)
            ends = await _ends(consumer, stages)
            consumer.assign(places)
            for place in places:
                consumer.seek(place, firsts[place])
            log = Log((), _plain(firsts), _plain(settled))
            await _read(consumer, places, ends, log, progress)
    return log


async def _asked(answer: Any) -> Any:
    async with asyncio.timeout(REACH_TIMEOUT_S):
        return await answer


async def _stages(connection: Connection) -> list[list[TopicPartition]]:
    """The partitions there are, by stage; a consumer knows those of its own topics only."""
    async with connection.administered() as admin:
        with connection.reaching():
            there = await _asked(admin.list_topics())
            names = [topic.name for stage in STAGES for topic in stage]
            _refuse_a_part(connection, [name for name in names if name not in there])
            described = await _asked(admin.describe_topics(names))
    partitions = {
        one["topic"]: sorted(part["partition"] for part in one["partitions"]) for one in described
    }
    return [
        [TopicPartition(topic.name, one) for topic in stage for one in partitions[topic.name]]
        for stage in STAGES
    ]


def _refuse_a_part(connection: Connection, missing: list[str]) -> None:
    """A verdict on a part of the log would look like one on the whole."""
    if len(missing) == sum(map(len, STAGES)):
        raise BadInput(
            f"Kafka at {connection.bootstrap} holds no topics of bidplane: name the right one with "
            "--kafka, or make them with `bidplane topics apply`"
        )
    if missing:
        raise BadInput(
            f"Kafka at {connection.bootstrap} holds no {', '.join(missing)}, or this user may not "
            "read it: make it with `bidplane topics apply`, or give this user the auditor's rights"
        )


async def _ends(
    consumer: AIOKafkaConsumer, stages: list[list[TopicPartition]]
) -> dict[TopicPartition, int]:
    ends: dict[TopicPartition, int] = {}
    for stage in stages:
        if stage:
            ends |= await _asked(consumer.end_offsets(stage))
    return ends


async def _read(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], ends: dict[TopicPartition, int],
    log: Log, progress: Callable[[str], None],
) -> None:  # fmt: skip
    open_places = {place for place in places if ends[place] > 0}
    clock = asyncio.get_running_loop().time
    moved_s = clock()
    while open_places:
        # Markers and compaction leave offsets without records: the position tells, not the records.
        positions = {place: await _asked(consumer.position(place)) for place in open_places}
        done = {place for place, position in positions.items() if position >= ends[place]}
        open_places -= done
        if done:
            consumer.pause(*done)
        polled = await consumer.getmany(*open_places, timeout_ms=POLL_MS) if open_places else {}
        if polled or done:
            moved_s = clock()
        elif clock() - moved_s > STALL_TIMEOUT_S:
            raise Unreachable(f"Kafka stopped answering with {len(open_places)} partitions to read")
        for place, records in polled.items():
            for raw in records:
                if raw.offset < ends[place]:
                    log.add(_record(raw))
        if polled:
            progress(f"{len(log)} records read")


def _record(raw: Any) -> Record:
    headers = tuple((name, value) for name, value in raw.headers)
    return Record(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, headers)


def _plain(marks: dict[TopicPartition, int]) -> dict[tuple[str, int], int]:
    return {(place.topic, place.partition): offset for place, offset in marks.items()}
