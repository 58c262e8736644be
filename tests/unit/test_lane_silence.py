"""When a worker stops being ready because Kafka says nothing."""

from __future__ import annotations

from aiokafka import TopicPartition

from bidplane_streams.lanes.silence import Silence

BIDS, ORDERS = TopicPartition("bids", 0), TopicPartition("orders", 0)
AT_MS = 1_800_000_000_000


def test_a_partition_without_an_answer_for_ten_seconds_is_told() -> None:
    """The partition that has been silent longest is named, until it answers again."""
    silence = Silence("accounts")
    assert silence.judged({BIDS: AT_MS, ORDERS: AT_MS}, AT_MS) == ""
    assert silence.judged({BIDS: AT_MS, ORDERS: AT_MS + 9_000}, AT_MS + 10_000) == ""
    told = silence.judged({BIDS: AT_MS, ORDERS: AT_MS + 9_000}, AT_MS + 12_000)
    assert told == "accounts has no answer from Kafka on bids-0 for 12 s"
    assert silence.judged({BIDS: AT_MS + 12_500, ORDERS: AT_MS + 12_500}, AT_MS + 13_000) == ""


def test_what_was_never_heard_counts_from_the_first_look() -> None:
    """A partition just opened, or read again after a pause, has its ten seconds too."""
    silence = Silence("router")
    assert silence.judged({BIDS: None}, AT_MS) == ""
    assert "bids-0 for 11 s" in silence.judged({BIDS: None}, AT_MS + 11_000)
    assert silence.judged({}, AT_MS + 12_000) == ""
    assert silence.judged({BIDS: AT_MS}, AT_MS + 60_000) == ""
