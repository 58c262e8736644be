"""Figures of load tests: what counts as late, achieved, recovered, bent; known answers only."""

from __future__ import annotations

import pathlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidplane_loadtest.load import (
    beats,
    figures,
    knee,
    latency,
    marks,
    ranges,
    schedule,
    usl,
    words,
)

BEGIN_MS = 1_800_000_000_000
WINDOW_MS = 2000
US = schedule.US


def made(due_us: list[int], **columns: list[int]) -> marks.Marks:
    """Marks with NEVER where a column is not given."""
    count = len(due_us)
    names = ("sent", "acked", "held", "decided", "bound", "closed_ms", "voided")
    blank = {name: np.full(count, marks.NEVER, np.int64) for name in names}
    small = {name: np.zeros(count, np.int64) for name in ("kind", "reason", "phase")}
    given_ = {name: np.array(values, np.int64) for name, values in columns.items()}
    return marks.Marks(**{**blank, **small, **given_, "due": np.array(due_us, np.int64)})


def phase_of(name: str, **changes: object) -> figures.PhaseFigures:
    """A step that kept up with 100 bids a second."""
    base = figures.PhaseFigures(
        name=name, begin_s=0, seconds=10, measured=True, whole=True, offered=1000, answered=1000,
        offered_per_s=100, sent_per_s=100, achieved_per_s=100, unsent=0, backlog=0,
        lag=latency.Percentiles(), admitted=latency.Percentiles(count=1000, mean=20),
        beyond_close=latency.Percentiles(p99=300),
        stage_means_ms=dict.fromkeys(figures.STAGES, 10.0),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(
        st.lists(st.integers(1, latency.HIGHEST_US), min_size=1, max_size=40), min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_histograms_of_processes_merge_into_that_of_all(parts: list[list[int]]) -> None:
    """Adding the histograms of several processes gives the histogram of all their values."""
    whole = latency.histogram(np.array([value for part in parts for value in part]))
    merged = latency.histogram(np.array(parts[0]))
    for part in parts[1:]:
        merged.add(latency.histogram(np.array(part)))
    assert merged.equals(whole)


def test_a_log_holds_the_whole_distribution(tmp_path: pathlib.Path) -> None:
    """The intervals of a written log add up to the histogram of all latencies."""
    dice = np.random.default_rng(1)
    due = np.sort(dice.integers(0, 5 * US, 500))
    spent = dice.integers(100, 3 * US, 500)
    latency.write_log(tmp_path / "x.hlog", due, spent, BEGIN_MS)
    read = latency.read_log(tmp_path / "x.hlog")
    assert read.get_total_count() == 500
    assert read.get_value_at_percentile(99) == latency.histogram(spent).get_value_at_percentile(99)


def test_latency_counts_from_the_intended_time() -> None:
    """A bid that is sent two seconds late is two seconds late, however fast its answer comes."""
    late = made([0], sent=[2 * US], acked=[2 * US + 1000], held=[2 * US + 5000])
    found = figures.Timeline(late, BEGIN_MS, WINDOW_MS).named()
    assert found["admitted"][1].tolist() == [2 * US + 5000]
    assert late.held[0] - late.sent[0] == 5000  # all that service time would have shown


def test_beyond_the_close_counts_from_the_due_window() -> None:
    """Of two bids told at one moment, the one that was due a window earlier is a window later."""
    told = made([100_000, 2_100_000], sent=[0, 0], decided=[4_050_000, 4_050_000])
    due, late = figures.Timeline(told, BEGIN_MS, WINDOW_MS).beyond_close()
    assert due.tolist() == [100_000, 2_100_000]
    assert late.tolist() == [2_050_000, 50_000]


def test_stages_add_up() -> None:
    """The means of the stages are together the time from the intended send to the lease."""
    one = made(
        [0], sent=[1000], acked=[5000], held=[30_000], closed_ms=[BEGIN_MS + 2000],
        decided=[2_040_000], bound=[2_500_000],
    )  # fmt: skip
    means = figures.Timeline(one, BEGIN_MS, WINDOW_MS).stages()
    assert tuple(means) == figures.STAGES
    assert sum(means.values()) == pytest.approx(2500.0)
    assert means["waiting"] == pytest.approx(1970.0)


def test_a_step_achieves_what_whole_rounds_answer() -> None:
    """Answers that come in rounds count as the rate that was offered, where all are answered."""
    due = [round(number * US / 50) for number in range(1000)]  # 20 s at 50/s
    told = [(one // (2 * US) + 1) * 2 * US + 300_000 for one in due]
    timeline = figures.Timeline(made(due, sent=due, decided=told), BEGIN_MS, WINDOW_MS)
    phase = schedule.Phase(name="50/s", seconds=20, rate=50)
    (found,) = figures.phases(timeline, [phase], 20.0)
    assert found.offered_per_s == pytest.approx(50.0)
    assert found.achieved_per_s == pytest.approx(50.0)
    assert found.beyond_close.p50 == pytest.approx(300.0, rel=0.01)


def test_the_knee_is_the_last_step_that_kept_up() -> None:
    """The knee is what the last good step achieved, and the limit the stage that grew most."""
    good = phase_of("100/s")
    better = phase_of("150/s", offered_per_s=150, achieved_per_s=148)
    slow = {**good.stage_means_ms, "admission": 4000.0, "telling": 900.0}
    bad = phase_of("225/s", offered_per_s=225, achieved_per_s=160, stage_means_ms=slow)
    found = knee.find([good, better, bad], 3000)
    assert found is not None
    assert (found.step, found.rate_per_s, found.broken) == ("150/s", 148, "225/s")
    assert found.limit == "admission"
    assert found.grew_ms["admission"] == 3990.0
    assert found.missed == ("answered 71% of what was offered",)


def test_late_answers_and_unsent_bids_break_a_step_too() -> None:
    """A step that answers all is past the knee where it is too slow or the generator too late."""
    slow = knee.judge(phase_of("x", beyond_close=latency.Percentiles(p99=3001)), 3000)
    unsent = knee.judge(phase_of("x", unsent=60), 3000)
    assert slow.missed == ("p99 beyond the close 3,001 ms, above 3,000",)
    assert unsent.missed == ("60 bids unsent at its end",)
    assert knee.judge(phase_of("x"), 3000).missed == ()


def test_percentiles_of_nothing_are_none() -> None:
    """Nothing measured is no zero: it is null in the result, and it is a dash in a table."""
    empty = latency.percentiles(np.array([], np.int64))
    assert msgspec.json.decode(msgspec.json.encode(empty))["p99"] is None
    assert knee.judge(phase_of("x", beyond_close=empty), 3000).missed == ()
    assert usl.points([phase_of("x", admitted=empty)]) == []
    assert words.latency_row("bound", empty) == ("bound", "0", "-", "-", "-", "-", "-")


def test_without_a_broken_step_there_is_no_limit() -> None:
    """Where every step kept up, no limit is named and no step is called broken."""
    found = knee.find([phase_of("100/s"), phase_of("150/s")], 3000)
    assert found is not None
    assert (found.limit, found.broken, found.step) == ("", "", "150/s")


def test_a_run_ends_at_a_step_that_has_clearly_failed() -> None:
    """The live look sees a step that answered far less, and only once it is over."""
    rising = [(float(at), at * 100, at * 50) for at in range(20)]
    fair = [(float(at), at * 100, at * 100 - 100) for at in range(20)]
    assert knee.is_past(rising, (4, 14), 2, 1)
    assert not knee.is_past(fair, (4, 14), 2, 1)
    assert not knee.is_past(rising[:14], (4, 14), 2, 1)


def test_the_law_is_found_again() -> None:
    """Points made by the law give its parameters back, within their intervals, and its peak."""
    n = np.array([1.0, 2, 4, 8, 16, 32, 64])
    noise = 1 + np.random.default_rng(3).normal(0, 0.002, len(n))
    x = usl.law(n, 900.0, 0.05, 0.0008) * noise
    found = usl.fit(list(zip(n.tolist(), x.tolist(), strict=True)))
    assert found.meaningful, found.why
    for name, true in (("gamma", 900.0), ("sigma", 0.05), ("kappa", 0.0008)):
        half = found.half_widths[name]
        assert half is not None
        assert abs(found.values[name] - true) <= 2 * half
    assert found.peak_n == pytest.approx((0.95 / 0.0008) ** 0.5, rel=0.1)


def test_the_law_predicts_nothing_far_away() -> None:
    """A peak beyond 1.5 times the greatest concurrency that was measured is not told."""
    n = np.array([1.0, 2, 4, 6, 8, 10])
    x = usl.law(n, 900.0, 0.05, 0.0008)
    found = usl.fit(list(zip(n.tolist(), x.tolist(), strict=True)))
    assert found.reach_n == 15.0
    assert found.peak_n is None
    assert found.peak_per_s is None


def test_a_meaningless_fit_says_so() -> None:
    """Too few steps, and intervals wider than their values, are called no meaningful fit."""
    few = usl.fit([(1.0, 10.0), (2.0, 20.0)])
    assert not few.meaningful
    assert "2 steps" in few.why
    scattered = usl.fit([(1.0, 10.0), (2.0, 60.0), (3.0, 20.0), (4.0, 90.0), (5.0, 30.0)])
    assert not scattered.meaningful
    assert "wider than their values" in scattered.why


def test_recovery_is_the_first_calm_stretch() -> None:
    """A system has recovered at the first of three seconds that are as good as before."""
    due = [second * US for second in range(30)]
    spent = [50_000] * 10 + [4 * US] * 8 + [50_000, 4 * US] + [50_000] * 10
    held = [at + one for at, one in zip(due, spent, strict=True)]
    told = [(at // (2 * US) + 1) * 2 * US + 10_000 for at in due]
    timeline = figures.Timeline(made(due, sent=due, held=held, decided=told), BEGIN_MS, WINDOW_MS)
    course = figures.course(timeline)
    assert ranges.recovered_s(course, (0, 10), 10.0) == 10.0
    assert ranges.recovered_s(course, (0, 10), 28.5) is None


def test_a_course_counts_what_is_unsent() -> None:
    """Bids that are due and not sent stand in the course until they are."""
    due = [0, 100_000, 1_200_000]
    late = [2_500_000, 2_500_001, 2_500_002]
    course = figures.course(figures.Timeline(made(due, sent=late), BEGIN_MS, WINDOW_MS))
    assert course.offered == [2, 1]
    assert course.unsent == [2, 3]
    assert course.lag_ms == [2500.0, 1300.0]


def test_beats_of_processes_add_up() -> None:
    """Counts and buckets of processes are summed, and the worst lag is the lag of all."""
    one, two = beats.Buckets(), beats.Buckets()
    one.take(0.004)
    two.take(100.0)
    whole = beats.total(
        [
            beats.Beat(offered=5, sent=4, kinds={"won": 1}, lag_us=3, stages={"acked": one}),
            beats.Beat(offered=2, sent=2, kinds={"won": 1, "lost": 1}, stages={"acked": two}),
        ]
    )
    assert (whole.offered, whole.sent, whole.unsent, whole.lag_us) == (7, 6, 1, 3)
    assert (whole.kinds, whole.answered) == ({"won": 2, "lost": 1}, 3)
    cumulative = whole.stages["acked"].cumulative()
    assert cumulative[0] == ("0.005", 1)
    assert cumulative[-1] == ("+Inf", 2)


def test_what_was_never_due_is_not_offered() -> None:
    """Bids of steps that a run did not reach are no part of its figures."""
    whole = made([0, US, 5 * US, 6 * US], sent=[1, marks.NEVER, 5 * US, marks.NEVER])
    assert whole.offered(2.0).due.tolist() == [0, US, 5 * US]
