"""A job as a trace or a seeded draw gives it, and how trace time becomes demo time.

Decides the two rules of compression, both stated in the plan that comes out: arrivals keep their
order and their bunching, durations keep their order. Refuses to know agents, money or Kafka.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from bidplane_topics.bids import Shape

Qos = Literal["LS", "BE", "Burstable", "Guaranteed"]

# Of a GPU: what a shape keeps busy while it runs.
SEVENTHS: Final[dict[str, int]] = {
    "1g": 1, "2g": 2, "3g": 3, "4g": 4, "1": 7, "2": 14, "4": 28, "8": 56, "16": 112, "32": 224,
    "64": 448,
}  # fmt: skip
# The traces hold weeks of quiet before their busy part: a longer pause counts as an hour.
GAP_MAX_S: Final = 3600
# Half a minute of a trace becomes a second of a lease, within what binds and what a demo has.
DURATION_FACTOR: Final = 30
DURATION_MIN_MS: Final = 5_000
DURATION_MAX_MS: Final = 40_000


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that wants devices: ``created_s`` and ``duration_s`` are in the trace's own seconds."""

    name: str
    shape: Shape
    qos: Qos
    created_s: int
    duration_s: int


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs in order of arrival, where they come from, and what of the source is no job."""

    source: str
    jobs: tuple[Job, ...]
    skipped: dict[str, int] = {}


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A job in demo time: when it comes, and how long its lease should last."""

    job: Job
    at_ms: int
    duration_ms: int


class Compressed(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals within a span, and every figure that says how they were made."""

    arrivals: tuple[Arrival, ...]
    taken: int
    left_out: int
    arrival_factor: float
    duration_factor: int
    shortened: int
    lengthened: int


def lease_ms(duration_s: int) -> int:
    """A trace's duration as a lease's: divided by DURATION_FACTOR, then bounded."""
    exact_ms = duration_s * 1000 // DURATION_FACTOR
    return min(DURATION_MAX_MS, max(DURATION_MIN_MS, exact_ms))


def gpu_ms(job: Job) -> int:
    """What the job's lease would use: GPUs times milliseconds, in sevenths of a GPU."""
    return SEVENTHS[job.shape] * lease_ms(job.duration_s)


def compress(jobs: Sequence[Job], *, span_ms: int, wanted_gpu_ms: int) -> Compressed:
    """Take every k-th job so that together they want ``wanted_gpu_ms`` (sevenths) in ``span_ms``.

    k is a real number above or equal to 1, so the sample is spread evenly over the whole source.
    """
    whole = sum(map(gpu_ms, jobs))
    if not jobs or wanted_gpu_ms <= 0:
        return _compressed(jobs, [], [], 1.0)
    step = max(1.0, whole / wanted_gpu_ms)
    chosen = [jobs[math.floor(at * step)] for at in range(math.floor((len(jobs) - 1) / step) + 1)]
    clock = _clock(chosen)
    factor = max(1.0, clock[-1] * 1000 / span_ms)
    return _compressed(jobs, chosen, clock, factor)


def _clock(chosen: Sequence[Job]) -> list[int]:
    """Arrival in seconds since the first, with pauses bounded by GAP_MAX_S."""
    clock = [0]
    for before, after in itertools.pairwise(chosen):
        clock.append(clock[-1] + min(GAP_MAX_S, max(0, after.created_s - before.created_s)))
    return clock


def _compressed(
    jobs: Sequence[Job], chosen: Sequence[Job], clock: Sequence[int], factor: float
) -> Compressed:
    exact = [job.duration_s * 1000 // DURATION_FACTOR for job in chosen]
    return Compressed(
        arrivals=tuple(
            Arrival(job=job, at_ms=int(at * 1000 / factor), duration_ms=lease_ms(job.duration_s))
            for job, at in zip(chosen, clock, strict=True)
        ),
        taken=len(chosen),
        left_out=len(jobs) - len(chosen),
        arrival_factor=round(factor, 1),
        duration_factor=DURATION_FACTOR,
        shortened=sum(ms > DURATION_MAX_MS for ms in exact),
        lengthened=sum(ms < DURATION_MIN_MS for ms in exact),
    )
