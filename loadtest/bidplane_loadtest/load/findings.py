"""From what a run left to its result, and the folder that holds it.

Decides which figures a scenario has. Refuses to run and to draw.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from bidplane_loadtest.load import (
    beside,
    figures,
    knee,
    latency,
    ranges,
    result,
    surroundings,
    usl,
)
from bidplane_loadtest.load.figures import Timeline
from bidplane_loadtest.load.marks import NEVER
from bidplane_loadtest.load.result import Machine, Result, Struck, Verdict

if TYPE_CHECKING:
    from bidplane_loadtest.load.run import Plan, Raw

# A step of a capacity run may miss a window by rights; a second more is lateness.
KNEE_SLACK_MS: Final = 1000


class Before(NamedTuple):
    """The machine and the versions, looked at before there is load."""

    machine: Machine
    versions: dict[str, str]


def before() -> Before:
    """Look now."""
    return Before(surroundings.machine(), surroundings.versions())


def _whole(plan: Plan, raw: Raw, timeline: Timeline, verdict: Verdict, known: Before) -> Result:
    """The figures that every scenario has."""
    found = raw.found
    phases = figures.phases(timeline, raw.prepared.phases, raw.ended_s)
    kinds, reasons = figures.tallies(found)
    sent = found.sent != NEVER
    measured = timeline.where(_measured(raw))
    latencies = measured.named()
    lost = int(((found.acked == NEVER) & sent & (found.decided == NEVER)).sum())
    return Result(
        scenario=plan.scenario.name, market=plan.market, window_ms=raw.window_ms,
        command=plan.command, seed=plan.seed, begun_at_ms=raw.begin_ms,
        seconds=round(raw.ended_s, 1), cut_short=raw.cut_short,
        settings=msgspec.to_builtins(plan.knobs), stated=raw.prepared.stated,
        machine=known.machine, versions=known.versions,
        offered=int((found.due < raw.ended_s * 1e6).sum()), sent=int(sent.sum()),
        answered=int((found.decided != NEVER).sum()),
        kinds={**kinds, **({"failed": lost} if lost else {})}, reasons=reasons,
        bound=int((found.bound != NEVER).sum()),
        voided=int((found.voided != NEVER).sum()),
        latencies_ms={name: latency.percentiles(pair[1]) for name, pair in latencies.items()},
        distribution_ms={
            name: latency.distribution(pair[1]) for name, pair in latencies.items() if len(pair[1])
        },
        lag_ms=latency.percentiles(measured.since_due("sent")[1]),
        stage_means_ms=measured.stages(), phases=phases, course=figures.course(timeline),
        heat=figures.heat(*timeline.since_due("held"), raw.ended_s),
        beside=beside.seen(raw.watch, phases), audit=verdict,
    )  # fmt: skip


def _measured(raw: Raw) -> npt.NDArray[np.bool_]:
    """The bids of phases that do more than warm the system."""
    warm = [number for number, phase in enumerate(raw.prepared.phases) if not phase.measured]
    return ~np.isin(raw.found.phase, warm)


def complete(plan: Plan, raw: Raw, timeline: Timeline, verdict: Verdict, known: Before) -> Result:
    """The figures of every scenario and of this one, and the ranges."""
    whole = _whole(plan, raw, timeline, verdict, known)
    if plan.scenario.steps:
        _capacity(whole, plan)
    if plan.scenario.name == "burst":
        whole.recovered_s = _after_burst(whole)
    first_s = min((one.at_s for one in raw.struck), default=0.0)
    whole.faults = [_recovered(whole, one, first_s) for one in raw.struck]
    whole.ranges = ranges.judge(whole, plan.limits)
    return whole


def _capacity(whole: Result, plan: Plan) -> None:
    most_ms = plan.limits.beyond_p99_ms or KNEE_SLACK_MS
    whole.knee = knee.find(whole.phases, most_ms + whole.window_ms, whole.window_ms)
    whole.usl = usl.fit(usl.points(whole.phases))
    if whole.knee is not None and whole.knee.broken:
        whole.evidence = whole.beside.busy.get(whole.knee.broken, {})


def _after_burst(whole: Result) -> float | None:
    named = {one.name: one for one in whole.phases}
    if "after" not in named:
        return None
    before_, after = named["before"], named["after"]
    calm = (before_.begin_s, before_.begin_s + before_.seconds)
    return ranges.recovered_s(whole.course, calm, after.begin_s)


def _recovered(whole: Result, struck: Struck, first_s: float) -> Struck:
    """From the fault on, held against the measured time before the first fault."""
    begins = [one.begin_s for one in whole.phases if one.measured]
    calm = (min(begins, default=0.0), first_s)
    found = ranges.recovered_s(whole.course, calm, struck.at_s)
    return msgspec.structs.replace(struck, recovered_s=found)


def logs(folder: pathlib.Path, timeline: Timeline, begin_ms: int) -> list[str]:
    """One `.hlog` for each latency; their names."""
    made = []
    for name, (due, spent) in timeline.named().items():
        if len(spent):
            latency.write_log(folder / f"{name}.hlog", due, spent, begin_ms)
            made.append(f"{name}.hlog")
    return made


def write(folder: pathlib.Path, whole: Result, timeline: Timeline) -> pathlib.Path:
    """result.json and the logs."""
    folder.mkdir(parents=True, exist_ok=True)
    logs(folder, timeline, whole.begun_at_ms)
    return result.write(folder, whole)
