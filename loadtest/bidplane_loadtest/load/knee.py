"""Where a capacity run bends: the last step that kept up, and the stage that the next one broke on.

Decides what keeping up means and which stage is the limit, from the stages' own means. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bidplane_loadtest.load.figures import STAGES, PhaseFigures

ACHIEVED_LEAST: Final = 0.95
# Bids that are due and unsent at a step's end, as a share of a second's bids.
UNSENT_MOST: Final = 0.5
# A step that answered less than this is past the knee beyond doubt: a run ends there.
GIVE_UP: Final = 0.85
# What each stage is, in words.
WORDS: Final[Mapping[str, str]] = {
    "generator": "the generator: bids are sent late",
    "broker": "the broker: acknowledgements are late",
    "admission": "the accounts lane or the router: bids are admitted late",
    "waiting": "the markets lane: orders are decided windows after they were admitted",
    "telling": "the markets lane or the router: answers come late after the close",
    "binding": "the claims sink: leases are bound late",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step's verdict: what it missed, in words; nothing where it kept up."""

    name: str
    offered_per_s: float
    achieved_per_s: float
    beyond_p99_ms: float | None
    missed: tuple[str, ...] = ()


class Knee(msgspec.Struct, frozen=True, kw_only=True):
    """``rate_per_s`` is what the last good step achieved; 0 where not even the first one was.

    ``limit`` is empty where every step kept up: the knee is then beyond what was tried.
    """

    rate_per_s: float
    step: str
    broken: str = ""
    missed: tuple[str, ...] = ()
    limit: str = ""
    limit_words: str = ""
    grew_ms: dict[str, float] = {}
    steps: tuple[Step, ...] = ()


def judge(phase: PhaseFigures, beyond_p99_ms: float) -> Step:
    """Whether a step kept up, by achieved rate, latency and what was left unsent."""
    missed = []
    share = phase.achieved_per_s / phase.offered_per_s if phase.offered_per_s else 1.0
    if share < ACHIEVED_LEAST:
        missed.append(f"answered {share:.0%} of what was offered")
    beyond = phase.beyond_close.p99
    if beyond is not None and beyond > beyond_p99_ms:
        missed.append(f"p99 beyond the close {beyond:,.0f} ms, above {beyond_p99_ms:,.0f}")
    if phase.unsent > UNSENT_MOST * phase.offered_per_s:
        missed.append(f"{phase.unsent} bids unsent at its end")
    return Step(
        name=phase.name, offered_per_s=phase.offered_per_s, achieved_per_s=phase.achieved_per_s,
        beyond_p99_ms=beyond, missed=tuple(missed),
    )  # fmt: skip


def find(phases: Sequence[PhaseFigures], beyond_p99_ms: float, window_ms: int = 0) -> Knee | None:
    """The knee of the measured steps, in rising order; None where there is no whole step."""
    measured = [one for one in phases if one.measured and one.whole and one.offered]
    steps = tuple(judge(phase, beyond_p99_ms) for phase in measured)
    if not steps:
        return None
    broken = next((number for number, step in enumerate(steps) if step.missed), None)
    if broken is None:
        last = steps[-1]
        return Knee(rate_per_s=last.achieved_per_s, step=last.name, steps=steps)
    good = steps[broken - 1] if broken else None
    # By rights a bid waits half a window for its close, whatever the rate.
    rightly = dict.fromkeys(STAGES, 0.0) | {"waiting": window_ms / 2}
    grew = _growth(measured[0].stage_means_ms if broken else rightly, measured[broken])
    limit = max(grew, key=lambda name: grew[name])
    return Knee(
        rate_per_s=good.achieved_per_s if good else 0.0, step=good.name if good else "",
        broken=steps[broken].name, missed=steps[broken].missed, grew_ms=grew, steps=steps,
        limit=limit, limit_words=WORDS[limit],
    )  # fmt: skip


def is_past(
    history: Sequence[tuple[float, int, int]], step: tuple[float, float], settle_s: float,
    half_window_s: float,
) -> bool:  # fmt: skip
    """Whether a step that is over has clearly failed, so that the next ones tell nothing new.

    ``history`` holds (seconds since the begin, bids offered, bids answered) so far; the step began
    and ended at ``step``. Clearly: below GIVE_UP of what was offered.
    """
    begin_s, end_s = step[0] + settle_s, step[1]
    if not history or history[-1][0] < end_s + half_window_s:
        return False
    offered = _at(history, end_s, 1) - _at(history, begin_s, 1)
    after, before = end_s + half_window_s, begin_s + half_window_s
    answered = _at(history, after, 2) - _at(history, before, 2)
    return answered < GIVE_UP * offered


def _at(history: Sequence[tuple[float, int, int]], at_s: float, column: int) -> float:
    """A counter at a moment, by a line between two looks."""
    for early, late in itertools.pairwise(history):
        if early[0] <= at_s <= late[0]:
            share = (at_s - early[0]) / max(1e-9, late[0] - early[0])
            return float(early[column] + share * (late[column] - early[column]))
    return 0.0


def _growth(before: Mapping[str, float], broken: PhaseFigures) -> dict[str, float]:
    """By how much each stage's mean grew."""
    return {
        name: round(broken.stage_means_ms.get(name, 0.0) - before.get(name, 0.0), 2)
        for name in STAGES
        if name != "binding"  # it follows the answer, which is what a step is judged by
    }
