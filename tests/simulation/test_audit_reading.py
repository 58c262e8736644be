"""The log that comes from a real broker is the log that was written there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiokafka.admin import NewTopic

from bidplane_agents.audit import command, reading
from bidplane_agents.audit.heap import Record
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_streams.embedded import kafka
from bidplane_topics import registry
from simulation.audit_world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Connection]:
    """A broker without topics."""
    broker = kafka.Kafka(tmp_path_factory.mktemp("audit"))
    await broker.start()
    try:
        yield Connection(broker.bootstrap)
    finally:
        await broker.stop()


async def _create(connection: Connection) -> None:
    """Topics that keep the writers' times, so that a made-up log stays as it is."""
    async with connection.administered() as admin:
        names = [topic.name for topic in registry.all_topics()]
        await admin.create_topics([NewTopic(name, 2, 1) for name in names])


async def _write(connection: Connection, records: list[Record]) -> None:
    async with connection.opened(connection.producer()) as producer:
        sent = [
            await producer.send(
                one.topic, one.value, one.key, one.partition, one.timestamp_ms,
                headers=list(one.headers),
            )
            for one in records
        ]  # fmt: skip
        await asyncio.gather(*sent)


async def test_a_real_broker_is_read_whole_and_judged(
    connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker without topics is refused, a sound log exits 0, one repetition more exits 5."""
    with pytest.raises(BadInput, match="topics apply"):
        await reading.read_log(connection, print)
    world = World(4, markers=False)
    world.run(12)
    await _create(connection)
    await _write(connection, world.broker.records)
    assert await asyncio.to_thread(command.run, connection.bootstrap, as_json=True) == 0
    verdict = orjson.loads(capsys.readouterr().out)
    assert verdict["records"] == len(world.broker.records)
    again = [one for one in world.broker.records if one.topic == registry.SETTLEMENTS.name][-1]
    await _write(connection, [again])
    assert await asyncio.to_thread(command.run, connection.bootstrap, as_json=True) == 5
    first = orjson.loads(capsys.readouterr().out)["first"]
    assert (first["topic"], first["partition"]) == again.place


async def test_a_saved_copy_of_a_broker_gives_the_same_verdict(
    connection: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What --save takes from a broker, --load judges alike without one."""
    copy = str(tmp_path / "copy")
    code = await asyncio.to_thread(command.run, connection.bootstrap, as_json=True, save=copy)
    first = capsys.readouterr().out
    assert command.run("", as_json=True, load=copy) == code
    assert capsys.readouterr().out == first
