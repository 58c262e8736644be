"""What is wrong with a Kafka: topics, markets, lanes that lag, sinks that are silent, clocks.

Decides what counts as late, from the markets' own rules. Reads; writes nothing, joins no group.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bidplane_agents import log, surveying
from bidplane_agents.connection import Connection
from bidplane_streams.doctor.findings import Finding
from bidplane_topics import registry, reports
from bidplane_topics.markets import MarketDeclared

APP: Final = "bidplane"
LANES: Final = ("accounts", "markets", "router")
LAG_MOST: Final = 10_000
CLOCKS_APART_MS: Final = 5_000
# Offsets to look back for a heartbeat and a round: their markers count too.
BACK: Final = 400


async def examine(connection: Connection, app: str = APP) -> list[Finding]:
    """Everything about Kafka.

    Raises:
        Unreachable: it does not answer.
    """
    seen = await surveying.survey(connection)
    found = list(_topics(seen))
    there = set(seen.there)
    if there:
        found += await _lanes(connection, app)
        found += await _letters(connection, there)
    if not seen.markets:
        found.append(
            Finding(
                severity="warning", what="no market is declared", where=registry.MARKETS.name,
                todo="`bidplane market create NAME`",
            )
        )  # fmt: skip
    if registry.REPORTS.name in there:
        found += await _sinks(connection, seen.markets)
        found += await _rounds(connection, seen.markets)
    return found


def _topics(seen: surveying.Survey) -> Iterator[Finding]:
    for name in seen.missing:
        yield Finding(
            severity="error", what="the topic is missing", where=name,
            todo="`bidplane topics apply`",
        )  # fmt: skip
    for one in seen.drift:
        breaks = one.what == "partitions"
        yield Finding(
            severity="error" if breaks else "differs",
            what=f"{one.what} is {one.found or 'unset'}, the registry says {one.wanted}",
            where=one.topic,
            todo="counts never change: move to a Kafka with equal ones" if breaks
            else f"set {one.what}={one.wanted} on the topic",
        )  # fmt: skip


async def _lanes(connection: Connection, app: str) -> list[Finding]:
    found: list[Finding] = []
    async with connection.administered() as admin:
        with connection.reaching():
            for lane in LANES:
                found += await _lane(connection, admin, f"{app}-{lane}")
    return found


async def _lane(connection: Connection, admin: AIOKafkaAdminClient, group: str) -> list[Finding]:
    (answer,) = await admin.describe_consumer_groups([group])
    (described,) = answer.to_object()["groups"]
    if not described["members"]:
        return [
            Finding(
                severity="error", what="no worker serves it", where=f"group {group}",
                todo="start `bidplane worker`, and look at its log",
            )
        ]  # fmt: skip
    committed = await admin.list_consumer_group_offsets(group)
    async with connection.opened(connection.consumer()) as reader:
        ends = await reader.end_offsets(list(committed))
    lag = {place: ends[place] - kept.offset for place, kept in committed.items()}
    return [
        Finding(
            severity="warning", what=f"{behind} records behind",
            where=f"group {group}, {place.topic}/{place.partition}",
            todo="look at bidplane_lane_transaction_seconds; more workers share the partitions",
        )
        for place, behind in sorted(lag.items())
        if behind > LAG_MOST
    ]  # fmt: skip


async def _letters(connection: Connection, there: set[str]) -> list[Finding]:
    names = [registry.dead_letters(topic).name for topic in registry.DEAD_LETTERED]
    async with connection.opened(connection.consumer()) as reader:
        with connection.reaching():
            counts = {name: await _kept(reader, name) for name in names if name in there}
    return [
        Finding(
            severity="warning", what=f"{count} dead letters are kept", where=name,
            todo="a worker's /dead-letters says why",
        )
        for name, count in counts.items()
        if count
    ]  # fmt: skip


async def _kept(reader: Any, name: str) -> int:
    reader.assign([TopicPartition(name, 0)])
    await reader.end_offsets([TopicPartition(name, 0)])  # teaches it the partitions
    places = [TopicPartition(name, one) for one in sorted(reader.partitions_for_topic(name) or ())]
    begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    return sum(ends[place] - begins[place] for place in places)


async def _sinks(connection: Connection, declared: dict[str, MarketDeclared]) -> list[Finding]:
    heard: dict[str, int] = {}
    async for record, event in log.events(connection, registry.REPORTS, last=BACK):
        if isinstance(event, reports.SinkAlive):
            heard[event.market] = max(heard.get(event.market, 0), record.timestamp_ms)
    now_ms, found = time.time_ns() // 1_000_000, []
    for name, rules in sorted(declared.items()):
        silent_ms = now_ms - heard.get(name, 0)
        if silent_ms > rules.stale_after_ms:
            since = f"for {silent_ms / 1000:.0f} s" if name in heard else "as far as is kept"
            found.append(
                Finding(
                    severity="error", where=f"market {name}", todo="start `bidplane sink claims`",
                    what=f"its claims sink is silent {since}: nothing is sold",
                )
            )  # fmt: skip
        elif silent_ms < -CLOCKS_APART_MS:
            found.append(_apart("the broker's", "this machine's", -silent_ms, name))
    return found


async def _rounds(connection: Connection, declared: dict[str, MarketDeclared]) -> list[Finding]:
    last: dict[str, tuple[int, Any]] = {}
    async for record, event in log.events(connection, registry.ROUNDS, last=BACK):
        last[event.market] = (record.timestamp_ms, event)
    found = []
    for name in sorted(declared):
        if name not in last:
            found.append(
                Finding(
                    severity="warning", what="it has never cleared a round", where=f"market {name}",
                    todo="is its inventory source running? `bidplane source inventory`",
                )
            )  # fmt: skip
            continue
        appended_ms, closed = last[name]
        apart_ms = appended_ms - closed.closed_at_ms
        if abs(apart_ms) > CLOCKS_APART_MS:
            found.append(_apart("the broker's", "the worker's", apart_ms, name))
        if not closed.units_total:
            found.append(
                Finding(
                    severity="error", what="no device is offered in it", where=f"market {name}",
                    todo="is its inventory source running, and are there ResourceSlices?",
                )
            )  # fmt: skip
    return found


def _apart(one: str, other: str, by_ms: int, market: str) -> Finding:
    return Finding(
        severity="warning", where=f"market {market}", todo="set the clocks by NTP",
        what=f"{one} clock and {other} are {by_ms / 1000:.1f} s apart",
    )  # fmt: skip
