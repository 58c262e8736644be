"""The scenarios: one row each, with figures that fit two cores, and the ranges they must keep.

Decides phases, faults and default figures. Refuses to run anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from bidplane_agents.errors import BadInput, meant
from bidplane_loadtest.load.schedule import Phase

WARM: Final = "warm"
BURST_FACTOR: Final = 20
GROWTH: Final = 1.5


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may turn; None keeps the scenario's own figure. Rates are bids a second."""

    rate: float
    seconds: float
    agents: int
    processes: int = 1
    envelope: int = 1
    steps: int = 10
    window_s: float = 2.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to a process of the system, ``at_s`` after the begin."""

    at_s: float
    kind: Literal["kill", "freeze"]
    process: str
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """As it stands in reports."""
        return f"{self.kind} {self.process}"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The ranges of a scenario; 0 leaves one out. Generous: they catch faults, not slow machines.

    ``beyond_p99_ms`` is beyond the close of the window in which a bid was due, plus one window: a
    bid that is due just before a close is decided in the next.
    """

    admitted_p99_ms: int = 0
    beyond_p99_ms: int = 0
    lag_p99_ms: int = 0
    recovery_s: int = 0
    growth_percent: int = 0
    knee_rate: int = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A row: what it is for, its figures and ranges. ``nodes`` and ``workers`` are of ``--own``."""

    name: str
    doc: str
    knobs: Knobs
    limits: Limits
    phases: Callable[[Knobs], tuple[Phase, ...]]
    faults: Callable[[Knobs], tuple[Fault, ...]] = lambda _: ()
    trace: Literal["", "openb", "azure"] = ""
    steps: bool = False
    own_only: bool = False
    nodes: int = 4


def _warm(knobs: Knobs, rate: float | None = None) -> Phase:
    seconds = 2 * knobs.window_s if knobs.window_s >= 1 else 3.0
    return Phase(name=WARM, seconds=seconds, rate=rate or knobs.rate, measured=False)


def _flat(name: str) -> Callable[[Knobs], tuple[Phase, ...]]:
    return lambda knobs: (
        _warm(knobs), Phase(name=name, seconds=knobs.seconds, rate=knobs.rate),
    )  # fmt: skip


def _capacity(knobs: Knobs) -> tuple[Phase, ...]:
    """Steps of whole windows, so that each has whole rounds."""
    windows = max(1, math.ceil(knobs.seconds / knobs.window_s))
    rates = [round(knobs.rate * GROWTH**step) for step in range(knobs.steps)]
    return (
        _warm(knobs),
        *(Phase(name=f"{rate}/s", seconds=windows * knobs.window_s, rate=rate) for rate in rates),
    )


def _burst(knobs: Knobs) -> tuple[Phase, ...]:
    """A third of the time as usual, the burst, and the rest to recover."""
    third, burst_s = knobs.seconds / 3, min(5.0, knobs.seconds / 10)
    rest_s = knobs.seconds - third - burst_s
    return (
        _warm(knobs), Phase(name="before", seconds=third, rate=knobs.rate),
        Phase(name="burst", seconds=burst_s, rate=knobs.rate * BURST_FACTOR),
        Phase(name="after", seconds=rest_s, rate=knobs.rate),
    )  # fmt: skip


def _faults(knobs: Knobs) -> tuple[Fault, ...]:
    begin_s = _warm(knobs).seconds
    return (
        Fault(at_s=begin_s + knobs.seconds * 0.15, kind="kill", process="worker"),
        Fault(at_s=begin_s + knobs.seconds * 0.4, kind="freeze", process="worker", seconds=3),
        Fault(at_s=begin_s + knobs.seconds * 0.65, kind="kill", process="sink-claims"),
    )


_TABLE: Final = (
    Scenario(
        name="smoke", doc="a little of everything, for twenty seconds",
        knobs=Knobs(rate=20, seconds=20, agents=50), phases=_flat("steady"),
        limits=Limits(admitted_p99_ms=1000, beyond_p99_ms=2000, lag_p99_ms=250),
    ),
    Scenario(
        name="capacity", doc="steps, each half as much again, until the knee", steps=True,
        knobs=Knobs(rate=100, seconds=12, agents=1000, processes=2), phases=_capacity,
        limits=Limits(knee_rate=100),
    ),
    Scenario(
        name="soak", doc="ten minutes of one rate: nothing may grow",
        knobs=Knobs(rate=50, seconds=600, agents=200), phases=_flat("steady"),
        limits=Limits(
            admitted_p99_ms=1000, beyond_p99_ms=2000, lag_p99_ms=250, growth_percent=40
        ),
    ),
    Scenario(
        name="burst", doc="twenty times the rate for five seconds, then how long until it is over",
        knobs=Knobs(rate=50, seconds=75, agents=500, processes=2), phases=_burst,
        limits=Limits(recovery_s=40),
    ),
    Scenario(
        name="failover", doc="kill -9 of worker and sink and a frozen worker, under load",
        knobs=Knobs(rate=50, seconds=80, agents=200), phases=_flat("steady"), faults=_faults,
        limits=Limits(recovery_s=20), own_only=True,
    ),
    Scenario(
        name="replay-openb", doc="the openb pod list, every pod with a GPU", trace="openb",
        knobs=Knobs(rate=0, seconds=120, agents=200), phases=lambda _: (), nodes=8,
        limits=Limits(admitted_p99_ms=2000, beyond_p99_ms=4000),
    ),
    Scenario(
        name="replay-azure", doc="an hour of LLM requests, every one", trace="azure",
        knobs=Knobs(rate=0, seconds=180, agents=200), phases=lambda _: (),
        limits=Limits(admitted_p99_ms=2000, beyond_p99_ms=4000),
    ),
)  # fmt: skip
SCENARIOS: Final = {row.name: row for row in _TABLE}


def named(name: str) -> Scenario:
    """The row of a scenario.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in SCENARIOS:
        near = meant(name, [*SCENARIOS, "compare"])
        raise BadInput(
            f"no scenario {name!r}: {near}choose one of {', '.join(SCENARIOS)}, or compare"
        )
    return SCENARIOS[name]
