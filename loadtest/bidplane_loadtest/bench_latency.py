"""Bid-to-lease latency beyond the window's close, open loop, on a real system.

Decides when each bid is due and counts from that instant, sent late or not: a slow system cannot
slow its own load. Beyond the close means: after the end of the window in which the bid was due.
Refuses to guess: bids without an answer are counted.

    python -m bidplane_loadtest.bench_latency [--rate 100] [--seconds 30] [--kafka HOST:PORT]
    python -m bidplane_loadtest.bench_latency --window-ms 50 --standing

Without ``--kafka`` it runs `bidplane up`'s system for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import tempfile
import time
from collections import Counter
from typing import Annotated, Any, Final

import msgspec
import typer

from bidplane_agents import clock, connection, log, operator, profiles, sequence, session
from bidplane_agents.commands import output
from bidplane_loadtest import bench_report, summary
from bidplane_loadtest.players import stop
from bidplane_streams import commands_system
from bidplane_topics import bids, codec, registry
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported

AGENT: Final = "bench/load"
BUDGET_MICROS: Final = 10**15
VALUE_MICROS: Final = 100_000
# Short leases of the least shape, so that as many bids as can be win.
SHAPE: Final = "1g"
DURATION_MS: Final = 1000
WARM_S: Final = 6.0
ANSWER_TIMEOUT_S: Final = 60.0
BUSY_WAIT_S: Final = 0.001


class Latencies(msgspec.Struct, kw_only=True):
    """Milliseconds beyond the close of the window in which each bid was due.

    ``closed``: the round that decided the bid; ``any_answer``: the agent was told won or lost;
    ``lease``: of those that won; ``bound``: the claims stand; ``windows_missed``: decided later.
    """

    rate_per_s: int
    seconds: int
    window_ms: int
    sent: int
    sent_late_ms: dict[str, int]
    closed_ms: dict[str, int]
    any_answer_ms: dict[str, int]
    lease_ms: dict[str, int]
    bound_ms: dict[str, int]
    windows_missed_permille: int
    kinds: dict[str, int]
    unanswered: int


class Bench:
    """Sends bids when they are due and files what is told of them."""

    def __init__(self, reached: connection.Connection, market: str, window_ms: int) -> None:
        """Nothing is sent yet."""
        self.reached, self.market, self.window_ms = reached, market, window_ms
        self.due_ms: dict[str, int] = {}
        self.late_ms: list[int] = []
        self.answers: dict[str, list[int]] = {"any": [], "closed": [], "won": [], "bound": []}
        self.missed = 0
        self.kinds: Counter[str] = Counter()
        self.ready = asyncio.Event()

    def place(self) -> bids.Command:
        """The bid: the same each time, since values do not change how long a window takes."""
        one = bids.Alternative(
            selector={"device_class": "gpu.nvidia.com"}, shape=SHAPE, duration_ms=DURATION_MS
        )
        place = bids.Place(market=self.market, value_micros=VALUE_MICROS, alternatives=(one,))
        return bids.Command(place=place)

    async def send(self, profile: profiles.Profile, rate: int, seconds: float) -> None:
        """One record for each bid, at its own time."""
        voice = session.Session(profile, self.reached, sequence.Sequence(), clock.now_ms)
        async with self.reached.opened(self.reached.producer(linger_ms=2)) as producer:
            begun_ms, futures = time.time() * 1000 + 100, []
            for number in range(int(rate * seconds)):
                due_ms = begun_ms + number * 1000 / rate
                while (wait_s := due_ms / 1000 - time.time()) > 0:
                    await asyncio.sleep(max(BUSY_WAIT_S, wait_s))
                record = voice.seal((self.place(),))
                self.due_ms[record.command_ids[0]] = int(due_ms)
                futures.append(
                    await producer.send(
                        record.topic, record.value, record.key, record.partition,
                        headers=record.headers,
                    )
                )  # fmt: skip
                self.late_ms.append(max(0, int(time.time() * 1000 - due_ms)))
            await asyncio.gather(*futures)

    async def hear(self, tail: log.Tail) -> None:
        """File outcomes as an agent sees them: committed, routed, read."""
        async for record in tail.records():
            outcome = codec.decode(registry.OUTCOMES, record.value)
            self.kinds[outcome.kind] += 1
            if outcome.kind == "granted":
                self.ready.set()
            if outcome.bid_id in self.due_ms:
                self._file(outcome, clock.now_ms())

    def _file(self, outcome: OutcomeReported, heard_ms: int) -> None:
        due_ms = self.due_ms[outcome.bid_id]
        close_ms = (due_ms // self.window_ms + 1) * self.window_ms
        if outcome.kind in TERMINAL_BID_KINDS:
            self.answers["any"].append(heard_ms - close_ms)
            self.answers["closed"].append(outcome.at_ms - close_ms)
            self.missed += outcome.window > close_ms // self.window_ms
        if outcome.kind in self.answers:
            self.answers[outcome.kind].append(heard_ms - close_ms)

    def result(self, rate: int, seconds: int) -> Latencies:
        """The figures."""
        told = self.answers["any"]
        return Latencies(
            rate_per_s=rate, seconds=seconds, window_ms=self.window_ms, sent=len(self.due_ms),
            sent_late_ms=summary.percentiles(self.late_ms),
            closed_ms=summary.percentiles(self.answers["closed"]),
            any_answer_ms=summary.percentiles(told),
            lease_ms=summary.percentiles(self.answers["won"]),
            bound_ms=summary.percentiles(self.answers["bound"]),
            windows_missed_permille=self.missed * 1000 // max(1, len(told)),
            kinds=dict(self.kinds.most_common()), unanswered=len(self.due_ms) - len(told),
        )  # fmt: skip


async def measure(
    reached: connection.Connection, market: str, rate: int, seconds: int
) -> Latencies:
    """Register an agent, warm up, send, wait for the answers.

    Raises:
        Unreachable: Kafka does not answer.
        TimeoutError: no lane does.
    """
    async with operator.Operator(reached) as hand:
        window_ms = (await hand.declared_markets())[market].window_ms
        done = await hand.register_agent(AGENT, new_key=True)
        assert done.profile is not None
        bench = Bench(reached, market, window_ms)
        tail = log.Tail(reached, registry.allocations(done.profile.tenant).name)
        await tail.from_now()
        listening = asyncio.create_task(bench.hear(tail))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while not bench.ready.is_set():  # the grant is dead until the agent is known
                    await hand.grant_known(done.partition, AGENT, BUDGET_MICROS)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(2):
                            await bench.ready.wait()
            warm = Bench(reached, market, window_ms)
            await warm.send(done.profile, rate, WARM_S)
            await bench.send(done.profile, rate, seconds)
            await _answered(bench)
        finally:
            await stop([listening])
    return bench.result(rate, seconds)


async def _answered(bench: Bench) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while len(bench.answers["any"]) < len(bench.due_ms):
                await asyncio.sleep(0.1)
    await asyncio.sleep(3)  # what was just won is bound a little later


async def _on_own_system(
    rates: list[int], seconds: int, nodes: int, window_ms: int, *, standing: bool
) -> list[Latencies]:
    with tempfile.TemporaryDirectory(prefix="bidplane-bench-") as folder:
        plan = commands_system.Plan(
            directory=pathlib.Path(folder), nodes=nodes, window_ms=window_ms, standing=standing,
            grace_ms=0 if standing else 2000,
        )  # fmt: skip
        async with commands_system.running(plan, output.note) as own:
            reached = connection.Connection(own.kafka)
            return [await measure(reached, own.market, rate, seconds) for rate in rates]


async def _elsewhere(kafka: str, market: str, rates: list[int], seconds: int) -> list[Latencies]:
    reached = connection.Connection(kafka)
    return [await measure(reached, market, rate, seconds) for rate in rates]


def main(
    rate: Annotated[list[int] | None, typer.Option(min=1, help="Bids a second.")] = None,
    seconds: Annotated[int, typer.Option(min=5, help="For each rate.")] = 30,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the own system.")] = 16,
    window_ms: Annotated[int, typer.Option(min=50, help="Windows of the own system.")] = 2000,
    standing: Annotated[bool, typer.Option(help="Its market is on standing claims.")] = False,
    kafka: Annotated[str, typer.Option(help="HOST:PORT of a running system.")] = "",
    market: Annotated[str, typer.Option(help="Its market.")] = "pool-a",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    rates = rate or [100, 1000]
    work: Any = (
        _elsewhere(kafka, market, rates, seconds) if kafka
        else _on_own_system(rates, seconds, nodes, window_ms, standing=standing)
    )  # fmt: skip
    found: list[Latencies] = asyncio.run(work)
    bench_report.show_figures(found, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
