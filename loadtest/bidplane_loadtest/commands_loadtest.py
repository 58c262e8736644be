"""`bidplane loadtest SCENARIO`: open-loop load on a running system, or on one of its own.

Decides options, where results go and the exit code: 0 all ranges kept; 2 bad input; 4 a server is
out of reach; 5 the audit found a broken promise, or a range of the scenario was missed, which
result.json and the last line tell apart; 130 cut short. Refuses to run: that is the load package,
imported when the command runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bidplane_agents import connection
from bidplane_agents.commands import output
from bidplane_agents.errors import BadInput, Unreachable

if TYPE_CHECKING:
    from bidplane_loadtest.load import run, scenarios
    from bidplane_loadtest.load.figures import Timeline
    from bidplane_loadtest.load.result import Result

MISSED: Final = 5
CUT_SHORT: Final = 130
COMPARE: Final = "compare"
KEYS: Final = "loadtest"


Kind = Annotated[
    str,
    typer.Argument(
        help="smoke, capacity, soak, burst, failover, replay-openb FILE, replay-azure FILE, "
        "or compare A B."
    ),
]
Files = Annotated[
    list[pathlib.Path] | None, typer.Argument(help="The trace, or two results to compare.")
]
Rate = Annotated[float | None, typer.Option(min=0.1, help="Bids a second; else the scenario's.")]
Seconds = Annotated[
    float | None,
    typer.Option(min=1, help="How long, of each step in a capacity run; else the scenario's."),
]
Agents = Annotated[
    int | None, typer.Option(min=1, max=90_000, help="Agents that bid; else the scenario's.")
]
Processes = Annotated[
    int | None, typer.Option(min=1, max=8, help="Generator processes; else the scenario's.")
]
Envelope = Annotated[int, typer.Option(min=1, max=64, help="Bids in one record.")]
Steps = Annotated[int, typer.Option(min=1, max=40, help="Most steps of capacity.")]
Market = Annotated[str, typer.Option(help="The market to bid in.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws the schedule and the bids.")]
P99 = Annotated[
    int | None,
    typer.Option(
        min=1, help="Range: p99 told beyond the close, besides a window; else the scenario's."
    ),
]
Admitted = Annotated[
    int | None, typer.Option(min=1, help="Range: p99 until admission; else the scenario's.")
]
Recovery = Annotated[
    int | None, typer.Option(min=1, help="Range: recovered within; else the scenario's.")
]
KneeRate = Annotated[
    int | None, typer.Option(min=1, help="Range: the least knee; else the scenario's, or --rate.")
]
Out = Annotated[
    pathlib.Path | None, typer.Option(help="Folder for the results; else loadtest-SCENARIO-TIME.")
]
KeysIn = Annotated[
    pathlib.Path | None, typer.Option(help="Folder of the agents' keys; else DIR/loadtest.")
]
Kafka = Annotated[
    str, typer.Option(help="HOST:PORT of a running system; else BIDPLANE_KAFKA, else DIR's.")
]
Dir = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--dir", help="Where the system lives; else BIDPLANE_DIR, or with --own a new folder."
    ),
]
Own = Annotated[bool, typer.Option("--own", help="Start a system for this run, and end it.")]
Nodes = Annotated[
    int | None, typer.Option(min=1, max=200, help="Nodes of --own; else the scenario's.")
]
Workers = Annotated[int, typer.Option(min=1, max=16, help="Workers of --own.")]
WindowMs = Annotated[int, typer.Option(min=50, help="Windows of --own.")]
Standing = Annotated[bool, typer.Option("--standing", help="--own: on standing claims.")]
Watched = Annotated[bool, typer.Option("--prometheus", help="--own: run a Prometheus.")]
MetricsPort = Annotated[int, typer.Option(min=0, max=65_535, help="Of the load test; 0: any.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def loadtest(
    scenario: Kind, files: Files = None, rate: Rate = None, seconds: Seconds = None,
    agents: Agents = None, processes: Processes = None, envelope: Envelope = 1,
    steps: Steps = 10, market: Market = "pool-a", seed: Seed = 7, p99_ms: P99 = None,
    admitted_p99_ms: Admitted = None, recovery_s: Recovery = None, knee_rate: KneeRate = None,
    out: Out = None, keys: KeysIn = None, kafka: Kafka = "", dir_: Dir = None, own: Own = False,
    nodes: Nodes = None, workers: Workers = 1, window_ms: WindowMs = 2000,
    standing: Standing = False, prometheus: Watched = False, metrics_port: MetricsPort = 0,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Load a system open loop, measure from the intended send time, audit, write a report."""
    _end_with_the_terminal()
    given = files or []
    if scenario == COMPARE:
        return _compare(given, out, as_json=as_json)
    from bidplane_loadtest.load import run, scenarios  # noqa: PLC0415 - loads clients of servers

    row = scenarios.named(scenario)
    trace = _trace(row, given, own=own)
    turned = {
        "rate": rate, "seconds": seconds, "agents": agents, "processes": processes,
        "envelope": envelope, "steps": steps,
    }  # fmt: skip
    limits = {
        "beyond_p99_ms": p99_ms, "admitted_p99_ms": admitted_p99_ms, "recovery_s": recovery_s,
        "knee_rate": knee_rate,
    }  # fmt: skip
    home = _home(dir_, own=own)
    plan = run.Plan(
        scenario=row, knobs=_replaced(row.knobs, turned), limits=_limits(row, rate, limits),
        seed=seed, market=market, keys=keys or home / KEYS, trace=trace,
        metrics_port=metrics_port, command=_command(),
    )  # fmt: skip
    if trace is not None:
        run.prepare(plan, window_ms)  # a bad trace is told before anything starts
    folder = out or pathlib.Path(f"loadtest-{scenario}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not own:
        return _elsewhere(plan, kafka, home, folder, as_json=as_json)
    options = {
        "nodes": nodes or row.nodes, "workers": workers, "window_ms": window_ms,
        "standing": standing, "grace_ms": 0 if standing else 2000, "prometheus": prometheus,
        "market": market,
    }  # fmt: skip
    code = _on_own(plan, home, folder, options, as_json=as_json)
    _leave(home, keep=dir_ is not None or code != 0)
    return code


def _end_with_the_terminal() -> None:
    """Take SIGHUP for SIGTERM, unless it is ignored (nohup); what is said then goes nowhere."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def hung_up(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # kernel and shell both say so; once is enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for terminal in terminals:  # a write to one that is gone is an error
            os.dup2(nowhere, terminal)
        os.close(nowhere)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGHUP, hung_up)


def _leave(home: pathlib.Path, *, keep: bool) -> None:
    if keep:
        output.note(f"the system's data is kept in {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)


def _command() -> str:
    return "bidplane " + shlex.join(sys.argv[1:])


def _home(dir_: pathlib.Path | None, *, own: bool) -> pathlib.Path:
    if dir_ is not None:
        return dir_.absolute()
    if own:
        return pathlib.Path(tempfile.mkdtemp(prefix="bidplane-load-own-"))
    return pathlib.Path(connection.working_directory()).absolute()


def _replaced(defaults: Any, turned: dict[str, Any]) -> Any:
    import msgspec  # noqa: PLC0415 - with the load package

    chosen = {name: value for name, value in turned.items() if value is not None}
    return msgspec.structs.replace(defaults, **chosen)


def _limits(
    row: scenarios.Scenario, rate: float | None, limits: dict[str, Any]
) -> scenarios.Limits:
    """A capacity run that starts at another rate has its least knee there."""
    if row.steps and rate is not None and limits["knee_rate"] is None:
        limits["knee_rate"] = max(1, round(rate))
    found: scenarios.Limits = _replaced(row.limits, limits)
    return found


def _trace(row: scenarios.Scenario, given: list[pathlib.Path], *, own: bool) -> pathlib.Path | None:
    """The trace's file; what a scenario cannot be run without is asked for here."""
    if row.own_only and not own:
        raise BadInput(f"{row.name} kills processes: give --own, so that they are its own")
    if len(given) != (1 if row.trace else 0):
        what = "the trace's file" if row.trace else "no file"
        raise BadInput(f"{row.name} takes {what}, not {len(given)} files: see `--help`")
    if given and not given[0].is_file():
        raise BadInput(f"{given[0]}: no such file: name the trace")
    return given[0] if given else None


def _on_own(
    plan: run.Plan, home: pathlib.Path, folder: pathlib.Path, options: dict[str, Any], *,
    as_json: bool,
) -> int:  # fmt: skip
    from bidplane_streams.embedded import errors  # noqa: PLC0415

    try:
        return output.run(_with_system(plan, home, folder, options, as_json=as_json))
    except errors.Interrupted as error:
        raise typer.Exit(CUT_SHORT) from error
    except errors.EmbeddedError as error:
        raise (BadInput if error.exit_code == 2 else Unreachable)(str(error)) from error


async def _with_system(
    plan: run.Plan, home: pathlib.Path, folder: pathlib.Path, options: dict[str, Any], *,
    as_json: bool,
) -> int:  # fmt: skip
    from bidplane_loadtest.load import run  # noqa: PLC0415
    from bidplane_streams import commands_system  # noqa: PLC0415

    wanted = commands_system.Plan(directory=home, **options)
    async with commands_system.running(wanted, output.note) as served:
        stage = run.Stage(kafka=served.kafka, directory=home)
        cut = asyncio.Event()
        waiting = asyncio.create_task(_cut_when(served.system.until_stopped(), cut))
        try:
            return await _played(plan, stage, folder, cut, as_json=as_json)
        finally:
            waiting.cancel()


async def _cut_when(stopped: Any, cut: asyncio.Event) -> None:
    await stopped
    cut.set()


def _elsewhere(
    plan: run.Plan, kafka: str, home: pathlib.Path, folder: pathlib.Path, *, as_json: bool
) -> int:
    from bidplane_loadtest.load import run  # noqa: PLC0415

    address = connection.from_environment(kafka, str(home)).bootstrap
    local = home if (home / "state.json").exists() else None
    stage = run.Stage(kafka=address, directory=local)

    async def work() -> int:
        async with _interruptible() as cut:
            return await _played(plan, stage, folder, cut, as_json=as_json)

    return output.run(work())


@contextlib.asynccontextmanager
async def _interruptible() -> AsyncIterator[asyncio.Event]:
    """The first Ctrl-C or SIGTERM sets the event; a second one ends this process."""
    cut, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        cut.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, first)
    try:
        yield cut
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _played(
    plan: run.Plan, stage: run.Stage, folder: pathlib.Path, cut: asyncio.Event, *, as_json: bool
) -> int:
    from bidplane_loadtest.load import run  # noqa: PLC0415

    whole, timeline = await run.play(plan, stage, output.note, cut)
    page = await asyncio.to_thread(_written, folder, whole, timeline)
    _show(whole, page, as_json=as_json)
    return _exit_code(whole)


def _written(folder: pathlib.Path, whole: Result, timeline: Timeline) -> pathlib.Path:
    from bidplane_loadtest.load import findings, report  # noqa: PLC0415 - draws

    findings.write(folder, whole, timeline)
    return report.write(folder, whole)


def _show(whole: Result, page: pathlib.Path, *, as_json: bool) -> None:
    from bidplane_loadtest.load import words  # noqa: PLC0415

    if as_json:
        output.json(whole)
    else:
        words.show(whole)
    output.note(f"report: {page}")
    output.note(words.last_line(whole))


def _exit_code(whole: Result) -> int:
    """The auditor's code first; then a missed range; then whether it was cut short."""
    if whole.audit.exit_code:
        return whole.audit.exit_code
    if not all(one.kept for one in whole.ranges):
        return MISSED
    return CUT_SHORT if whole.cut_short else 0


def _compare(given: list[pathlib.Path], out: pathlib.Path | None, *, as_json: bool) -> int:
    from bidplane_loadtest.load import compare  # noqa: PLC0415 - draws
    from bidplane_loadtest.load import result as results  # noqa: PLC0415 - see above

    if len(given) != 2:
        raise BadInput(f"compare takes two results, not {len(given)}: name their folders")
    before, after = (results.read(path) for path in given)
    rows = compare.rows(before, after)
    if as_json:
        output.json(rows)
    else:
        output.table(compare.HEADS, compare.cells(rows))
    page = compare.write(out or given[1], before, after, rows)
    output.note(f"page: {page}")
    return 0
