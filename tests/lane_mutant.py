"""The toy lanes with two faults put in: offsets outside the transaction, and no look at the vector.

A test that lets these pass proves nothing. Run as ``python -m lane_mutant``.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from aiokafka import AIOKafkaProducer

import lane_toy
from bidplane_streams.lanes import clients, hanging, opening

_STASHED: dict[int, tuple[Any, str]] = {}
_MEMBERS: dict[str, Any] = {}
# A process dies after this many transactions with bids in them: late enough to have restored, and
# never after one without, which could not repeat anything.
LIVES = 40


async def _stash(self: Any, offsets: Any, group: str) -> None:
    _STASHED[id(self)] = (offsets, group)


def _from_committed(topic: str, applied: int | None, committed: int | None, first: int) -> int:
    if topic.endswith(".rules"):  # a global: nobody commits its offsets
        return first if applied is None else applied
    return first if committed is None else committed


def _never(applied: object, group: object) -> bool:
    del applied, group
    return False


def main() -> None:
    """Put the faults in, and run."""
    commit, member = AIOKafkaProducer.commit_transaction, clients.member
    lives = iter(range(LIVES, -1, -1))

    async def commit_then_offsets(self: Any) -> None:
        """Die between the two, once there is something to repeat."""
        await commit(self)
        offsets, group = _STASHED.pop(id(self))
        if any(partition.topic.endswith(".bids") for partition in offsets) and not next(lives):
            os.kill(os.getpid(), signal.SIGKILL)
        await _MEMBERS[group].commit(offsets)

    def remembered(conf: Any) -> Any:
        """The member that commits offsets from outside."""
        _MEMBERS[conf.group] = member(conf)
        return _MEMBERS[conf.group]

    AIOKafkaProducer.send_offsets_to_transaction = _stash
    AIOKafkaProducer.commit_transaction = commit_then_offsets
    clients.member = remembered
    opening.start = _from_committed
    # A sound lane would see that the group is behind, and put it right.
    hanging.is_behind = _never
    lane_toy.main()


if __name__ == "__main__":
    main()
