"""Traces as loads: the openb pod list and the Azure LLM requests, compressed by a stated factor.

Decides how a row becomes a bid. Every row of a trace that wants a GPU is bid for, in the trace's
order and bunching; what is skipped is counted. Refuses to know servers.
"""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bidplane_loadtest import jobs, traces
from bidplane_loadtest.load import schedule
from bidplane_loadtest.simulator import bursts, rows

# A request of more tokens than this needs a whole device's memory, and what is left a slice's.
SLICE_TOKENS_MAX: Final = 2048
LEASE_MIN_MS: Final = 1000
Stated = dict[str, int | float | str]


class Replay(NamedTuple):
    """A trace as a load of one phase, and every figure that says how it was made."""

    phase: schedule.Phase
    load: schedule.Load
    stated: Stated


class _Work(NamedTuple):
    """A job of a trace in its own seconds."""

    at_s: float
    shape: str
    duration_ms: int


def openb(path: pathlib.Path, seconds: float, seed: int, agents: int) -> Replay:
    """Every pod with a GPU; pauses count as an hour at most, lease times as in the demo.

    Raises:
        TraceUnusable: the file cannot be read.
    """
    source = traces.load(path)
    packed = jobs.compress(
        source.jobs, span_ms=int(seconds * 1000),
        wanted_gpu_ms=sum(map(jobs.gpu_ms, source.jobs)),
    )  # fmt: skip
    work = [_Work(one.at_ms / 1000, one.job.shape, one.duration_ms) for one in packed.arrivals]
    stated: Stated = {
        "rows bid for": packed.taken, **{f"skipped: {k}": v for k, v in source.skipped.items()},
        "left out": packed.left_out, "longest pause kept, trace seconds": jobs.GAP_MAX_S,
        "arrivals: trace seconds in a second": packed.arrival_factor,
        "durations: trace seconds in a second": packed.duration_factor,
        "durations cut to 40 s": packed.shortened, "durations raised to 5 s": packed.lengthened,
    }  # fmt: skip
    return _replay(path, work, stated, seconds, seed, agents)


def azure(path: pathlib.Path, seconds: float, seed: int, agents: int) -> Replay:
    """Every request: tokens become seconds on a slice or a GPU, at the simulator's two rates.

    Raises:
        TraceUnusable: the file cannot be read.
    """
    found: list[_Work] = []
    first: dt.datetime | None = None
    raised = 0
    for row in rows.read(path, bursts.COLUMNS, "the Azure LLM inference trace"):
        at = _moment(row)
        first = first or at
        if at < first:
            row.refuse("TIMESTAMP", "is before the first line: sort the file")
        read, written = row.integer("ContextTokens"), row.integer("GeneratedTokens")
        exact_ms = int(1000 * (read / bursts.READ_PER_S + written / bursts.WRITE_PER_S))
        raised += exact_ms < LEASE_MIN_MS
        shape = "1g" if read + written <= SLICE_TOKENS_MAX else "1"
        found.append(_Work((at - first).total_seconds(), shape, max(LEASE_MIN_MS, exact_ms)))
    found.sort(key=lambda one: one.at_s)
    factor = max((one.at_s for one in found), default=0.0) / seconds
    packed = [one._replace(at_s=one.at_s / factor if factor else 0.0) for one in found]
    stated: Stated = {
        "rows bid for": len(found), "left out": 0,
        "arrivals: trace seconds in a second": round(factor, 1),
        "tokens read in a second": bursts.READ_PER_S,
        "tokens written in a second": bursts.WRITE_PER_S,
        "most tokens of a 1g slice": SLICE_TOKENS_MAX,
        "durations: trace seconds in a second": 1,
        "durations raised to 1 s (a slot)": raised,
    }  # fmt: skip
    return _replay(path, packed, stated, seconds, seed, agents)


def _moment(row: rows.Row) -> dt.datetime:
    text = row.text("TIMESTAMP")
    try:  # seven digits of a second are one more than Python reads
        return dt.datetime.fromisoformat(text[:26]).replace(tzinfo=dt.UTC)
    except ValueError:
        row.refuse("TIMESTAMP", f"{text!r} is no time such as 2023-11-16 18:15:46.680590")


def _replay(
    path: pathlib.Path, work: Sequence[_Work], stated: Stated, seconds: float, seed: int,
    agents: int,
) -> Replay:  # fmt: skip
    if not work:
        raise traces.TraceUnusable(f"{path}: no row that wants a GPU: name another trace")
    names = sorted({one.shape for one in work}, key=lambda name: jobs.SEVENTHS[name])
    dice = np.random.default_rng([seed, 2])
    shape = np.array([names.index(one.shape) for one in work], np.int64)
    duration_ms = np.array([one.duration_ms for one in work], np.int64)
    due_us = np.array([int(one.at_s * schedule.US) for one in work], np.int64)
    load = schedule.Load(
        due_us=due_us, agent=dice.integers(agents, size=len(work)), phase=np.zeros_like(due_us),
        shape=shape, duration_ms=duration_ms, shapes=tuple(names),
        value_micros=schedule.values(shape, duration_ms, names, dice),
    )  # fmt: skip
    phase = schedule.Phase(name="replay", seconds=seconds + 0.001, rate=len(work) / seconds)
    return Replay(phase, load, {"trace": path.name, **stated})
