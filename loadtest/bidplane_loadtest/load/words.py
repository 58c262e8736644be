"""A result in a terminal: phases, latencies, knee, ranges.

Decides words and units. Refuses to compute.
"""

from __future__ import annotations

from collections.abc import Sequence

from bidplane_agents.commands import output
from bidplane_loadtest.load.latency import Percentiles
from bidplane_loadtest.load.result import Range, Result
from bidplane_loadtest.load.usl import Fit

LATENCY_HEADS = ("milliseconds", ">count", ">p50", ">p90", ">p99", ">p99.9", ">max")
PHASE_HEADS = (
    "phase", ">offered/s", ">sent/s", ">answered/s", ">unsent", ">admitted p99 ms",
    ">beyond close p50 ms", ">p99 ms",
)  # fmt: skip
MACHINE = "share of the machine"
SETTLING = (
    "the phases' latencies, and the ranges of admitted and told, leave out the first window of a"
    " phase of more than three, in which the system settles; the table of latencies has it, so its"
    " percentiles may differ"
)
RANGE_HEADS = ("range", "must be", ">found", "verdict")
TITLES = {
    "acked": "acknowledged by Kafka", "admitted": "admitted (held)", "decided": "told won or lost",
    "beyond_close": "told, beyond its window's close", "bound": "lease bound",
    "binding": "bound, since told that it won",
}  # fmt: skip


def show(whole: Result) -> None:
    """Print the tables."""
    output.table(PHASE_HEADS, phase_cells(whole))
    output.line("")
    output.table(LATENCY_HEADS, latency_cells(whole))
    output.line("")
    for line in notes(whole):
        output.line(line)
    output.line("")
    output.table(RANGE_HEADS, range_cells(whole.ranges))


def phase_cells(whole: Result) -> list[Sequence[str]]:
    """A row for each phase."""
    return [
        (
            one.name, f"{one.offered_per_s:,.1f}", f"{one.sent_per_s:,.1f}",
            f"{one.achieved_per_s:,.1f}", f"{one.unsent:,}", _figure(one.admitted.p99, 0),
            _figure(one.beyond_close.p50, 0), _figure(one.beyond_close.p99, 0),
        )
        for one in whole.phases
    ]  # fmt: skip


def latency_cells(whole: Result) -> list[Sequence[str]]:
    """A row for each latency, all phases together, and how late the generator was."""
    rows = [latency_row(TITLES[name], one) for name, one in whole.latencies_ms.items()]
    return [latency_row("sent later than intended", whole.lag_ms), *rows]


def latency_row(name: str, one: Percentiles) -> Sequence[str]:
    """One of these rows; a dash where nothing was measured."""
    values = (one.p50, one.p90, one.p99, one.p999, one.max)
    return (name, f"{one.count:,}", *(_figure(value, 1) for value in values))


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def range_cells(ranges: Sequence[Range]) -> list[Sequence[str]]:
    """A row for each range."""
    return [
        (
            one.name, f"{one.must} {one.unit}".strip(),
            "none" if one.found is None else f"{one.found:,.4g}", "kept" if one.kept else "MISSED",
        )
        for one in ranges
    ]  # fmt: skip


def notes(whole: Result) -> list[str]:
    """What was offered and what became of it; the knee; recoveries; the audit."""
    kinds = ", ".join(f"{count:,} {name}" for name, count in whole.kinds.items())
    said = [
        f"{whole.offered:,} bids due, {whole.sent:,} sent, {whole.answered:,} answered: {kinds}",
        f"{whole.bound:,} leases bound, {whole.voided:,} voided",
    ]
    if whole.phases:
        said.append(SETTLING)
    if whole.cut_short:
        said.append("cut short: the ranges of the scenario are not judged")
    said += knee_words(whole)
    if whole.recovered_s is not None:
        said.append(f"recovered {whole.recovered_s:g} s after the burst")
    for one in whole.faults:
        found = "never" if one.recovered_s is None else f"after {one.recovered_s:g} s"
        said.append(f"{one.name} at {one.at_s:.1f} s: recovered {found}")
    said.append(f"audit: {whole.audit.words}")
    return said


def knee_words(whole: Result) -> list[str]:
    """Where the knee is and what limits; nothing for a run without steps."""
    knee = whole.knee
    if knee is None:
        return []
    if not knee.broken:
        return [f"no knee up to {knee.rate_per_s:,.0f} bids/s ({knee.step}): every step kept up"]
    share = {k: v for k, v in whole.evidence.items() if v >= 0.2}
    busy = ", ".join(f"{name} {value:.2f}" for name, value in sorted(share.items(), key=_most))
    missed = " and ".join(knee.missed)
    grew = f"its mean grew by {knee.grew_ms[knee.limit]:,.0f} ms"
    full = "; the machine had no core free" * (whole.evidence.get(MACHINE, 0.0) >= 0.95)
    return [
        f"knee: {knee.rate_per_s:,.0f} bids/s (step {knee.step or 'none'})",
        f"the next step, {knee.broken}: {missed}",
        f"the limit: {knee.limit_words} ({grew}){full}",
        *([f"in that step: {busy}"] if busy else []),
        usl_words(whole.usl),
    ]


def _most(pair: tuple[str, float]) -> float:
    return -pair[1]


def usl_words(fit: Fit | None) -> str:
    """The scalability law in a line."""
    if fit is None or not fit.meaningful:
        return f"Universal Scalability Law: no meaningful fit ({fit.why if fit else 'no steps'})"
    values = ", ".join(
        f"{name} {value:.3g} ± {fit.half_widths[name]:.2g}" for name, value in fit.values.items()
    )
    if fit.peak_per_s is None or fit.peak_n is None:
        return f"Universal Scalability Law: {values}; no peak up to {fit.reach_n:,.0f} bids at once"
    return (
        f"Universal Scalability Law: {values}; its peak is {fit.peak_per_s:,.0f} bids/s with "
        f"{fit.peak_n:,.0f} bids at once"
    )


def last_line(whole: Result) -> str:
    """What the exit code means."""
    missed = [one.name for one in whole.ranges if not one.kept]
    if whole.audit.exit_code:
        return f"BROKEN: {whole.audit.words}"
    if missed:
        return f"MISSED: {', '.join(missed)} (the audit: {whole.audit.words})"
    open_ = whole.sent - whole.answered - whole.kinds.get("failed", 0)
    cut = f"cut short, {open_:,} bids open"
    judged = cut if whole.cut_short else "all ranges kept"
    return f"{judged}; audit: {whole.audit.words}"
