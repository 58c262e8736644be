"""The toy lanes on a broker that loses markers: some partitions of a transaction get none.

The broker's fault is played by the client, which writes to a partition without naming it to the
coordinator (the broker must be told not to look: ``transaction.partition.verification.enable``).
Markers of outputs are lost while the process is young. Later it loses those of rows and offsets,
which the other ones show, and in half of the cases it dies at once, so that its next owner has to
see what it was. It is sound once the file that STRIKES names is there. Run as
``python -m lane_losing``.
"""

from __future__ import annotations

import os
import pathlib
import random
import signal
import time
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.transaction_manager import TransactionManager

import lane_toy
from bidplane_streams.lanes import hanging

SHARE = 0.02
YOUNG_S = 8.0
GROWN_S = 12.0
_chance = random.Random(os.getpid())
# Of each transaction manager: which kind of partition the running transaction loses.
_victims: dict[int, str] = {}
_began_s = time.monotonic()
# An ending that is under way: it loses nothing, or the next loss could hide what this one shows.
_endings = [0]


def _age_s() -> float:
    return time.monotonic() - _began_s


def _kind(tp: TopicPartition) -> str:
    return "changelog" if tp.topic.endswith("changelog") else "outputs"


def main() -> None:
    """Put the fault in, and run."""
    enough = pathlib.Path(os.environ["STRIKES"])
    begin, add = TransactionManager.begin_transaction, TransactionManager.maybe_add_partition_to_txn
    end = hanging.end
    group, commit = TransactionManager.consumer_group_to_add, AIOKafkaProducer.commit_transaction

    def begin_losing(self: Any) -> None:
        begin(self)
        lost = _chance.random() < SHARE and not enough.exists() and not _endings[0]
        kinds = ["changelog", "offsets"] + ["outputs"] * (_age_s() < YOUNG_S)
        _victims[id(self)] = _chance.choice(kinds) if lost else ""

    def add_or_lose(self: Any, tp: TopicPartition) -> None:
        if _victims.get(id(self)) == _kind(tp):
            self._txn_partitions.add(tp)
        else:
            add(self, tp)

    def group_or_lose(self: Any) -> Any:
        named = group(self)
        if named is not None and _victims.get(id(self)) == "offsets":
            self.consumer_group_added(named)
            return None
        return named

    async def commit_and_die(self: Any) -> None:
        await commit(self)
        victim = _victims.pop(id(self._txn_manager), "")
        if victim:
            print(f"LOST {victim}", flush=True)
        if victim and _age_s() > GROWN_S and _chance.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)

    async def end_soundly(*words: Any, **named: Any) -> None:
        _endings[0] += 1
        try:
            await end(*words, **named)
        finally:
            _endings[0] -= 1

    hanging.end = end_soundly
    TransactionManager.begin_transaction = begin_losing
    TransactionManager.maybe_add_partition_to_txn = add_or_lose
    TransactionManager.consumer_group_to_add = group_or_lose
    AIOKafkaProducer.commit_transaction = commit_and_die
    del os.environ["STRIKES"]  # it means another thing to the toy lanes
    lane_toy.main()


if __name__ == "__main__":
    main()
