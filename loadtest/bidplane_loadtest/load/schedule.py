"""When every bid is due and what it asks for: all of it fixed, and seeded, before a run.

Decides moments, agents, shapes, durations and values. Refuses to know clocks and servers: a slow
system cannot slow a schedule that is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from bidplane_loadtest import cast
from bidplane_loadtest.jobs import SEVENTHS
from bidplane_topics.bids import Shape

Ints = npt.NDArray[np.int64]
Spacing = Literal["even", "poisson"]

US: Final = 1_000_000
SHAPES: Final[tuple[Shape, ...]] = ("1g", "2g", "1", "2")
LEASE_MS: Final = (5_000, 15_000)


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one rate, in bids a second. What is not ``measured`` only warms the system."""

    name: str
    seconds: float
    rate: float
    spacing: Spacing = "poisson"
    measured: bool = True


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One row for each record, by time: microseconds since the begin, and what its bids are.

    A record carries ``envelope`` bids, all due when it is. ``shape`` counts in ``shapes``,
    ``phase`` in the scenario's phases.
    """

    due_us: Ints
    agent: Ints
    phase: Ints
    shape: Ints
    duration_ms: Ints
    value_micros: Ints
    shapes: tuple[str, ...] = SHAPES
    envelope: int = 1

    def __len__(self) -> int:
        return len(self.due_us)

    @property
    def bids(self) -> int:
        """How many bids there are in all records."""
        return len(self) * self.envelope

    def of(self, chosen: npt.NDArray[np.bool_]) -> Load:
        """The rows of some agents."""
        return msgspec.structs.replace(
            self, **{name: getattr(self, name)[chosen] for name in _ROWS}
        )

    def budgets(self, agents: int) -> list[int]:
        """For each agent, the micro-credits that all of its bids could cost at most."""
        most = self.envelope * (self.value_micros + self.envelope)
        return [int(one) for one in np.bincount(self.agent, most, minlength=agents)]


_ROWS: Final = ("due_us", "agent", "phase", "shape", "duration_ms", "value_micros")


def save(load: Load, path: Any) -> None:
    """Write a load for another process."""
    arrays = {name: getattr(load, name) for name in _ROWS}
    np.savez(path, shapes=np.array(load.shapes), envelope=np.array(load.envelope), **arrays)


def read(path: Any) -> Load:
    """Read what ``save`` wrote."""
    with np.load(path) as file:
        return Load(
            **{name: file[name] for name in _ROWS},
            shapes=tuple(str(one) for one in file["shapes"]), envelope=int(file["envelope"]),
        )  # fmt: skip


def due_times(phases: Sequence[Phase], seed: int, envelope: int = 1) -> tuple[Ints, Ints]:
    """When each record is due, in microseconds since the begin, and the phase it belongs to.

    A Poisson phase draws how many records come and spreads them evenly at random, which is the same
    process as exponential pauses between them; an even phase has equal pauses.
    """
    dice = np.random.default_rng(seed)
    due: list[Ints] = []
    begin_us = 0.0
    for phase in phases:
        mean = phase.rate * phase.seconds / envelope
        count = int(dice.poisson(mean)) if phase.spacing == "poisson" else round(mean)
        if phase.spacing == "poisson":
            places = np.sort(dice.random(count))
        else:
            places = np.arange(count) / max(1, count)
        due.append((begin_us + places * phase.seconds * US).astype(np.int64))
        begin_us += phase.seconds * US
    numbers = [np.full(len(one), number, np.int64) for number, one in enumerate(due)]
    return np.concatenate(due), np.concatenate(numbers)


def draw(
    phases: Sequence[Phase], seed: int, agents: int, *, envelope: int = 1,
    shapes: Sequence[str] = SHAPES,
) -> Load:  # fmt: skip
    """A seeded load: agents and shapes with equal chances, durations evenly, values lognormally."""
    due_us, phase = due_times(phases, seed, envelope)
    dice, count = np.random.default_rng([seed, 1]), len(due_us)
    shape = dice.integers(len(shapes), size=count)
    duration_ms = dice.integers(LEASE_MS[0], LEASE_MS[1] + 1, size=count)
    return Load(
        due_us=due_us, agent=dice.integers(agents, size=count), phase=phase, shape=shape,
        duration_ms=duration_ms, shapes=tuple(shapes), envelope=envelope,
        value_micros=values(shape, duration_ms, shapes, dice),
    )  # fmt: skip


def values(
    shape: Ints, duration_ms: Ints, shapes: Sequence[str], dice: np.random.Generator
) -> Ints:
    """What each bid is worth: a lognormal value for a GPU-second, as the demo's cast has it."""
    per_gpu_s = cast.VALUE_MEDIAN_MICROS * dice.lognormal(0.0, cast.VALUE_SIGMA, len(shape))
    gpus = np.array([SEVENTHS[name] for name in shapes])[shape] / 7
    exact = per_gpu_s * gpus * duration_ms / 1000
    return np.maximum(1, np.rint(exact)).astype(np.int64)


def begins_s(phases: Sequence[Phase]) -> list[float]:
    """When each phase begins, and when the last one ends."""
    found = [0.0]
    for phase in phases:
        found.append(found[-1] + phase.seconds)
    return found
