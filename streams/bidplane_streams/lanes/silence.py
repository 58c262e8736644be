"""Whether Kafka still answers a reader: a broker that is frozen closes no connection.

Decides how long no answer is too long. A fetch that finds nothing is answered too, within
``fetch_wait_ms``, so an idle topic is never silent. Refuses to end anything: clients have time-outs
of their own, and a process that waits is not ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from bidplane_streams import clock

SILENT_MS: Final = 10_000


class Silence:
    """Of one consumer. What is first asked about counts as heard at that moment."""

    def __init__(self, name: str) -> None:
        """``name`` is the lane's, for the words."""
        self._name = name
        self._since: dict[TopicPartition, int] = {}

    def words(self, consumer: AIOKafkaConsumer, read: Iterable[TopicPartition]) -> str:
        """What to say of these assigned partitions that are not paused; empty if all answer."""
        heard = {tp: consumer.last_poll_timestamp(tp) for tp in read}
        return self.judged(heard, clock.now_ms())

    def judged(self, heard: dict[TopicPartition, int | None], now_ms: int) -> str:
        """The same of the moments of their last answers; None: there was none so far."""
        self._since = {tp: self._since.get(tp, now_ms) for tp in heard}
        silent = {tp: now_ms - max(at or 0, self._since[tp]) for tp, at in heard.items()}
        worst = max(silent, key=lambda tp: silent[tp], default=None)
        if worst is None or silent[worst] <= SILENT_MS:
            return ""
        where = f"{worst.topic}-{worst.partition}"
        return f"{self._name} has no answer from Kafka on {where} for {silent[worst] // 1000} s"
