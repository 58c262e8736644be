"""Usage: what a window of readings adds up to, without Kafka or Faust."""

from __future__ import annotations

from bidplane_streams.processors import usage
from bidplane_topics import codec
from bidplane_topics.telemetry import DeviceSampled


def _sample(busy: int, memory: int) -> DeviceSampled:
    return DeviceSampled(
        tenant="t", agent="a", lease_id="l", node="n", device="d", busy_permille=busy,
        memory_mib=memory, at_ms=1,
    )  # fmt: skip


def test_a_window_has_the_mean_and_the_highest() -> None:
    """Three readings: their count, floored mean and highest memory."""
    row = None
    for busy, memory in ((100, 7), (300, 9), (501, 8)):
        row = usage.added(row, _sample(busy, memory))
    assert row is not None
    event = usage.measured("l", 60_000, 120_000, row)
    assert (event.samples, event.busy_permille_mean, event.memory_mib_max) == (3, 300, 9)
    assert (event.window_start_ms, event.window_end_ms) == (60_000, 120_000)


def test_bytes_that_are_no_reading_are_left_out() -> None:
    """A malformed reading is counted and dropped; a good one decodes."""
    assert usage.decoded(b"{") is None
    assert usage.decoded(None) is None
    sample = _sample(1, 1)
    assert usage.decoded(codec.encode(sample)) == sample
