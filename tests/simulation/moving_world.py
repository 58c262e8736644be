"""The auditor's small world with an operator who moves nodes between its two markets.

Decides moves, and what each market's source believes when. Sources decide with the real rules; what
they know comes from the log alone. A source may be late, or die and begin anew.
"""

from __future__ import annotations

import itertools
from typing import Any

from msgspec.structs import replace

from bidplane_agents.audit.heap import Record
from bidplane_streams.sources import assignments
from bidplane_topics import codec, markets, registry, supply
from bidplane_topics.supply import NodeOffered, NodeWithdrawn
from simulation.audit_world import MARKETS, World

NODES = tuple((market, number) for market in MARKETS for number in range(3))


def name_of(node: tuple[str, int]) -> str:
    """What the node is called: it keeps the name of the market where it began."""
    return f"{node[0]}-node-{node[1]}"


class Source:
    """One market's inventory source; ``hasty`` ones ask for no proof."""

    def __init__(self, world: MovingWorld, market: str, *, hasty: bool) -> None:
        """It reads everything from the beginning."""
        self.world, self.market, self.hasty = world, market, hasty
        self.handover = assignments.Handover(market, lambda: next(world.ticks))

    def step(self) -> None:
        """Publish what is not as the topic says."""
        partition = MARKETS.index(self.market)
        known = self._known()
        said = {
            event.node: event for event in self.world.events(registry.SUPPLY, partition)
        }  # fmt: skip
        mine = {
            name_of(node): replace(self.world.hardware(node), market=self.market)
            for node in NODES
            if node[0] == self.market or self.handover.selects(known, name_of(node))
        }
        for name, event in sorted(self.handover.settle(known, mine).items()):
            news = name in said or isinstance(event, NodeOffered)
            if news and said.get(name) != event:
                self.world.broker.write(registry.SUPPLY, partition, event)
        for name, event in sorted(said.items()):
            if name not in mine and isinstance(event, NodeOffered):
                gone = NodeWithdrawn(market=self.market, node=name, reason="gone")
                self.world.broker.write(registry.SUPPLY, partition, gone)

    def _known(self) -> assignments.Known:
        complete_until = next(self.world.ticks)
        assigned = {
            one.event.node: assignments.Assignment(one.event.market, one.record.offset + 1)
            for one in self.world.seen(registry.MARKETS, 0)
            if isinstance(one.event, markets.NodeAssigned)
        }
        live: dict[str, Any] = {}
        read: dict[int, int] = {}
        for partition in range(len(MARKETS)):
            for lease in self.world.events(registry.LEASES, partition):
                live[self.handover.note(lease)] = lease
            for closed in self.world.events(registry.ROUNDS, partition):
                read[partition] = closed.inputs[registry.MARKETS.name]
        if self.hasty:
            return assignments.Known(assigned, {}, (), float("inf"))
        running = [lease for lease in live.values() if lease.state != "ended"]
        return assignments.Known(assigned, read, running, complete_until)


class MovingWorld(World):
    """The world, with moves; ``hasty`` makes sources that offer at once."""

    def __init__(self, seed: int, *, hasty: bool = False) -> None:
        """Sources begin with nodes as they were offered first."""
        self.ticks = map(float, itertools.count(1))
        self.hasty = hasty
        self._decoded: dict[int, Any] = {}
        super().__init__(seed)
        self.sources = {market: self._source(market) for market in MARKETS}

    def _source(self, market: str) -> Source:
        return Source(self, market, hasty=self.hasty)

    def hardware(self, node: tuple[str, int]) -> supply.NodeOffered:
        """What the API server says of a node."""
        return self._node(*node)

    def seen(self, topic: registry.Topic, partition: int) -> list[Seen]:
        """The records of a partition so far."""
        found = self.broker.by_place.get((topic.name, partition), [])
        return [Seen(one, self._decode(topic, one)) for one in found]

    def events(self, topic: registry.Topic, partition: int) -> list[Any]:
        """Their events."""
        return [one.event for one in self.seen(topic, partition)]

    def _decode(self, topic: registry.Topic, record: Record) -> Any:
        if id(record) not in self._decoded:
            self._decoded[id(record)] = codec.decode(topic, record.value)
        return self._decoded[id(record)]

    def _sinks(self) -> None:
        super()._sinks()
        if self.random.random() < 0.2:
            node, market = self.random.choice(NODES), self.random.choice(MARKETS)
            event = markets.NodeAssigned(node=name_of(node), market=market)
            self.broker.write(registry.MARKETS, 0, event)
        for market in MARKETS:
            if self.random.random() < 0.1:  # it dies, and knows nothing when it begins again
                self.sources[market] = self._source(market)
            if self.random.random() < 0.8:
                self.sources[market].step()


class Seen:
    """A record and its event."""

    def __init__(self, record: Record, event: Any) -> None:
        """As they are."""
        self.record, self.event = record, event
