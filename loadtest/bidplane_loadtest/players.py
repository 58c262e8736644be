"""Agents that bid: each sends its asks when they are due and reacts to what it is told.

Decides when to bid, when to bid again, and that nothing waits without an end: a bid that cannot
be sent is counted, not retried for ever. Refuses to know what work is worth and how pods are run.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from bidplane_agents import clock, connection, inbox, log
from bidplane_agents.client import Client
from bidplane_agents.errors import BidplaneError
from bidplane_agents.profiles import Profile
from bidplane_loadtest import cast
from bidplane_topics import bids, codec, errors, registry
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported

# Bids that fall due together travel under one signature.
GATHER_S: Final = 0.2
LEASE_OVER: Final = frozenset({"ended", "voided"})
REBID_REASONS: Final = frozenset({"outbid", "no_capacity", "supply_stale"})

Heard = Callable[["Player", OutcomeReported], None]


class Due(NamedTuple):
    """An ask that waits for its time. ``number`` breaks ties, so that asks are never compared."""

    at_s: float
    number: int
    ask: cast.Ask
    attempt: int


class Player:
    """One agent: what it still wants, what it waits for, and what came of it."""

    def __init__(self, part: cast.Part, profile: Profile, market: str) -> None:
        """Nothing is sent before ``run``."""
        self.role, self.profile, self.market = part.role, profile, market
        self.part = part
        self.counts: Counter[str] = Counter()
        self.open_bids: dict[str, Due] = {}
        self.open_leases: set[str] = set()
        self.granted = asyncio.Event()
        self._due: list[Due] = []
        self._numbers = 0
        self._wake = asyncio.Event()
        self._early: dict[str, OutcomeReported] = {}

    def open(self, begin_s: float) -> None:
        """Put all asks in the calendar, relative to ``begin_s`` of the loop's clock."""
        for ask in self.part.asks:
            self._plan(begin_s + ask.arrival.at_ms / 1000, ask, 0)

    def _plan(self, at_s: float, ask: cast.Ask, attempt: int) -> None:
        self._numbers += 1
        heapq.heappush(self._due, Due(at_s, self._numbers, ask, attempt))
        self._wake.set()

    async def run(self, reached: connection.Connection) -> None:
        """Bid until cancelled."""
        async with Client(self.profile, reached, listen=False) as client:
            while True:
                batch = self._ready()
                if batch:
                    await self._send(client, batch)
                else:
                    await self._pause()

    def _ready(self) -> list[Due]:
        batch: list[Due] = []
        now_s = asyncio.get_running_loop().time()
        while self._due and self._due[0].at_s <= now_s and len(batch) < bids.COMMANDS_MAX:
            batch.append(heapq.heappop(self._due))
        return batch

    async def _pause(self) -> None:
        self._wake.clear()
        now_s = asyncio.get_running_loop().time()
        wait_s = max(GATHER_S, self._due[0].at_s - now_s) if self._due else 3600.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        await asyncio.sleep(GATHER_S / 2)

    async def _send(self, client: Client, batch: list[Due]) -> None:
        now_ms = clock.now_ms()
        places = [cast.place(self.role, d.ask, self.market, now_ms, d.attempt) for d in batch]
        try:
            names = await client.bid_all(places)
        except BidplaneError:
            # It may still arrive: then its outcomes are counted as any other's.
            self.counts["unacknowledged"] += len(batch)
            return
        self.counts["sent"] += len(batch)
        self.counts["again"] += sum(due.attempt > 0 for due in batch)
        for name, due in zip(names, batch, strict=True):
            self.open_bids[name] = due
            if (early := self._early.pop(name, None)) is not None:
                self._ended(early)

    def hear(self, outcome: OutcomeReported) -> None:
        """Take one own outcome into account."""
        self.counts[outcome.kind] += 1
        if outcome.kind == "granted":
            self.granted.set()
        if outcome.kind in TERMINAL_BID_KINDS:
            if outcome.bid_id in self.open_bids:
                self._ended(outcome)
            else:  # the answer overtook the acknowledgement
                self._early[outcome.bid_id] = outcome
        if outcome.kind == "won":
            self.open_leases.add(outcome.lease_id)
        if outcome.kind in LEASE_OVER:
            self.open_leases.discard(outcome.lease_id)

    def _ended(self, outcome: OutcomeReported) -> None:
        due = self.open_bids.pop(outcome.bid_id)
        again = outcome.kind == "lost" and outcome.reason in REBID_REASONS
        if again and due.attempt < self.role.rebids:
            self._plan(asyncio.get_running_loop().time(), due.ask, due.attempt + 1)

    @property
    def unsent(self) -> int:
        """Asks whose time had not come when bidding stopped."""
        return len(self._due)


class Company(msgspec.Struct):
    """All players, and the tasks that listen for them."""

    players: dict[str, Player]
    reached: connection.Connection
    heard: Heard
    tasks: list[asyncio.Task[None]] = []

    async def listen(self) -> None:
        """Hear every tenant's outcomes from now on: one reader a tenant, not one an agent."""
        for tenant in sorted({player.role.tenant for player in self.players.values()}):
            tail = log.Tail(self.reached, registry.allocations(tenant).name)
            await tail.from_now()
            self.tasks.append(asyncio.create_task(self._hear(tail), name=f"hear {tenant}"))

    async def _hear(self, tail: log.Tail) -> None:
        repeats = inbox.Repeats()
        async for record in tail.records():
            with contextlib.suppress(errors.MalformedRecord):
                outcome = codec.decode(registry.OUTCOMES, record.value)
                player = self.players.get(f"{outcome.tenant}/{outcome.agent}")
                if player is not None and repeats.is_new(outcome.outcome_id):
                    player.hear(outcome)
                    self.heard(player, outcome)

    def bid(self) -> list[asyncio.Task[None]]:
        """Start bidding now; the tasks run until cancelled."""
        begin_s = asyncio.get_running_loop().time()
        started = []
        for name, player in sorted(self.players.items()):
            player.open(begin_s)
            started.append(asyncio.create_task(player.run(self.reached), name=f"bid {name}"))
        self.tasks += started
        return started

    def settled(self) -> bool:
        """Whether every bid has its outcome and every lease is over, as far as was told."""
        return not any(p.open_bids or p.open_leases for p in self.players.values())

    def total(self, kind: str) -> int:
        """A count over all players."""
        return sum(player.counts[kind] for player in self.players.values())

    async def close(self) -> None:
        """Stop listening and bidding."""
        await stop(self.tasks)


async def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel and wait; what a task failed with was counted or is raised by whoever watches it."""
    listed = list(tasks)
    for task in listed:
        task.cancel()
    await asyncio.gather(*listed, return_exceptions=True)
