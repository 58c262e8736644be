"""What an agent decides, and the loop that carries it out.

A Bidder is pure: it sees a View and the time and says what to bid, or nothing. Everything that can
fail is the loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from bidplane_agents import clock as clocks
from bidplane_agents import history, inbox, log
from bidplane_agents import view as views
from bidplane_agents.client import Client
from bidplane_topics import registry
from bidplane_topics.bids import Place
from bidplane_topics.outcomes import OutcomeReported


class Bidder(Protocol):
    """Decides bids. Two bidders with equal fields and equal views decide alike."""

    def decide(self, view: views.View, now_ms: int) -> Place | None:
        """What to bid now, or None to wait."""
        ...


async def run(
    client: Client, bidder: Bidder, *, every_s: float, stop: asyncio.Event,
    clock: clocks.Clock = clocks.now_ms, watch: Callable[[views.View], None] | None = None,
) -> views.View:  # fmt: skip
    """Ask ``bidder`` every ``every_s`` seconds until ``stop`` is set; the last view.

    It starts with what the agent was told before, so a restart goes on where it was. ``watch`` sees
    every later view. Leases are left to run out. The client need not listen: this does.

    Raises:
        Unreachable: Kafka does not answer.
    """
    profile = client.profile
    tail = log.Tail(client.connection, registry.allocations(profile.tenant).name)
    await tail.from_now()  # before the history is read: what lies between is in both, not in none
    before = await history.own(client.connection, profile.tenant, profile.agent)
    held = _Held(history.fold(profile.tenant, profile.agent, before), watch)
    seen = inbox.Repeats(one.outcome_id for one in before)
    told = inbox.own_outcomes(tail, profile.agent, seen)
    listening = asyncio.create_task(_listen(told, held), name=f"bidder {profile.id}")
    stopping = asyncio.create_task(stop.wait(), name="bidder stop")
    try:
        while not stop.is_set():
            place = bidder.decide(held.view, clock())
            if place is not None:
                await client.bid(place)
            await asyncio.wait(
                {listening, stopping}, timeout=every_s, return_when=asyncio.FIRST_COMPLETED
            )
            if listening.done():
                listening.result()
    finally:
        for task in (listening, stopping):
            task.cancel()
        await asyncio.gather(listening, stopping, return_exceptions=True)
    return held.view


class _Held:
    """The present view: the one thing that the listening task changes."""

    def __init__(self, view: views.View, watch: Callable[[views.View], None] | None) -> None:
        self.view = view
        self._watch = watch

    def put(self, view: views.View) -> None:
        self.view = view
        if self._watch is not None:
            self._watch(view)


async def _listen(told: AsyncIterator[OutcomeReported], held: _Held) -> None:
    async for outcome in told:
        held.put(views.told(held.view, outcome))
