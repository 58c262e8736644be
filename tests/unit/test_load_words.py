"""What a load test's report says of its figures."""

from __future__ import annotations

from bidplane_loadtest.load import figures, latency, ranges, result, scenarios, words


def run(sent: int, answered: int) -> result.Result:
    """A run of one phase."""
    phase = figures.PhaseFigures(
        name="steady", begin_s=0, seconds=10, measured=True, whole=True, offered=sent,
        answered=answered, offered_per_s=100, sent_per_s=100, achieved_per_s=100, unsent=0,
        backlog=0, lag=latency.Percentiles(), admitted=latency.Percentiles(count=1),
        beyond_close=latency.Percentiles(p99=223), stage_means_ms={},
    )  # fmt: skip
    return result.Result(
        scenario="smoke", market="pool-a", window_ms=2000, command="", seed=1, begun_at_ms=0,
        seconds=10, settings={}, stated={}, versions={}, offered=sent, sent=sent,
        machine=result.Machine(cpus=1, cpu="", memory_gib=1, kernel="", load_before=0),
        answered=answered, kinds={}, reasons={}, bound=0, voided=0,
        latencies_ms={"beyond_close": latency.Percentiles(count=1, p99=278)}, distribution_ms={},
        lag_ms=latency.Percentiles(), stage_means_ms={}, phases=[phase], heat={},
        course=figures.Course(
            offered=[], sent=[], admitted=[], answered=[], unsent=[], lag_ms=[], latency_ms={}
        ),
        beside=result.Beside(), audit=result.Verdict(exit_code=0, words="every promise kept"),
    )  # fmt: skip


def test_answers_are_judged_in_percent() -> None:
    """The share of bids answered is told in percent, and one bid less than all never as 100."""
    for sent, answered, told in ((400, 400, "100"), (1_000_000, 999_999, "99.99")):
        judged = ranges.judge(run(sent, answered), scenarios.Limits())
        (row,) = [one for one in words.range_cells(judged) if one[0] == "bids answered"]
        assert row[1:3] == ("at least 100 % of those sent", told)
        assert row[3] == ("kept" if answered == sent else "MISSED")


def test_two_percentiles_of_the_same_bids_are_explained() -> None:
    """Where phases and the table of latencies differ, the report says which bids they count."""
    assert words.SETTLING in words.notes(run(400, 400))
