"""A future that a library cancels by itself is no cancellation of the task that waits for it."""

from __future__ import annotations

import asyncio

import pytest

from bidplane_streams.sinks import errors, records


async def test_a_future_cancelled_by_a_library_is_a_server_gone() -> None:
    """The task goes on, and knows that it has to try again."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.cancel)
    with pytest.raises(errors.Unreachable, match="went away"), records.unless_cancelled():
        await waiting


async def test_a_task_that_is_cancelled_ends() -> None:
    """Who is told to stop stops."""

    async def work() -> None:
        with records.unless_cancelled():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
