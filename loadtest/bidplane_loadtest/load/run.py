"""One run of a scenario: agents, generators, faults, drain, audit, figures, folder.

Decides the order of things and a time-out for each. Whoever cuts it short still gets a report, so
marked. Refuses to start a system and to draw.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bidplane_agents import connection, operator
from bidplane_agents.errors import BadInput, meant
from bidplane_loadtest import demo
from bidplane_loadtest.load import (
    beats,
    crowd,
    exposition,
    faults,
    figures,
    findings,
    knee,
    leftovers,
    marks,
    replay,
    scenarios,
    schedule,
    watching,
)
from bidplane_loadtest.load.generators import Generators
from bidplane_loadtest.load.result import Result, Struck, Verdict
from bidplane_loadtest.players import stop

TICK_S: Final = 0.25
PROGRESS_S: Final = 2.0
# After the last send: so long may answers take, and then the leases that were won.
ANSWER_TIMEOUT_S: Final = 180.0
BIND_TIMEOUT_S: Final = 60.0
# A beat is half a second old at most, and looked at every tick.
BEAT_AGE_S: Final = 0.75
DRAINED: Final = "drain"
Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``keys`` is the folder of the agents' keys; ``command`` is for the report."""

    scenario: scenarios.Scenario
    knobs: scenarios.Knobs
    limits: scenarios.Limits
    seed: int
    market: str
    keys: pathlib.Path
    trace: pathlib.Path | None = None
    metrics_port: int = 0
    command: str = ""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The running system. ``directory``: where it lives, if on this machine."""

    kafka: str
    directory: pathlib.Path | None = None


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A load that is written down."""

    phases: tuple[schedule.Phase, ...]
    load: schedule.Load
    stated: replay.Stated = {}


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves for the figures."""

    prepared: Prepared
    found: marks.Marks
    watch: Any
    struck: list[Struck]
    begin_ms: int
    window_ms: int
    ended_s: float
    cut_short: bool


def prepare(plan: Plan, window_ms: int) -> Prepared:
    """Phases and every bid.

    Raises:
        TraceUnusable: the trace cannot be read.
    """
    knobs = msgspec.structs.replace(plan.knobs, window_s=window_ms / 1000)
    if plan.scenario.trace:
        assert plan.trace is not None, "the command line asks for it"
        read = replay.openb if plan.scenario.trace == "openb" else replay.azure
        made = read(plan.trace, knobs.seconds, plan.seed, knobs.agents)
        return Prepared(phases=(made.phase,), load=made.load, stated=made.stated)
    phases = plan.scenario.phases(knobs)
    load = schedule.draw(phases, plan.seed, knobs.agents, envelope=knobs.envelope)
    return Prepared(phases=phases, load=load)


async def play(
    plan: Plan, stage: Stage, say: Say, cut: asyncio.Event
) -> tuple[Result, figures.Timeline]:
    """Run it; the result, and the moments that it is made of. ``cut`` ends it early.

    Raises:
        BadInput: there is no such market, or a trace cannot be used.
        Unreachable: Kafka, a lane or a generator does not answer.
    """
    leftovers.sweep(stage.directory)
    reached = connection.from_environment(stage.kafka)
    window_ms = await _window_ms(reached, plan.market)
    surroundings = findings.before()
    prepared = prepare(plan, window_ms)
    run = f"{plan.scenario.name}-{time.time_ns() // 1_000_000}"
    budgets = prepared.load.budgets(plan.knobs.agents)
    say(f"{plan.scenario.name}: {prepared.load.bids:,} bids in {_seconds(prepared):.0f} s")
    people = await crowd.gather(reached, plan.keys, budgets, run, say)
    with leftovers.folder() as folder:
        generators = Generators(
            folder, prepared.load, people, kafka=stage.kafka, market=plan.market,
            window_ms=window_ms, processes=plan.knobs.processes,
        )  # fmt: skip
        raw = await _Run(plan, stage, reached, prepared, generators, window_ms, say, cut).play()
    say("auditing the log")
    audit = await demo.audit(stage.kafka)
    verdict = Verdict(exit_code=audit.exit_code, words=audit.verdict)
    timeline = figures.Timeline(raw.found, raw.begin_ms, raw.window_ms)
    return findings.complete(plan, raw, timeline, verdict, surroundings), timeline


def _seconds(prepared: Prepared) -> float:
    return sum(phase.seconds for phase in prepared.phases)


async def _window_ms(reached: connection.Connection, market: str) -> int:
    async with operator.Operator(reached) as hand:
        declared = await hand.declared_markets()
    if market not in declared:
        raise BadInput(
            f"no market {market!r}: {meant(market, declared)}choose one of "
            f"{', '.join(sorted(declared)) or 'none'} with --market, see `bidplane market list`"
        )
    return declared[market].window_ms


class _Run:
    """The time in which generators run."""

    def __init__(
        self, plan: Plan, stage: Stage, reached: connection.Connection, prepared: Prepared,
        generators: Generators, window_ms: int, say: Say, cut: asyncio.Event,
    ) -> None:  # fmt: skip
        self._plan, self._stage, self._reached = plan, stage, reached
        self._prepared, self._generators = prepared, generators
        self._window_ms, self._say, self._cut = window_ms, say, cut
        names = (*(phase.name for phase in prepared.phases), DRAINED)
        self._shown = exposition.Exposition(plan.scenario.name, window_ms, names)
        self._begins = schedule.begins_s(prepared.phases)
        self._history: list[tuple[float, int, int]] = []
        self._said_s = 0.0

    async def play(self) -> Raw:
        """Send, wait for answers, gather the marks."""
        generators, port = self._generators, self._plan.metrics_port
        with exposition.served(self._shown, port, self._stage.directory) as page:
            self._say(f"metrics of the load test: {page}")
            async with generators:
                pids = {f"generator-{n}": one.pid for n, one in enumerate(generators.all)}
                watch = watching.Watch(
                    self._stage.directory, self._reached, self._plan.market, pids
                )
                await generators.begin(self._window_ms)
                watch.start(generators.begin_ms, generators.now_s)
                try:
                    struck, ended_s = await self._under_load(watch)
                finally:
                    await watch.stop()
                await generators.end()
                return Raw(
                    prepared=self._prepared, watch=watch,
                    found=marks.read(generators.marks()).offered(ended_s),
                    struck=struck, begin_ms=generators.begin_ms, window_ms=self._window_ms,
                    ended_s=ended_s, cut_short=self._cut.is_set(),
                )  # fmt: skip

    async def _under_load(self, watch: watching.Watch) -> tuple[list[Struck], float]:
        generators = self._generators
        planned = self._plan.scenario.faults(
            msgspec.structs.replace(self._plan.knobs, window_s=self._window_ms / 1000)
        )
        strikes = faults.Faults(planned, watch.pids, generators.now_s, self._say)
        striking = asyncio.create_task(strikes.run())
        try:
            await self._sending()
            ended_s = min(generators.now_s(), self._begins[-1])
            await self._drain()
        finally:
            await stop([striking])
        return strikes.struck, ended_s

    async def _sending(self) -> None:
        while not (beat := self._tick()).done_sending:
            if self._cut.is_set() or self._is_past_the_knee():
                self._generators.stop_sending()
                await asyncio.sleep(2 * TICK_S)
                return
            await self._pause()
            self._generators.check()
            self._tell(beat)

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._cut.wait()

    def _tick(self) -> beats.Beat:
        beat, now_s = self._generators.beat(), self._generators.now_s()
        self._history.append((now_s, beat.offered, beat.answered))
        self._shown.beat, self._shown.phase = beat, self._phase(now_s)
        return beat

    def _phase(self, now_s: float) -> str:
        for phase, end_s in zip(self._prepared.phases, self._begins[1:], strict=True):
            if now_s < end_s:
                return phase.name
        return DRAINED

    def _is_past_the_knee(self) -> bool:
        if not self._plan.scenario.steps:
            return False
        half_s = self._window_ms / 2000
        settle_s, now_s = 2 * half_s, self._generators.now_s()
        over = [
            (begin_s, end_s)
            for phase, begin_s, end_s in zip(
                self._prepared.phases, self._begins, self._begins[1:], strict=False
            )
            # Beats are half a second old at most.
            if phase.measured and end_s + half_s + 1.0 < now_s
        ]
        return bool(over) and knee.is_past(self._history, over[-1], settle_s, half_s + BEAT_AGE_S)

    def _tell(self, beat: beats.Beat) -> None:
        now_s = self._generators.now_s()
        if now_s - self._said_s < PROGRESS_S:
            return
        self._said_s = now_s
        kinds = "  ".join(f"{name} {count:,}" for name, count in sorted(beat.kinds.items()))
        self._say(
            f"{now_s:6.1f} s  {self._phase(now_s):<8} offered {beat.offered:,}  sent {beat.sent:,}"
            f"  late {beat.lag_us / 1000:.0f} ms  {kinds}  open {beat.open:,}"
        )

    async def _drain(self) -> None:
        """Wait for what was sent; a run that was cut waits for nothing."""
        self._say("nothing more is sent: waiting for answers, then for leases to be bound")
        for timeout_s, left in ((ANSWER_TIMEOUT_S, "open"), (BIND_TIMEOUT_S, "unbound")):
            until_s = self._generators.now_s() + timeout_s
            while getattr(beat := self._tick(), left) and self._generators.now_s() < until_s:
                if self._cut.is_set():
                    return
                self._tell(beat)
                await self._pause()
        await asyncio.sleep(2 * TICK_S)
