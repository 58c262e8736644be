"""Kafka that asks who is there: every process names itself, and may do what it must and no more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

import patience
from bidplane_agents import client, connection, errors, operator, placing, profiles, topology
from bidplane_streams.embedded import ports
from bidplane_streams.sinks import records
from bidplane_topics import registry, rights
from guarded_broker import GuardedKafka
from lane_broker import Broker

NAME = "research/tuner"
MARKET = "pool-a"
REFUSED = TopicAuthorizationFailedError.errno


class Guarded:
    """A guarded broker with a user for every component, topics, a market, an agent and a worker."""

    def __init__(self, broker: GuardedKafka, folder: Path) -> None:
        """Makes the users; the agent's tenant is the one whose topic it may read."""
        self.folder = folder
        self.users = {
            name: broker.admit(name, allowed)
            for name, allowed in rights.COMPONENTS.items()
            if name != "agent"
        }
        self.users["agent"] = broker.admit("agent", rights.agent("research"))
        self.worker_log = folder / "worker.log"
        self.profile = asyncio.run(self._found())

    def reached(self, user: str) -> connection.Connection:
        """Kafka, as this user."""
        return connection.from_environment(environ=self.users[user])

    async def _found(self) -> profiles.Profile:
        reached = self.reached("operator")
        await topology.apply(reached, registry.Partitions())
        async with operator.Operator(reached) as hand:
            await hand.create_market({"market": MARKET, "window_ms": 200})
            made = await hand.register_agent(NAME)
            await hand.grant(NAME, 5_000_000)
        assert made.profile is not None
        return made.profile

    async def fetched(self, user: str, topic: registry.Topic) -> int:
        """What the broker answers to a reader of the topic: 0, or the code of its refusal."""
        reached = self.reached(user)
        async with reached.administered() as admin:
            (described,) = await admin.describe_topics([topic.name])
        if described["error_code"]:
            return int(described["error_code"])
        place = TopicPartition(topic.name, 0)
        async with reached.opened(reached.consumer()) as reader:
            reader.assign([place])
            try:
                await reader.seek_to_beginning(place)
                await reader.getmany(place, timeout_ms=2000)
            except TopicAuthorizationFailedError as refused:
                return int(refused.errno)
        return 0

    def worker(self) -> subprocess.Popen[bytes]:
        """Lanes, router and usage, as the worker's user."""
        env = {
            **os.environ, **self.users["worker"], "BIDPLANE_INSTANCE": "guarded",
            "BIDPLANE_DATA_DIR": str(self.folder / "faust"),
            "BIDPLANE_WEB_PORT": str(ports.find_free()),
        }  # fmt: skip
        with self.worker_log.open("wb") as out:
            argv = [sys.executable, "-m", "bidplane_agents.cli", "worker"]
            return subprocess.Popen(argv, env=env, stdout=out, stderr=out)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Everything, and its end."""
    with Broker(tmp_path_factory.mktemp("guarded"), GuardedKafka) as broker:
        assert isinstance(broker.kafka, GuardedKafka)
        world = Guarded(broker.kafka, tmp_path_factory.mktemp("worker"))
        worker = world.worker()
        yield world
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


async def test_a_bid_is_answered_though_everyone_has_the_least_rights(guarded: Guarded) -> None:
    """An agent's bid is admitted, routed to its tenant's topic, and read there, by SCRAM on TLS."""
    place = placing.rigid(market=MARKET, shape="1", minutes=1, value="1.00")
    async with client.Client(guarded.profile, guarded.reached("agent")) as speaker:
        async with asyncio.timeout(60 * patience.FACTOR):
            bid_id = await speaker.bid(place)
            told = await speaker.wait_for(bid_id, {"held", "lost", "refused"}, command_id=bid_id)
    assert told.kind in {"held", "lost"}, told
    said = guarded.worker_log.read_text()
    assert "AuthorizationFailed" not in said, said[-3000:]


@pytest.mark.parametrize(
    "topic", [registry.ORDERS, registry.LEDGER, registry.BIDS, registry.allocations("lab")]
)
async def test_an_agent_reads_nobody_elses_business(
    guarded: Guarded, topic: registry.Topic
) -> None:
    """Orders, the ledger, other agents' bids and other tenants' outcomes are closed to it."""
    assert await guarded.fetched("agent", topic) == REFUSED


async def test_an_agent_reads_what_its_tenant_is_told(guarded: Guarded) -> None:
    """The same question about its own tenant's topic is answered."""
    assert await guarded.fetched("agent", registry.allocations("research")) == 0


async def test_a_sink_reads_leases_and_no_bids(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs as the claims sink reads its tables to the end, and is refused the orders."""
    _speak_as(monkeypatch, guarded.users["sink-claims"])
    kafka = guarded.users["sink-claims"]["BIDPLANE_KAFKA"]
    wake = asyncio.Event()
    markets: records.Table[Any] = records.Table(
        kafka, registry.MARKETS, records.market_or_node, wake
    )
    orders: records.Table[Any] = records.Table(kafka, registry.ORDERS, lambda _: "", wake)
    reading = [asyncio.create_task(table.run()) for table in (markets, orders)]
    until = patience.deadline(30)
    while not markets.synced:
        assert time.monotonic() < until, "the markets are not read"
        await asyncio.sleep(0.05)
    assert MARKET in markets.rows
    assert not orders.synced
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def test_a_wrong_password_is_one_sentence(guarded: Guarded, tmp_path: Path) -> None:
    """Who is refused learns that it may be the credentials, within ten seconds."""
    secret = tmp_path / "password"
    secret.write_text("wrong")
    environ = {**guarded.users["agent"], "BIDPLANE_KAFKA_SASL_PASSWORD_FILE": str(secret)}
    reached = connection.from_environment(environ=environ)
    with pytest.raises(errors.Unreachable, match="credentials"):
        async with reached.administered():
            pass


def _speak_as(monkeypatch: pytest.MonkeyPatch, user: Mapping[str, str]) -> None:
    for name, value in user.items():
        monkeypatch.setenv(name, value)
