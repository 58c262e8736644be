"""Two lanes without Kafka around the real core, and the broker that they share.

Decides offsets, times and transactions as Kafka would. Refuses to know what agents want.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bidplane_agents.audit.heap import Record
from bidplane_streams.market import rounds, state
from bidplane_streams.market.effects import CloseWindow, DeadLetter, Effect, Input, SignedCommands
from bidplane_topics import codec, envelope, registry
from bidplane_topics.errors import ContractError
from bidplane_topics.ledger import Origin

START_MS = 1_700_000_000_000
ACCOUNTS_INPUTS = (
    registry.MARKETS, registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT, registry.SETTLEMENTS,
    registry.BIDS,
)  # fmt: skip
MARKETS_INPUTS = (registry.MARKETS, registry.SUPPLY, registry.REPORTS, registry.ORDERS)


class Broker:
    """Records by place; lanes leave gaps between offsets as transactions do."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.next: dict[tuple[str, int], int] = {}
        self.by_place: dict[tuple[str, int], list[Record]] = {}
        self.now_ms = START_MS
        self.markers = True
        # How many records there were whenever a transaction had ended.
        self.boundaries: list[int] = [0]

    def append(
        self, topic: str, partition: int, value: bytes, key: str = "",
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> None:  # fmt: skip
        """Add a record with the present time."""
        place = (topic, partition)
        offset = self.next.get(place, 0)
        self.next[place] = offset + 1
        record = Record(topic, partition, offset, self.now_ms, key.encode(), value, headers)
        self.records.append(record)
        self.by_place.setdefault(place, []).append(record)

    def write(self, topic: registry.Topic, partition: int, event: msgspec.Struct) -> None:
        """Add an event."""
        self.append(topic.name, partition, codec.encode(event))

    def commit(self, places: set[tuple[str, int]]) -> None:
        """A commit marker takes an offset in every partition that a transaction touched."""
        for place in places if self.markers else ():
            self.next[place] = self.next.get(place, 0) + 1
        self.boundaries.append(len(self.records))

    def since(self, topic: registry.Topic, partition: int, offset: int) -> list[Record]:
        """The records of a partition from an offset on."""
        found = self.by_place.get((topic.name, partition), [])
        return [record for record in found if record.offset >= offset]


class Lane:
    """What the two lanes share: positions, effects, dead letters."""

    def __init__(self, broker: Broker, partition: int, inputs: tuple[registry.Topic, ...]) -> None:
        self.broker, self.partition, self.inputs = broker, partition, inputs
        self.positions = {topic.name: 0 for topic in inputs}
        self.touched: set[tuple[str, int]] = set()

    def run(self) -> None:
        """Read and decide once."""
        raise NotImplementedError

    def waiting(self) -> list[tuple[registry.Topic, Record]]:
        """What has not been read, in the lane's order of topics."""
        found = []
        for topic in self.inputs:
            partition = 0 if topic.partitioned_by == "one" else self.partition
            got = self.broker.since(topic, partition, self.positions[topic.name])
            found += [(topic, record) for record in got]
        return found

    def read_all(self) -> None:
        """Move to the ends."""
        for topic in self.inputs:
            partition = 0 if topic.partitioned_by == "one" else self.partition
            self.positions[topic.name] = self.broker.next.get((topic.name, partition), 0)

    def emit(self, effects: list[Effect], record: Record) -> None:
        """Write what the core decided."""
        for effect in effects:
            if isinstance(effect, DeadLetter):
                self.bury(record, effect.reason)
            else:
                value = codec.encode(effect.event)
                self.broker.append(effect.topic.name, effect.partition, value, effect.key)
                self.touched.add((effect.topic.name, effect.partition))

    def bury(self, record: Record, reason: str) -> None:
        """Write a dead letter, as the lanes do."""
        if record.topic == registry.MARKETS.name:
            return
        headers = (
            ("bidplane-reason", reason.encode()),
            ("bidplane-origin", f"{record.topic}/{record.partition}/{record.offset}".encode()),
        )
        topic = registry.dead_letters(registry.by_name(record.topic)).name
        self.broker.append(topic, record.partition, record.value or b"", "", headers)
        self.touched.add((topic, record.partition))

    def commit(self) -> None:
        """Read and decide once."""
        self.broker.commit(self.touched)
        self.touched = set()


class AccountsLane(Lane):
    """Bids to orders."""

    def __init__(self, broker: Broker, partition: int) -> None:
        super().__init__(broker, partition, ACCOUNTS_INPUTS)
        self.state = state.AccountsState(partition)

    def run(self) -> None:
        """Read and decide once."""
        waiting = self.waiting()
        self.read_all()
        for topic, record in waiting:
            event = self.event(topic, record)
            if event is not None:
                origin = Origin(topic=topic.name, partition=record.partition, offset=record.offset)
                given = Input(event, origin, record.timestamp_ms)
                _, effects = state.apply(self.state, given, record.timestamp_ms)
                self.emit(effects, record)
        self.commit()

    def event(self, topic: registry.Topic, record: Record) -> Any:
        """The verified event of a record; None once it is buried."""
        value = record.value or b""
        try:
            if topic is not registry.BIDS:
                return codec.decode(topic, value)
            keys = {key: self.state.public_key(key) for key in self.state.keys._rows}
            known = {key: raw for key, raw in keys.items() if raw is not None}
            key_id = envelope.verify(topic.name, value, record.headers, known)
            return SignedCommands(
                codec.decode(topic, value), key_id, envelope.seal_of(record.headers)
            )
        except envelope.Refused as refused:
            self.bury(record, refused.reason)
        except ContractError:
            self.bury(record, "malformed")
        return None


class MarketsLane(Lane):
    """Orders to rounds."""

    def __init__(self, broker: Broker, partition: int) -> None:
        super().__init__(broker, partition, MARKETS_INPUTS)
        self.state = state.MarketState(partition)

    def run(self) -> None:
        """Read and decide once."""
        waiting = self.waiting()
        before = self.broker.now_ms
        if not waiting and not rounds.due(self.state, before):
            return
        self.read_all()
        for topic, record in waiting:
            try:
                event = codec.decode(topic, record.value)
            except ContractError:
                self.bury(record, "malformed")
                continue
            origin = Origin(topic=topic.name, partition=record.partition, offset=record.offset)
            given = Input(event, origin, record.timestamp_ms)
            _, effects = state.apply(self.state, given, record.timestamp_ms)
            self.emit(effects, record)
        if self.state.only() is not None:
            closing = CloseWindow(before, dict(self.positions))
            _, effects = state.apply(self.state, closing, before)
            self.emit(effects, waiting[0][1] if waiting else self.broker.records[-1])
        self.commit()
