"""When a system is ready: its markets have cleared rounds with every device among them.

Decides readiness from the rounds alone, which prove that Kafka, lanes, inventory and sink work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import aiokafka

from bidplane_agents import connection
from bidplane_streams.embedded import errors
from bidplane_topics import codec, registry
from bidplane_topics.rounds import RoundClosed

TIMEOUT_S = 180.0
UNITS = 7


async def until_on_sale(
    kafka: str, market: str, gpus: int, stopped: Callable[[], Awaitable[None]]
) -> None:
    """Wait until rounds know all units of so many GPUs, and ``market`` has devices on sale.

    Nodes that an operator moved count where they are now.

    Raises:
        ServerFailed: it did not come in time.
        CancelledError: the system was asked to stop meanwhile.
    """
    waiting = asyncio.ensure_future(_full_round(kafka, market, gpus))
    stopping = asyncio.ensure_future(stopped())
    try:
        done, _ = await asyncio.wait(
            {waiting, stopping}, timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if waiting in done:
            waiting.result()
        elif stopping in done:
            raise asyncio.CancelledError("stopped while starting")
        else:
            raise errors.ServerFailed(
                f"the market {market} had not all devices on sale within {TIMEOUT_S:.0f} s: see the"
                " logs of worker, claims and inventory"
            )
    finally:
        for task in (waiting, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _full_round(kafka: str, market: str, gpus: int) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        registry.ROUNDS.name, **connection.client_options(kafka), group_id=None,
        isolation_level="read_committed", auto_offset_reset="earliest",
    )  # fmt: skip
    units, sells = dict[str, int](), False
    begun_ms = time.time_ns() // 1_000_000 - 1000
    await consumer.start()
    try:
        async for record in consumer:
            closed: RoundClosed = codec.decode(registry.ROUNDS, record.value)
            # Other markets need not run now: what was moved there is not missing here.
            if closed.market == market and closed.closed_at_ms < begun_ms:
                continue
            units[closed.market] = closed.units_total
            # A silent sink leaves nothing on sale, however much there is.
            if closed.market == market:
                sells = any(pool.units_offered for pool in closed.pools.values())
            if sells and sum(units.values()) >= gpus * UNITS:
                return
    finally:
        await consumer.stop()
