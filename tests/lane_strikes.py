"""Kills or freezes the process that loads it, at random steps inside transactions. Test only."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from typing import Any

from aiokafka import AIOKafkaProducer

_STEPS = {"start": 3.0, "begin_transaction": 0.5, "send_offsets_to_transaction": 1.0,
          "send_batch": 0.3}  # fmt: skip


def arm(text: str) -> None:
    """``SEED/RATE``: strike with probability RATE (times a step's weight) after three seconds."""
    seed, rate = text.split("/")
    chance, armed_s = random.Random(f"{seed}-{os.getpid()}"), time.monotonic() + 3

    def strike(step: str, weight: float) -> None:
        if time.monotonic() > armed_s and chance.random() < float(rate) * weight:
            chosen = chance.choice([signal.SIGKILL, signal.SIGSTOP])
            print(f"STRIKE {step} {chosen.name}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), chosen)

    for step, weight in _STEPS.items():
        _strike_after(step, weight, strike)
    _strike_around_commit(chance, strike)


def _strike_after(step: str, weight: float, strike: Any) -> None:
    original = getattr(AIOKafkaProducer, step)

    async def wrapped(self: Any, *args: Any, **options: Any) -> Any:
        result = await original(self, *args, **options)
        strike(step, weight)
        return result

    setattr(AIOKafkaProducer, step, wrapped)


def _strike_around_commit(chance: random.Random, strike: Any) -> None:
    original = AIOKafkaProducer.commit_transaction

    async def wrapped(self: Any) -> None:
        strike("before commit", 2)
        task = asyncio.ensure_future(original(self))
        await asyncio.sleep(chance.random() * 0.006)
        strike("during commit", 2)
        await task
        strike("after commit", 1)

    AIOKafkaProducer.commit_transaction = wrapped
