"""Usage: what a window of readings adds up to, without Kafka or Faust."""

from __future__ import annotations

import msgspec

from bidplane_streams.processors import telemetry_gate, usage
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


def test_a_flood_of_made_up_leases_gets_few_rows() -> None:
    """Of leases that nobody knows a window takes so many and no more; one that lives gets in."""
    gate = telemetry_gate.Gate({"live": "t/a"}.get, strangers_max=3)

    def state(lease_id: str, start_ms: int = 0) -> str:
        sample = msgspec.structs.replace(_sample(1, 1), lease_id=lease_id)
        return gate.state(b"t/a", sample, start_ms)

    states = [state(f"made-up-{number}") for number in range(1000)]
    assert states == ["counted"] * 3 + ["dropped"] * 997
    assert state("live") == state("made-up-0") == "counted"
    assert state("new", start_ms=60_000) == "counted"


def test_a_reading_of_another_agents_lease_is_left_out() -> None:
    """Key, reading and the lease that lives must name one agent, also when a window is over."""
    owners = {"l": "t/a"}
    gate = telemetry_gate.Gate(owners.get)
    assert gate.state(b"t/a", _sample(1, 1), 0) == "counted"
    assert gate.state(b"t/other", _sample(1, 1), 0) == "foreign"
    owners["l"] = "t/other"
    assert gate.state(b"t/a", _sample(1, 1), 0) == "foreign"
    assert not gate.owns("t", "a", "l")
    assert gate.owns("t", "other", "l")
    forged = usage.Row("t", "other", 9, 9, 9)
    assert usage.added(forged, _sample(5, 7)) == usage.Row("t", "a", 1, 5, 7)
