"""The commands that this package adds to `bidplane` when it is installed.

Decides options, where a demo lives and what its exit code says. Refuses to play: that is demo.py,
imported when the command runs, so that `bidplane --help` stays quick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import aiokafka.errors
import rich.console
import typer

from bidplane_agents.errors import BadInput, Unreachable
from bidplane_loadtest import commands_dashboards, commands_loadtest, commands_simulate
from bidplane_topics import codec

if TYPE_CHECKING:
    from bidplane_loadtest import demo as demos
    from bidplane_loadtest import summary

WINDOW_MS: Final = 2000
ROUNDS_DEFAULT: Final = 64
# Micro-credits for a seventh of a GPU and a second: an eighth of what work is worth in the median.
RESERVE_MICROS: Final = 180
PROGRESS_EVERY_S: Final = 10.0


def attach(app: typer.Typer) -> None:
    """Add our commands to the command line."""
    app.command()(demo)
    app.command()(commands_simulate.simulate)
    app.command()(commands_loadtest.loadtest)
    app.add_typer(commands_dashboards.app, name="dashboards")


class Progress:
    """One line that changes on a terminal; a line now and then in a log."""

    def __init__(self) -> None:
        self._console = rich.console.Console(stderr=True, highlight=False)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._last_s = 0.0

    def say(self, text: str) -> None:
        """A step of the demo."""
        self._console.print(text, soft_wrap=True)

    def update(self, text: str) -> None:
        """How far the bidding is."""
        if self._status is not None:
            self._status.update(text)
            self._status.start()
        elif time.monotonic() - self._last_s >= PROGRESS_EVERY_S:
            self._last_s = time.monotonic()
            self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Leave the line."""
        if self._status is not None:
            self._status.stop()


def demo(
    trace: Annotated[
        pathlib.Path | None, typer.Option(help="The openb pod list; else a seeded workload.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.5, max=600, help="How long to bid; else 64 rounds.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the system running, and its directory.")
    ] = False,
    dir_: Annotated[
        pathlib.Path | None, typer.Option("--dir", help="Where it lives; else a fresh folder.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=4, max=200, help="Simulated nodes of 8 GPUs.")] = 16,
    seed: Annotated[int, typer.Option(help="Draws values, budgets and the workload.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run the whole system with 24 agents that bid for its devices, then add up and audit."""
    from bidplane_loadtest import demo as demos  # noqa: PLC0415 - loads clients of servers
    from bidplane_streams.embedded import errors  # noqa: PLC0415

    rounds = ROUNDS_DEFAULT if minutes is None else round(minutes * 60_000 / WINDOW_MS)
    plan = demos.Plan(trace=trace, seed=seed, nodes=nodes, rounds=rounds, window_ms=WINDOW_MS)
    demos.prepare(plan)  # a bad trace is told before anything starts
    home = dir_ or pathlib.Path(tempfile.mkdtemp(prefix="bidplane-demo-"))
    try:
        code = asyncio.run(_run(plan, home.absolute(), keep=keep, as_json=as_json))
    except errors.Interrupted as error:
        raise typer.Exit(130) from error
    except errors.EmbeddedError as error:
        raise (BadInput if error.exit_code == 2 else Unreachable)(str(error)) from error
    if dir_ is None and not keep and code == 0:
        shutil.rmtree(home, ignore_errors=True)
    else:
        sys.stderr.write(f"the demo's data is kept in {home}\n")
    return code


async def _run(plan: demos.Plan, home: pathlib.Path, *, keep: bool, as_json: bool) -> int:
    from bidplane_loadtest import demo as demos  # noqa: PLC0415
    from bidplane_loadtest import summary  # noqa: PLC0415
    from bidplane_streams import commands_system  # noqa: PLC0415

    _hush()
    progress, begun_s = Progress(), time.monotonic()
    wanted = commands_system.Plan(
        directory=home, nodes=plan.nodes, window_ms=plan.window_ms, reserve_micros=RESERVE_MICROS
    )
    async with commands_system.running(wanted, progress.say) as served:
        stage = demos.Stage(
            kafka=served.kafka, market=served.market, clusters_dir=served.clusters_dir,
            directory=served.directory,
        )  # fmt: skip
        ready_s = time.monotonic() - begun_s
        playing = asyncio.create_task(
            demos.play(stage, plan, progress.say, progress.update, ready_s=ready_s)
        )
        try:
            report = await _unless_stopped(playing, served.system)
        finally:
            progress.close()
        if as_json:
            typer.echo(codec.pretty(report))
        else:
            summary.show(report)
        if keep:
            progress.say(f"still running in {home}: Ctrl-C, or `bidplane down --dir {home}`")
            await served.system.until_stopped()
    return _exit_code(report)


async def _unless_stopped(playing: asyncio.Task[summary.Report], system: Any) -> summary.Report:
    """The report; Ctrl-C, SIGTERM and `bidplane down` cut the demo short."""
    stopped = asyncio.create_task(system.until_stopped())
    await asyncio.wait({playing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not playing.done():
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
        raise typer.Exit(130)
    stopped.cancel()
    return await playing


def _exit_code(report: summary.Report) -> int:
    """The auditor's code; else 4 where servers did not do what the demo is there to show."""
    if report.audit.exit_code:
        return report.audit.exit_code
    shown = report.tally.leases.get("bound in all", 0) and report.pods.get("ran", 0)
    return 0 if shown and not report.short else 4


def _hush() -> None:
    """Kafka's client logs every retry, and forgets futures while a broker is away."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), aiokafka.errors.KafkaError):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
