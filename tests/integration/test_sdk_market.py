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
from bidplane_agents import placing
from bidplane_agents.client import Client
from bidplane_agents.connection import Connection
from bidplane_streams.embedded import kafka, ports
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection

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
        await made.bidplane("market", "create", "pool-a", "--window", "300ms", "--grace", "200ms",
                            "--pending", "20s")  # fmt: skip
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


async def test_a_preemptible_lease_goes_on_until_somebody_bids_more(
    installation: Installation,
) -> None:
    """Term follows term under one epoch; who is outbid hears the reason and the price."""
    told: list[OutcomeReported] = []
    mine = Client.from_environment(
        AGENT, kafka=installation.environ["BIDPLANE_KAFKA"],
        directory=installation.environ["BIDPLANE_DIR"],
    )  # fmt: skip
    async with mine as client, asyncio.timeout(TIMEOUT_S):
        leasing = client.preemptible(
            market="pool-a", shape="8", minutes=0.05, value="1", on_notice=told.append
        )
        async with leasing as lease:
            first_ms, epoch = lease.ends_at_ms, lease.epoch
            while lease.ends_at_ms < first_ms + 2 * 3000:
                await asyncio.sleep(0.1)
            assert lease.live
            held = orjson.loads(await installation.bidplane("allocations", "--json"))
            (seen,) = (one for one in held["leases"] if one["lease_id"] == lease.lease_id)
            assert (seen["state"], seen["epoch"]) == ("bound", epoch)
            rival = placing.rigid(
                market="pool-a", shape="16", minutes=0.05, value="20",
                rest_until_ms=lease.ends_at_ms + 20_000,
            )  # fmt: skip
            bid_id = await client.bid(rival)
            lost = await lease.notice()
            assert (lost.kind, lost.reason) == ("lost", Rejection.OUTBID)
            assert int(lost.evidence["price_micros_per_unit_slot"]) > 0
            assert (await lease.ended()).epoch > epoch
            await client.wait_for(bid_id, {"bound"})
    assert told == [lost]
    await installation.bidplane("audit")


async def test_a_lease_is_renewed_by_hand(installation: Installation) -> None:
    """`bidplane renew --wait` prints the new end; what cannot be renewed is said in one line."""
    bought = await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "2", "--minutes", "0.1", "--value", "3.50",
        "--wait", "--json",
    )  # fmt: skip
    bound = orjson.loads(bought)
    said = await installation.bidplane(
        "renew", bound["lease_id"], "--minutes", "1", "--value", "1", "--wait", "--json"
    )
    assert orjson.loads(said)["ends_at_ms"] == bound["ends_at_ms"] + 60_000
    await installation.bidplane("release", bound["lease_id"])
    late = await installation.bidplane(
        "renew", bound["lease_id"], "--minutes", "1", "--value", "1", code=2
    )
    assert "no bound lease of yours" in late
    limits = await installation.bidplane(
        "renew", "lx", "--minutes", "1", "--value", "1", "--spend", "2", code=2
    )
    assert "--keep" in limits


async def test_a_bid_has_a_receipt_that_leads_to_the_published_root(
    installation: Installation, tmp_path: Path
) -> None:
    """Kept in a file it is sound offline and beside the round; with another price it is not."""
    bought = await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "1", "--minutes", "1", "--value", "1.25",
        "--wait", "--json",
    )  # fmt: skip
    bid, kept = orjson.loads(bought)["bid_id"], tmp_path / "receipt.json"
    await installation.bidplane("receipt", bid, "--out", str(kept))
    check = ("audit", "--receipt", str(kept))
    verdict = orjson.loads(await installation.bidplane(*check, "--json"))
    assert (verdict["sound"], verdict["agent"]) == (True, AGENT)
    (order,) = [one for one in verdict["orders"] if one["bid_id"] == bid]
    assert (order["fate"], order["value_micros"]) == ("won", 1_250_000)
    kafka_named = ("--kafka", installation.environ["BIDPLANE_KAFKA"])
    assert "the published round has the same root" in await installation.bidplane(
        *check, *kafka_named
    )
    window = ("--window", str(verdict["window"]), "--market", "pool-a", "--json")
    assert orjson.loads(await installation.bidplane("receipt", *window))["root"] == verdict["root"]
    kept.write_text(kept.read_text().replace("1250000", "1250001"))
    assert (await installation.run(*BIDPLANE, *check)).code == 5
    await installation.bidplane("release", orjson.loads(bought)["lease_id"])


async def test_the_round_of_a_bid_is_rebuilt_from_the_log(
    installation: Installation, tmp_path: Path
) -> None:
    """Cleared again it gives what was published, and its file gives `clear` the same award."""
    won = orjson.loads(await installation.bidplane(
        "bid", "--market", "pool-a", "--shape", "2", "--minutes", "1", "--value", "1.5", "--wait",
        "--json",
    ))  # fmt: skip
    name, file = f"pool-a/{won['window']}", str(tmp_path / "instance.json")
    told = orjson.loads(await installation.bidplane("round", name, "--instance", file, "--json"))
    assert told["same"], told["differences"]
    cleared = orjson.loads(await installation.bidplane("clear", file))
    assert cleared == told["result"]
    assert cleared["awards"][won["bid_id"]]["price_micros"] == won["price_micros"]
    never = await installation.bidplane("round", "pool-a/1", code=2)
    assert "pool-a closed no window 1 that is kept" in never
    await installation.bidplane("release", won["lease_id"])


async def test_a_quote_answers_before_a_bid(installation: Installation) -> None:
    """One agent alone sees the reserve and no price; an unknown market is bad input."""
    asked = ("quote", "--market", "pool-a", "--shape", "2", "--minutes", "10")
    (quote,) = orjson.loads(await installation.bidplane(*asked, "--json"))
    assert quote["rounds"] == quote["hidden"] + quote["full"] > 0
    assert "the reserve is" in await installation.bidplane(*asked)
    line = await installation.bidplane("quote", "--market", "nowhere", *asked[3:], code=2)
    assert "has closed no round" in line


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
    assert "`bidplane market pools`" in line
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
    [
        ("first_agent.py", ["pool-a"], "epoch"),
        ("elastic_agent.py", ["pool-a", "12"], "won: level"),
        ("lease_server.py", ["pool-a", "500"], "500 of 500 requests served"),
    ],
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


async def test_an_organisation_gives_no_more_than_it_has(installation: Installation) -> None:
    """Its tenants and their agents are paid from its account; beyond it a grant is refused."""
    run = installation.bidplane
    await run("org", "register", "acme", "--credits", "10", "--decay", "10%/day")
    await run("tenant", "register", "lab", "--org", "acme")
    await run("grant", "lab", "4", "--wait")
    await run("agent", "register", "lab/one", "--credits", "2", "--refill", "1/day")
    await paid(installation, "lab", 4)
    await paid(installation, "lab/one", 2)
    await paid(installation, "org:acme", 4)
    line = await run("grant", "lab", "5", "--wait", code=3)
    assert "organisation/acme holds 4000000 micro-credits" in line
    assert "never changes" in await run("tenant", "register", "research", "--org", "acme", code=2)
    assert "refills nobody" in await run(
        "tenant", "register", "lab", "--org", "acme", "--refill", "1/day", code=2
    )


async def paid(made: Installation, account: str, amount: int) -> None:
    """Wait until the ledger shows that many credits."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            found = orjson.loads(await made.bidplane("balance", account, "--ledger", "--json"))
            if found["available_micros"] == amount * 1_000_000:
                return


async def balance(installation: Installation, account: str, wanted: int | None = None) -> int:
    """What an account has by the ledger, once nothing of it is held and it is what is wanted."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            told = orjson.loads(
                await installation.bidplane("balance", account, "--ledger", "--json")
            )
            available = int(told["available_micros"])
            if not told["held_micros"] and wanted in (None, available):
                return available


async def test_a_lease_is_sold_from_agent_to_agent(installation: Installation) -> None:
    """Offered, accepted and bound: the devices and the price change hands, the rest comes back."""
    run, buyer = installation.bidplane, "studio/buyer"
    await run("agent", "register", buyer, "--credits", "10")
    bought = orjson.loads(await run(
        "bid", "--market", "pool-a", "--shape", "2", "--minutes", "10", "--value", "3.50",
        "--wait", "--json",
    ))  # fmt: skip
    before = await balance(installation, AGENT), await balance(installation, buyer)
    offer = ("offer", bought["lease_id"], "--price", "2.50", "--to")
    gone = (await run(*offer, "lab/nobody")).strip()
    offer_id = orjson.loads(await run(*offer, buyer, "--json"))["offer_id"]
    assert "No such offer" in await run("accept", gone, "--agent", buyer, "--wait", code=3)
    taken = orjson.loads(await run("accept", offer_id, "--agent", buyer, "--wait", "--json"))
    assert (taken["kind"], taken["devices"]) == ("bound", bought["devices"])
    assert taken["ends_at_ms"] < bought["ends_at_ms"] + 60_000
    assert "already ending" in await run(
        "accept", offer_id, "--agent", buyer, "--wait", code=3
    )  # fmt: skip
    await balance(installation, AGENT, before[0] + 2_500_000)
    await balance(installation, buyer, before[1] - 2_500_000)
    assert "next: Nothing" in await run("why", bought["bid_id"])
    await run("release", taken["lease_id"], "--agent", buyer)
    assert "all promises kept" in await run("audit")


async def test_the_log_obeys_the_contract_and_the_audit_passes(installation: Installation) -> None:
    """Every record that agents, lanes and sink wrote decodes, and every promise is kept."""
    counts = orjson.loads(await installation.bidplane("contract", "verify", "--live", "--json"))
    assert counts["records"]["bidplane.leases.v1"] > 0
    assert "all promises kept" in await installation.bidplane("audit")
