"""`bidplane simulate`: policies side by side in simulated time.

Decides options, what a table shows and the exit code. Refuses to simulate: that is the simulator
package, imported when the command runs, so that `bidplane --help` stays quick.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bidplane_agents.commands import output
from bidplane_agents.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bidplane_loadtest.simulator.cluster import Node
    from bidplane_loadtest.simulator.openb import Pod
    from bidplane_loadtest.simulator.work import Scenario

PROMISE_BROKEN: Final = 5
ALL: Final = "all"
WINDOW_S: Final = 10
BURST_WINDOW_S: Final = 5


def simulate(
    trace: Annotated[
        pathlib.Path | None, typer.Option(help="The openb pod list; else seeded pods.")
    ] = None,
    nodes: Annotated[
        pathlib.Path | None, typer.Option(help="The openb node list; else seeded nodes.")
    ] = None,
    bursts: Annotated[
        pathlib.Path | None,
        typer.Option(help="The Azure LLM trace: inference bursts beside training gangs."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="A policy, once or more; `all`, the default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws values, tenants, seeded pods.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs, each with the next seed.")] = 1,
    load: Annotated[
        list[int] | None, typer.Option(min=10, max=1000, help="Percent of the GPU time; 130.")
    ] = None,
    values: Annotated[
        str, typer.Option(help="Per GPU-hour: lognormal, pareto or uniform.")
    ] = "lognormal",
    jobs: Annotated[int, typer.Option(min=1, help="At most so many, evenly drawn.")] = 1200,
    shrink: Annotated[
        int, typer.Option(min=1, help="Keep one node in so many: one is slow in the market.")
    ] = 128,
    window: Annotated[
        int | None, typer.Option(min=1, help="Seconds of a market's window; 10, with bursts 5.")
    ] = None,
    report: Annotated[
        pathlib.Path | None, typer.Option(help="A folder for plots and one offline HTML page.")
    ] = None,
    anchor: Annotated[
        bool, typer.Option("--anchor", help="Repeat the published experiment instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Compare schedulers on one trace in simulated time; --anchor checks against published ones."""
    pods, hosts = _given(trace, nodes, shrink=1 if anchor else shrink, seed=seed, count=jobs)
    if anchor:
        if trace is None or nodes is None:
            raise BadInput("--anchor repeats an experiment on openb: give --trace and --nodes")
        return _anchor(hosts, pods, max(seeds, 3), as_json=as_json)
    names = _policies(policy or [ALL])
    scenes = _scenes(
        hosts, pods, trace, bursts, loads=load or [130], seeds=range(seed, seed + seeds),
        values=values, count=jobs,
    )  # fmt: skip
    window_s = window or (BURST_WINDOW_S if bursts else WINDOW_S)
    scenes = [scene._replace(window_ms=window_s * 1000) for scene in scenes]
    return _compare(scenes, names, report, as_json=as_json)


def _given(
    trace: pathlib.Path | None, nodes: pathlib.Path | None, *, shrink: int, seed: int, count: int
) -> tuple[tuple[Pod, ...], tuple[Node, ...]]:
    """Pods and nodes, from files or from the seed."""
    from bidplane_loadtest.simulator import openb, synthetic, work  # noqa: PLC0415 - see above

    pods = synthetic.pods(seed, count) if trace is None else openb.pods(trace)
    if nodes is None:
        return pods, synthetic.nodes(shrink)
    return pods, work.thinned(openb.nodes(nodes), shrink)


def _policies(asked: Sequence[str]) -> list[str]:
    from bidplane_loadtest.simulator.policies import POLICIES  # noqa: PLC0415 - see above

    if ALL in asked:
        return list(POLICIES)
    for name in asked:
        if name not in POLICIES:
            raise BadInput(f"--policy {name}: is none of {', '.join(POLICIES)}, {ALL}")
    return list(dict.fromkeys(asked))


def _scenes(
    hosts: Sequence[Node], pods: Sequence[Pod], trace: pathlib.Path | None,
    bursts: pathlib.Path | None, *, loads: Sequence[int], seeds: range, values: str, count: int,
) -> list[Scenario]:  # fmt: skip
    """A scenario for every seed and load."""
    from bidplane_loadtest.simulator import bursts as azure  # noqa: PLC0415 - see above
    from bidplane_loadtest.simulator import work  # noqa: PLC0415
    from bidplane_loadtest.simulator.values import DRAWS  # noqa: PLC0415

    draw = DRAWS.get(values)
    if draw is None:
        raise BadInput(f"--values {values}: is none of {', '.join(DRAWS)}")
    source = "seeded pods of openb's shape" if trace is None else trace.name
    scenes = []
    for one in seeds:
        for percent in loads:
            given, name = pods, source
            if bursts is not None:
                milli = sum(host.gpus for host in hosts) * 10 * percent
                given, name = azure.pods(bursts, one, milli), bursts.name
            scenes.append(
                work.scenario(
                    name, hosts, given, load_percent=percent, seed=one, draw=draw,
                    count=count if bursts is None else len(given),
                )
            )  # fmt: skip
    return scenes


def _compare(
    scenes: Sequence[Scenario], names: Sequence[str],
    report: pathlib.Path | None, *, as_json: bool,
) -> int:  # fmt: skip
    from bidplane_loadtest.simulator import play  # noqa: PLC0415 - see above

    first = scenes[0]
    output.note(
        f"{first.source}: {len(first.jobs)} jobs on {len(first.nodes)} nodes with "
        f"{first.capacity_milli // 1000} GPUs, {first.horizon_ms / 3_600_000:.1f} h"
    )
    for note, count in first.notes.items():
        output.note(f"  {count} {note}")
    played = list(play.play(scenes, names, output.note))
    results = [one.result for one in played]
    if report is not None:
        from bidplane_loadtest.simulator import report as reports  # noqa: PLC0415 - needs plots

        output.note(f"report: {reports.write(report, played)}")
    if as_json:
        output.json(results)
        return 0
    heads, rows = play.table(results)
    output.table([heads[0], *(f">{head}" for head in heads[1:])], rows)
    return 0


def _anchor(
    hosts: Sequence[Node], pods: Sequence[Pod], seeds: int, *,
    as_json: bool,
) -> int:  # fmt: skip
    from bidplane_loadtest.simulator import anchor  # noqa: PLC0415 - see above

    output.note(f"{len(pods)} pods on {len(hosts)} nodes, {seeds} seeds")
    rows = []
    requests = [pod.request for pod in pods]
    for row in anchor.compare(hosts, requests, seeds, list(anchor.PUBLISHED)):
        output.note(f"{row.policy}: done")
        rows.append(row)
    if as_json:
        output.json([row._asdict() | {"within": row.within} for row in rows])
    else:
        heads = ["policy", ">at 100 %", ">published", ">at 130 %", ">published", ">±", "within"]
        output.table(
            heads,
            [
                [
                    row.policy, f"{row.ours_100:.2f}", f"{row.published.at_100:.2f}",
                    f"{row.ours_130:.2f}", f"{row.published.at_130:.2f}",
                    f"{row.published.tolerance:.1f}", "yes" if row.within else "NO",
                ]
                for row in rows
            ],
        )  # fmt: skip
    return 0 if all(row.within for row in rows) else PROMISE_BROKEN
