"""The result of a run, as it is written to result.json and read again.

Decides the form; README.md describes it. Fields are only ever added. Refuses to compute.
"""

from __future__ import annotations

import pathlib
from typing import Any, Final

import msgspec

from bidplane_agents.errors import BadInput
from bidplane_loadtest.load.figures import Course, PhaseFigures
from bidplane_loadtest.load.knee import Knee
from bidplane_loadtest.load.latency import Percentiles
from bidplane_loadtest.load.usl import Fit
from bidplane_topics import codec

FILE: Final = "result.json"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran. ``load_before`` is the load average of a minute before the run began."""

    cpus: int
    cpu: str
    memory_gib: float
    kernel: str
    load_before: float


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it was done; ``recovered_s`` counts from its begin, None where it never did."""

    name: str
    at_s: float
    ended_s: float
    recovered_s: float | None = None


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and what it must be; ``found`` None: it could not be had."""

    name: str
    must: str
    found: float | None
    unit: str
    kept: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The auditor's exit code and word."""

    exit_code: int
    words: str


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the system, against seconds since the begin.

    ``cpu`` in cores and ``rss_mib`` by process, ``lag`` in records by lane, ``stages_ms`` of the
    processes' own histogram as means by stage, ``clearing_ms`` per look, ``rounds`` as closed.
    """

    cpu: dict[str, list[tuple[float, float]]] = {}
    rss_mib: dict[str, list[tuple[float, float]]] = {}
    machine: list[tuple[float, float]] = []
    lag: dict[str, list[tuple[float, float]]] = {}
    stages_ms: dict[str, float] = {}
    busy: dict[str, dict[str, float]] = {}
    clearing_ms: list[tuple[float, float]] = []
    rounds: list[tuple[float, int, int, int]] = []


class Result(msgspec.Struct, kw_only=True):
    """One run. Times are seconds since the begin; latencies milliseconds from the intended time.

    ``latencies_ms``, ``distribution_ms`` (percentile, value), ``lag_ms`` and ``stage_means_ms`` are
    of the measured phases; counts, ``course`` and ``heat`` are of the whole run.
    """

    form: int = 1
    scenario: str
    market: str
    window_ms: int
    command: str
    seed: int
    begun_at_ms: int
    seconds: float
    cut_short: bool = False
    settings: dict[str, Any]
    stated: dict[str, int | float | str]
    machine: Machine
    versions: dict[str, str]
    offered: int
    sent: int
    answered: int
    kinds: dict[str, int]
    reasons: dict[str, int]
    bound: int
    voided: int
    latencies_ms: dict[str, Percentiles]
    distribution_ms: dict[str, list[tuple[float, float]]]
    lag_ms: Percentiles
    stage_means_ms: dict[str, float]
    phases: list[PhaseFigures]
    course: Course
    heat: dict[str, Any]
    beside: Beside
    faults: list[Struck] = []
    recovered_s: float | None = None
    knee: Knee | None = None
    evidence: dict[str, float] = {}
    usl: Fit | None = None
    ranges: list[Range] = []
    audit: Verdict


def write(folder: pathlib.Path, result: Result) -> pathlib.Path:
    """Write result.json."""
    path = folder / FILE
    path.write_text(codec.pretty(result) + "\n", encoding="utf-8")
    return path


def read(folder: pathlib.Path) -> Result:
    """Read it, from its folder or its own path.

    Raises:
        BadInput: there is none, or it is none.
    """
    path = folder / FILE if folder.is_dir() else folder
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except OSError as error:
        raise BadInput(
            f"{path}: {error.strerror}: name the folder of a load test's result"
        ) from error
    except msgspec.DecodeError as error:
        raise BadInput(f"{path} is no load test's result: {error}") from error
