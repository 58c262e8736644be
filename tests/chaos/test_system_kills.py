"""kill -9 and freezes of the worker and of sinks, in the middle of real traffic on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from bidplane_agents import client as clients
from bidplane_agents import errors
from bidplane_topics import bids, outcomes, registry
from bidplane_topics.reports import SinkAlive
from live_system import Live, until, up

AGENTS = [f"team-{number % 2}/agent-{number}" for number in range(6)]
SHAPES: tuple[bids.Shape, ...] = ("1", "1", "2", "1g", "2g", "4", "8")
VICTIMS = ("worker", "sink-claims", "source-inventory")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One system with bidders registered."""
    with up(tmp_path_factory.mktemp("kills") / "system", "--nodes", "4") as running:
        for agent in AGENTS:
            running.run("agent", "register", agent, "--credits", "100")
        yield running


async def bidding(live: Live, agent: str, until_s: float, seed: int) -> None:
    """Bid until a moment: devices, slices and gangs, short leases, some resting, some cancelled."""
    draw = random.Random(f"{agent}-{seed}")
    directory = str(live.directory)
    async with clients.Client.from_environment(agent, directory=directory, listen=False) as client:
        while time.monotonic() < until_s:
            shape = draw.choice(SHAPES)
            rest_ms = draw.choice((0, 0, 6000))
            place = bids.Place(
                market="pool-a",
                value_micros=draw.randint(1, 200_000),
                rest_until_ms=time.time_ns() // 1_000_000 + rest_ms if rest_ms else 0,
                alternatives=(
                    bids.Alternative(shape=shape, duration_ms=draw.randint(1, 4) * 1000),
                ),
            )
            # The broker may be down: a bid that was not acknowledged may still arrive.
            with contextlib.suppress(errors.Unreachable):
                bid = await client.bid(place)
                if draw.random() < 0.1:
                    await client.cancel(bid)
            await asyncio.sleep(draw.uniform(0.05, 0.4))


async def strike(live: Live, seed: int, until_s: float) -> list[str]:
    """Kill and freeze processes at random moments; what was done."""
    draw, done = random.Random(seed), []
    while time.monotonic() < until_s - 8:
        await asyncio.sleep(draw.uniform(1.5, 4.0))
        victim = draw.choice(VICTIMS)
        freeze = draw.random() < 0.3
        pid = await asyncio.to_thread(live.pid, victim)
        if freeze:
            os.kill(pid, signal.SIGSTOP)
            # Longer than the group's session: its partitions are given away meanwhile.
            await asyncio.sleep(draw.uniform(2.0, 9.0))
            os.kill(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.SIGKILL)
        done.append(f"{'freeze' if freeze else 'kill'} {victim}")
        await asyncio.sleep(1.5)
    return done


def open_bids(live: Live) -> Counter[str]:
    """Terminal outcomes still missing (or doubled) per admitted or refused bid."""
    missing: Counter[str] = Counter()
    for _, _, order in live.records(registry.ORDERS):
        if type(order).__name__ == "OrderPlaced":
            missing[order.bid_id] += 1
    for _, _, outcome in live.records(registry.OUTCOMES):
        if outcome.kind in outcomes.TERMINAL_BID_KINDS and outcome.bid_id in missing:
            missing[outcome.bid_id] -= 1
    return Counter({bid: left for bid, left in missing.items() if left})


def claims(live: Live) -> list[str]:
    """The names of all claims in the host cluster."""
    host = live.state()["kubeconfig"]
    listed = json.loads(live.kubectl(host, "get", "resourceclaims", "-A", "-o", "json"))
    return [one["metadata"]["name"] for one in listed["items"]]


def is_heard(live: Live, since_ms: int) -> bool:
    """Whether the claims sink has said that it lives after a moment."""
    told = live.records(registry.REPORTS)
    return any(isinstance(event, SinkAlive) and at > since_ms for _, at, event in told)


def resumed_ms(live: Live, since_ms: int) -> int | None:
    """When the first round after a moment was written, in ms after it."""
    later = [at for _, at, _ in live.records(registry.ROUNDS) if at > since_ms]
    return min(later) - since_ms if later else None


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_and_freezes_change_nothing(live: Live, seed: int) -> None:
    """Whatever dies or sleeps, every bid ends once, claims converge, and the audit passes."""

    async def storm() -> list[str]:
        until_s = time.monotonic() + 45
        async with asyncio.TaskGroup() as group:
            for agent in AGENTS:
                group.create_task(bidding(live, agent, until_s, seed))
            striking = group.create_task(strike(live, seed, until_s))
        return striking.result()

    print("faults:", asyncio.run(storm()))
    until("every admitted bid has its one terminal outcome", lambda: not open_bids(live), 90)
    until("all leases have ended and their claims are gone", lambda: not claims(live), 90)
    live.run("audit")


@pytest.mark.timeout(1200)
def test_a_broker_crash_loses_nothing(live: Live) -> None:
    """Kill -9 of Kafka under traffic delays: leases still bind and end, and the audit passes."""
    crashed_ms = 0

    async def crash() -> None:
        nonlocal crashed_ms
        await asyncio.sleep(10)
        os.kill(await asyncio.to_thread(live.pid, "kafka"), signal.SIGKILL)
        crashed_ms = time.time_ns() // 1_000_000

    async def storm() -> None:
        until_s = time.monotonic() + 45
        async with asyncio.TaskGroup() as group:
            group.create_task(crash())
            for agent in AGENTS[:3]:
                group.create_task(bidding(live, agent, until_s, 3))

    asyncio.run(storm())
    until("every admitted bid has its one terminal outcome", lambda: not open_bids(live), 120)
    # The worker may be back before the sink, and sells nothing until it hears from it.
    until("the sink is heard again", lambda: is_heard(live, crashed_ms), 60)
    bid = ("bid", "--agent", AGENTS[0], "--market", "pool-a", "--shape", "1", "--minutes", "0.05")
    assert "bound" in live.run(*bid, "--value", "1", "--wait")
    until("all leases have ended and their claims are gone", lambda: not claims(live), 120)
    live.run("audit")


def test_time_to_resumed_commits(live: Live) -> None:
    """After a kill -9 of the worker, rounds are closed again soon, by a process of another id."""
    before = live.pid("worker")
    at_ms = time.time_ns() // 1_000_000
    os.kill(before, signal.SIGKILL)
    took = until("rounds go on", lambda: resumed_ms(live, at_ms + 50), 60)
    print(f"kill -9 of the worker to the next committed round: {took} ms (windows are 2000 ms)")
    assert until("another worker", lambda: live.pid("worker") != before, 30)
