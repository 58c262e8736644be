"""The demo: a cast of agents bids for the devices of a running system, then the log is added up.

Decides the order of things and a time-out for each of them: a worker or a sink that is killed
meanwhile delays, it never hangs. Refuses to start servers: the system's commands do that.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec
import orjson

from bidplane_agents import clock, connection, log, operator, profiles
from bidplane_loadtest import cast, jobs, players, pods, summary, tally, traces, workload
from bidplane_topics import codec, errors, registry
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rounds import RoundClosed

REGISTER_TIMEOUT_S: Final = 60.0
CLUSTERS_TIMEOUT_S: Final = 120.0
# Rounds come every window while the worker lives; a killed one may cost this much more.
PATIENCE_S: Final = 60.0
SETTLE_TIMEOUT_S: Final = 90.0
AUDIT_TIMEOUT_S: Final = 600.0
PROMISE_BROKEN: Final = 5
TRACE_LOAD: Final = 0.65
GANG_LOAD: Final = 0.55

Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to play. ``rounds`` of ``window_ms`` each; a trace by path or a seeded workload."""

    trace: pathlib.Path | None = None
    seed: int = 7
    nodes: int = 16
    rounds: int = 64
    window_ms: int = 2000

    @property
    def span_ms(self) -> int:
        """How long bids come: a little less than the rounds take."""
        return (self.rounds - 2) * self.window_ms


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A running system, as far as the demo needs to know it."""

    kafka: str
    market: str
    clusters_dir: pathlib.Path
    directory: pathlib.Path


class Watch:
    """What the demo sees while it runs: rounds, and the time from a hold to its lease's bound."""

    def __init__(self) -> None:
        self.closed: list[RoundClosed] = []
        self.bound_ms: list[int] = []
        self._held_at: dict[str, int] = {}

    def heard(self, _: players.Player, outcome: OutcomeReported) -> None:
        """Time an outcome of a player."""
        if outcome.kind == "held":
            self._held_at[outcome.bid_id] = outcome.at_ms
        elif outcome.kind == "bound" and outcome.bid_id in self._held_at:
            self.bound_ms.append(outcome.at_ms - self._held_at.pop(outcome.bid_id))


def prepare(plan: Plan) -> tuple[tuple[cast.Part, ...], dict[str, int | float | str]]:
    """The cast with its asks, and every figure that says how they came from the source.

    Raises:
        TraceUnusable: the trace cannot be read.
    """
    source = workload.draw(plan.seed) if plan.trace is None else traces.load(plan.trace)
    capacity = plan.nodes * 8 * 7 * plan.span_ms
    packed = jobs.compress(
        source.jobs, span_ms=plan.span_ms, wanted_gpu_ms=round(capacity * TRACE_LOAD)
    )
    gangs = _gangs(plan, round(capacity * GANG_LOAD))
    arrivals = sorted((*packed.arrivals, *gangs), key=lambda one: (one.at_ms, one.job.name))
    parts = cast.assign(arrivals, plan.seed)
    stated: dict[str, int | float | str] = {
        "source": source.source, "jobs in the source": len(source.jobs),
        **{f"skipped: {name}": count for name, count in source.skipped.items()},
        "left out by even sampling": packed.left_out, "taken": packed.taken,
        "training gangs added (seeded)": len(gangs),
        "arrivals: trace seconds in a second": packed.arrival_factor,
        "arrivals: longest pause kept, trace seconds": jobs.GAP_MAX_S,
        "durations: trace seconds in a second": packed.duration_factor,
        "durations cut to 40 s": packed.shortened, "durations raised to 5 s": packed.lengthened,
    }  # fmt: skip
    return parts, stated


def _gangs(plan: Plan, wanted_gpu_ms: int) -> tuple[jobs.Arrival, ...]:
    sample = workload.gangs(plan.seed, 64, plan.span_ms)
    mean = sum(map(jobs.gpu_ms, sample)) // len(sample)
    drawn = workload.gangs(plan.seed, max(1, wanted_gpu_ms // mean), plan.span_ms)
    # Spread over the first part: a gang that comes last would find no time to rest and run.
    return tuple(
        jobs.Arrival(
            job=job, at_ms=job.created_s * 9 // 10, duration_ms=jobs.lease_ms(job.duration_s)
        )
        for job in drawn
    )  # fmt: skip


async def play(
    stage: Stage, plan: Plan, say: Say, progress: Say, *, ready_s: float = 0.0
) -> summary.Report:
    """Register, bid, wait for the end, add up, audit.

    Raises:
        BidplaneError: Kafka does not answer, or no lane answers registrations.
    """
    parts, stated = prepare(plan)
    reached = connection.Connection(stage.kafka)
    watch, runner = Watch(), pods.Runner(pods.find_kubectl(), stage.clusters_dir)
    async with _company(stage, reached, parts, (watch.heard, runner.heard), say) as company:
        clusters = await _clusters(company, runner, say)
        begun_ms = clock.now_ms()
        say(f"{len(company.players)} agents bid for {plan.rounds} rounds; logs in "
            f"{stage.directory / 'logs'}")  # fmt: skip
        failures = await _bidding(stage, plan, company, watch, runner, progress)
        seconds = (clock.now_ms() - begun_ms) / 1000
        say("bidding is over: waiting for the last leases to end")
        await _until(company.settled, SETTLE_TIMEOUT_S)
        await asyncio.sleep(2 * plan.window_ms / 1000)  # the last refunds
        await runner.close()
        say("adding up the log, then auditing it")
        folded = await tally.fold(reached, stage.market, begun_ms)
        return summary.Report(
            seed=plan.seed, workload=stated, seconds=round(seconds, 1), ready_s=round(ready_s, 1),
            agents=len(company.players), clusters_ready=clusters,
            tenants=len({part.role.tenant for part in parts}),
            bids={kind: company.total(kind) for kind in ("sent", "again", "unacknowledged")}
            | {"not due before the end": sum(p.unsent for p in company.players.values())},
            bid_to_bound_ms=summary.percentiles(watch.bound_ms), tally=folded,
            pods=dict(runner.counts), pod_running_ms=summary.percentiles(runner.running_ms),
            unfinished={
                "bids": sum(len(p.open_bids) for p in company.players.values()),
                "leases": sum(len(p.open_leases) for p in company.players.values()),
            },
            short=len(watch.closed) < plan.rounds,
            failures=failures + ([f"kubectl: {runner.last_error}"] if runner.last_error else []),
            audit=await audit(stage.kafka),
        )  # fmt: skip


# -- before --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _company(
    stage: Stage, reached: connection.Connection, parts: Sequence[cast.Part],
    hearers: Sequence[players.Heard], say: Say,
) -> AsyncIterator[players.Company]:  # fmt: skip
    say(f"registering {len(parts)} agents")
    seats: dict[str, players.Player] = {}

    def heard(player: players.Player, outcome: OutcomeReported) -> None:
        for one in hearers:
            one(player, outcome)

    async with operator.Operator(reached) as hand:
        for part in parts:
            profile = await _registered(hand, part.role, stage.directory)
            seats[part.role.id] = players.Player(part, profile, stage.market)
        company = players.Company(seats, reached, heard)
        try:
            await company.listen()
            await _granted(hand, company, clock.now_ms())
            yield company
        finally:
            await company.close()


async def _registered(
    hand: operator.Operator, role: cast.Role, directory: pathlib.Path
) -> profiles.Profile:
    """Register with the key that is kept in the directory, else with a new one."""
    path = profiles.path_of(role.id, str(directory))
    keep = profiles.load(path) if path.exists() else None
    done = await hand.register_agent(role.id, keep_key=keep, cluster=role.cluster)
    profile = done.profile or keep
    assert profile is not None
    profiles.save(path, profile)
    return profile


async def _granted(hand: operator.Operator, company: players.Company, run: int) -> None:
    """Budgets, once the lane knows the agents: two topics have no common order."""
    everyone = company.players.values()
    await _until(lambda: all(p.counts["registered"] for p in everyone), REGISTER_TIMEOUT_S / 4)
    for player in everyone:
        await hand.grant_known(
            player.profile.partition, player.role.id, player.part.budget_micros,
            grant_id=f"demo|{run}|{player.role.id}",
        )  # fmt: skip
    await _until(lambda: all(p.granted.is_set() for p in everyone), REGISTER_TIMEOUT_S)


async def _clusters(company: players.Company, runner: pods.Runner, say: Say) -> int:
    """How many of the agents with clusters can reach theirs."""
    owners = [player for player in company.players.values() if player.role.cluster]
    say(f"waiting for the control planes of {', '.join(player.role.id for player in owners)}")
    answers = await asyncio.gather(
        *(runner.reachable(player, CLUSTERS_TIMEOUT_S) for player in owners)
    )
    return sum(answers)


# -- meanwhile -----------------------------------------------------------------------------------


async def _bidding(
    stage: Stage, plan: Plan, company: players.Company, watch: Watch, runner: pods.Runner,
    progress: Say,
) -> list[str]:  # fmt: skip
    """Bid until the rounds are over or patience is; what failed, in words."""
    follower = asyncio.create_task(_rounds(company.reached, stage.market, watch))
    bidding = company.bid()
    limit_s = plan.rounds * plan.window_ms / 1000 + PATIENCE_S
    deadline_s = asyncio.get_running_loop().time() + limit_s
    while len(watch.closed) < plan.rounds and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(0.5)
        progress(_progress(plan, company, watch, runner))
    await players.stop((*bidding, follower))
    failures = [
        f"{task.get_name()}: {error}"
        for task in (*bidding, follower)
        if not task.cancelled() and (error := task.exception()) is not None
    ]
    if len(watch.closed) < plan.rounds:
        failures.append(f"only {len(watch.closed)} rounds in {limit_s:.0f} s")
    return failures


async def _rounds(reached: connection.Connection, market: str, watch: Watch) -> None:
    partition = None
    async for _, event in log.events(reached, registry.MARKETS):
        if event.market == market:
            partition = getattr(event, "partition", partition)
    tail = log.Tail(reached, registry.ROUNDS.name, partition or 0)
    await tail.from_now()
    async for record in tail.records():
        with contextlib.suppress(errors.MalformedRecord):
            event = codec.decode(registry.ROUNDS, record.value)
            if event.market == market:
                watch.closed.append(event)


def _progress(plan: Plan, company: players.Company, watch: Watch, runner: pods.Runner) -> str:
    active = watch.closed[-1].leases_active if watch.closed else 0
    return (
        f"round {len(watch.closed)}/{plan.rounds}  bids {company.total('sent')}"
        f"  won {company.total('won')}  lost {company.total('lost')}"
        f"  refused {company.total('refused')}  bound {company.total('bound')}"
        f"  ended {company.total('ended')}  leases now {active}"
        f"  pods run {runner.counts['ran']}"
    )


async def _until(true: Callable[[], bool], timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not true():
                await asyncio.sleep(0.1)
            return True
    return False


# -- after ---------------------------------------------------------------------------------------


async def audit(kafka: str) -> summary.Audit:
    """Run `bidplane audit` as a process of its own, so that it shares nothing with this one."""
    argv = (sys.executable, "-m", "bidplane_agents.cli", "audit", "--kafka", kafka, "--json")
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(AUDIT_TIMEOUT_S):
            out, told = await child.communicate()
    except TimeoutError:
        return summary.Audit(exit_code=4, verdict=f"no verdict in {AUDIT_TIMEOUT_S:.0f} s")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    code, report = child.returncode or 0, _parsed(out)
    records = report.get("records", 0) if isinstance(report, dict) else 0
    if code == 0 and not records:  # silence is no proof
        code = PROMISE_BROKEN
    verdict = _verdict(code, records, told.decode(errors="replace"))
    return summary.Audit(exit_code=code, verdict=verdict, report=report)


def _verdict(code: int, records: int, told: str) -> str:
    if code == 0:
        return f"every promise kept, in {records} records"
    last = told.strip().splitlines()[-1:] or [""]
    return f"exit code {code} after {records} records: {last[0]}"


def _parsed(out: bytes) -> Any:
    try:
        return orjson.loads(out)
    except orjson.JSONDecodeError:
        return None
