"""How often a sink says that a server does not answer."""

from __future__ import annotations

import logging

import pytest

from bidplane_streams.sinks import patience


def test_silence_is_told_at_once_and_then_twice_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Many failures in a moment are one line, a long silence more, an answer ends it."""
    now_s = [0.0]
    voice = patience.Voice(lambda: now_s[0])
    with caplog.at_level(logging.WARNING):
        for second in (0, 0, 1, 29, 30, 31, 60):
            now_s[0] = float(second)
            voice.failed("Kafka", OSError("refused"))
        voice.answered("Kafka")
        voice.answered("Kafka")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["Kafka does not answer, trying again: refused"] * 3 + ["Kafka answers again"]
