"""The two lanes in virtual time: transactions that commit whole or are lost with the process.

Decides when a lane crashes and what a restart remembers: its changelog. Refuses to know bids or
leases.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec

from bidplane_streams.market import rounds, state
from bidplane_streams.market.effects import CloseWindow, DeadLetter, Effect, Emit, Input
from bidplane_topics import registry
from bidplane_topics.ledger import Origin
from simulation.sim_log import Log

VECTOR = b"\0vector"
S = TypeVar("S", state.AccountsState, state.MarketState)
Read = list[tuple[registry.Topic, int, Any, int]]


class Lane(Generic[S]):
    """One partition of one lane."""

    topics: tuple[registry.Topic, ...] = ()

    def __init__(self, log: Log, partition: int, dice: random.Random, crash_permille: int) -> None:
        """``crash_permille``: how often a transaction is lost."""
        self.log = log
        self.partition = partition
        self.dice = dice
        self.crash_permille = crash_permille
        self.changelog: dict[bytes, bytes | None] = {}
        self.crashes = 0
        self.dead: list[DeadLetter] = []
        self.start()

    def new_state(self) -> S:
        """A partition of which nothing is known."""
        raise NotImplementedError

    def start(self) -> None:
        """All that a process knows when it starts: the changelog."""
        self.state: S = self.new_state()
        self.positions: dict[str, int] = {}
        for key, value in self.changelog.items():
            if key == VECTOR:
                assert value is not None
                self.positions = msgspec.json.decode(value)
            else:
                self.state.restore(key, value)

    def unread(self, at_most: int) -> Read:
        """Records not yet applied, per topic in order, and at most that many of each."""
        found: Read = []
        for topic in self.topics:
            partition = 0 if topic.partitioned_by == "one" else self.partition
            first = self.positions.get(topic.name, 0)
            events = self.log.read(topic, partition, first)[:at_most]
            found += [
                (topic, first + step, event, at_ms)
                for step, (event, at_ms) in enumerate(events)
            ]  # fmt: skip
        return found

    def apply(self, read: Read) -> list[Effect]:
        """Apply records; the positions move on in memory alone."""
        caused: list[Effect] = []
        for topic, offset, event, at_ms in read:
            origin = Origin(topic=topic.name, partition=self.partition, offset=offset)
            caused += state.apply(self.state, Input(event, origin, at_ms), at_ms)[1]
            self.positions[topic.name] = offset + 1
        return caused

    def commit(self, caused: Iterable[Effect], now_ms: int) -> list[Effect]:
        """Write everything or, in a crash, nothing; what was written is handed back."""
        if self.dice.randrange(1000) < self.crash_permille:
            self.crashes += 1
            self.start()
            return []
        written = list(caused)
        for effect in written:
            if isinstance(effect, Emit):
                self.log.append(effect.topic, effect.partition, effect.event, now_ms)
            else:
                self.dead.append(effect)
        self.changelog |= self.state.drain() | {VECTOR: msgspec.json.encode(self.positions)}
        self.changelog = {key: row for key, row in self.changelog.items() if row is not None}
        return written


class AccountsLane(Lane[state.AccountsState]):
    """Applies what is there, a few records at a time."""

    topics = (
        registry.MARKETS, registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT,
        registry.SETTLEMENTS, registry.BIDS,
    )  # fmt: skip

    def new_state(self) -> state.AccountsState:
        """Accounts without tenants."""
        return state.AccountsState(self.partition)

    def step(self, now_ms: int) -> list[Effect]:
        """One transaction, if there is anything to do."""
        read = self.unread(at_most=self.dice.randrange(1, 9))
        return self.commit(self.apply(read), now_ms) if read else []


class MarketsLane(Lane[state.MarketState]):
    """Gathers until the window's end, then closes it."""

    topics = (registry.MARKETS, registry.SUPPLY, registry.REPORTS, registry.ORDERS)

    def new_state(self) -> state.MarketState:
        """A partition without a market."""
        return state.MarketState(self.partition)

    def step(self, now_ms: int) -> list[Effect]:
        """Close the window where it is time and there is anything to do."""
        close_ms = rounds.next_close_ms(self.state)
        if close_ms is not None and now_ms < close_ms:
            return []
        read = self.unread(at_most=10_000)
        if not read and not rounds.due(self.state, now_ms):
            return []
        caused = self.apply(read)
        if self.state.only() is None:
            return self.commit(caused, now_ms)
        close = CloseWindow(now_ms, dict(self.positions))
        caused += state.apply(self.state, close, now_ms)[1]
        return self.commit(caused, now_ms)
