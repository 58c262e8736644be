"""Agents against the real lanes: a real Kafka, a real worker, and a sink that binds every lease."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
import pytest_asyncio

import sdk_sink
from bidplane_agents.connection import Connection
from bidplane_streams.embedded import kafka, ports

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
BIDPLANE = (sys.executable, "-c", "from bidplane_agents import cli; cli.main()")
AGENT = "research/tuner"
TIMEOUT_S = 60.0


class Ran(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


class Installation:
    """A directory with a broker, a worker, a market and an agent."""

    def __init__(self, directory: Path, bootstrap: str) -> None:
        self.directory = directory
        self.environ = {
            **os.environ,
            "BIDPLANE_KAFKA": bootstrap,
            "BIDPLANE_DIR": str(directory / "state"),
            "BIDPLANE_DATA_DIR": str(directory / "worker"),
            "BIDPLANE_AGENT": AGENT,
            "BIDPLANE_WEB_PORT": str(ports.remembered(directory / "web.json", "web")["web"]),
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """A child process with the installation's environment."""
        return await asyncio.create_subprocess_exec(
            *arguments, env=self.environ, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str) -> Ran:
        """A command to its end."""
        child = await self.start(*arguments)
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await child.communicate()
        assert child.returncode is not None
        return Ran(child.returncode, out.decode(), err.decode())

    async def bidplane(self, *arguments: str, code: int = 0) -> str:
        """A command of ours that must exit with ``code``; its results, else its error line."""
        ran = await self.run(*BIDPLANE, *arguments)
        assert ran.code == code, ran.out + ran.err
        return ran.out if code == 0 else ran.err


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Everything that an agent needs, made by the command line."""
    directory = tmp_path_factory.mktemp("market")
    broker = kafka.Kafka(directory)
    await broker.start()
    try:
        made = Installation(directory, broker.bootstrap)
        await made.bidplane("topics", "apply")
        await made.bidplane("market", "create", "pool-a", "--window", "300ms", "--grace", "200ms")
        async with (
            working(made),
            sdk_sink.running(Connection(broker.bootstrap), "pool-a", 0),
        ):
            await registered(made)
            yield made
    finally:
        await broker.stop()


@contextlib.asynccontextmanager
async def working(made: Installation) -> AsyncIterator[None]:
    """A worker as a process, for the length of the block."""
    with (made.directory / "worker.log").open("wb") as log:
        worker = await asyncio.create_subprocess_exec(
            *BIDPLANE, "worker", env=made.environ, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()


async def registered(made: Installation) -> None:
    """Register the agent; the worker may still be starting."""
    for _ in range(4):
        ran = await made.run(*BIDPLANE, "agent", "register", AGENT, "--credits", "100")
        if ran.code == 0:
            return
    raise AssertionError(ran.err + (made.directory / "worker.log").read_text()[-3000:])


async def test_a_bid_is_won_bound_used_and_given_back(installation: Installation) -> None:
    """The whole of an agent's life by the command line; unused time is paid back."""
    bought = await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "2", "--minutes", "10", "--value", "3.50",
        "--wait", "--json",
    )  # fmt: skip
    bound = orjson.loads(bought)
    assert bound["kind"] == "bound"
    assert len(bound["devices"]) == 2
    held = orjson.loads(await installation.bidplane("allocations", "--json"))
    assert bound["lease_id"] in {lease["lease_id"] for lease in held["leases"]}
    story = await installation.bidplane("why", bound["bid_id"])
    assert "won" in story
    assert "next: Use the devices" in story
    ended = orjson.loads(await installation.bidplane("release", bound["lease_id"], "--json"))
    assert ended["kind"] == "ending"
    assert ended["epoch"] > bound["epoch"]
    assert "hold no such lease" in await installation.bidplane("release", bound["lease_id"], code=3)


async def test_agent_and_ledger_agree_on_the_balance(installation: Installation) -> None:
    """What the agent was told is what the ledger adds up to."""
    own = orjson.loads(await installation.bidplane("balance", "--json"))
    ledger = orjson.loads(await installation.bidplane("balance", AGENT, "--ledger", "--json"))
    assert own["available_micros"] == ledger["available_micros"] > 90_000_000
    assert own["held_micros"] == ledger["held_micros"] == 0


async def test_a_bid_for_nothing_that_exists_is_refused(installation: Installation) -> None:
    """Exit code 3 and the market's sentence."""
    line = await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "1", "--minutes", "1", "--value", "1",
        "--select", "productName=B300", "--wait", code=3,
    )  # fmt: skip
    assert "No pool of this market matches" in line
    line = await installation.bidplane(
        "bid", "--market", "nowhere", "--shape", "1", "--minutes", "1", "--value", "1", "--wait",
        code=3,
    )  # fmt: skip
    assert "No such market" in line


async def test_a_resting_bid_can_be_cancelled(installation: Installation) -> None:
    """The money that was held is free again."""
    bid = await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "1", "--minutes", "1", "--value", "1",
        "--not-before", "1h", "--rest", "2h",
    )  # fmt: skip
    answer = orjson.loads(await installation.bidplane("cancel", bid.strip(), "--json"))
    assert answer["kind"] == "cancelled"
    assert "settled" in await installation.bidplane("cancel", bid.strip(), code=3)


@pytest.mark.parametrize(
    ("example", "arguments", "said"),
    [("first_agent.py", ["pool-a"], "epoch"), ("elastic_agent.py", ["pool-a", "4"], "won: level")],
)
async def test_the_examples_run(
    installation: Installation, example: str, arguments: list[str], said: str
) -> None:
    """What the README shows works as it stands."""
    script = str(ROOT / "agents" / "examples" / example)
    ran = await installation.run(sys.executable, script, *arguments)
    assert ran.code == 0, ran.err
    assert said in ran.out


async def test_following_ends_quietly_at_ctrl_c(installation: Installation) -> None:
    """SIGINT is no error: exit code 130 and nothing on stderr."""
    child = await installation.start(
        *BIDPLANE, "allocations", "--follow", "--from-beginning", "--json"
    )
    assert child.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        first = orjson.loads(await child.stdout.readline())
        child.send_signal(signal.SIGINT)
        _, err = await child.communicate()
    assert first["kind"] == "registered"
    assert (child.returncode, err) == (130, b"")


async def test_the_log_obeys_the_contract_and_the_audit_passes(installation: Installation) -> None:
    """Every record that agents, lanes and sink wrote decodes, and every promise is kept."""
    counts = orjson.loads(await installation.bidplane("contract", "verify", "--live", "--json"))
    assert counts["records"]["bidplane.leases.v1"] > 0
    assert "all promises kept" in await installation.bidplane("audit")
