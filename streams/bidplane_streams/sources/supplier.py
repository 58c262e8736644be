"""Runs the inventory: publishes a node's offer when it differs from what the topic holds.

Decides when to look and what counts as foreign. Mirrors, table and writer are handed in by the
composition root, since sources and sinks are siblings that do not import each other.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from bidplane_streams.sources import assignments, inventory, metrics, sellable
from bidplane_topics.supply import NodeOffered, NodeWithdrawn

Object = dict[str, Any]
# Which labels a node must carry to belong to this market; empty selects every node.
Selector = Mapping[str, str]


class Mirror(Protocol):
    """A believed copy of one kind of object."""

    objects: dict[tuple[str, str], Object]

    @property
    def synced(self) -> bool:
        """Whether it may be believed."""
        ...

    @property
    def broken(self) -> bool:
        """Whether the API server does not answer."""
        ...

    def doubt(self) -> None:
        """Believe nothing until the next list."""
        ...

    async def run(self) -> None:
        """Keep it true."""
        ...


class Table(Protocol):
    """The supply topic by node. ``event_of`` gives a row's event."""

    rows: dict[str, Any]

    @property
    def fresh(self) -> bool:
        """Whether it may be believed."""
        ...

    def doubt(self) -> None:
        """Believe nothing until read to the end again."""
        ...

    async def run(self) -> None:
        """Keep it true."""
        ...


class Rivals(Protocol):
    """What is known of all markets, for nodes that an operator assigned to one of them."""

    handover: assignments.Handover
    tables: Sequence[Table]

    def known(self) -> assignments.Known:
        """What the tables say."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What is offered now, what was published, and the market's partition."""

    market: str
    partition: int
    now: Mapping[str, inventory.Supply]
    before: Mapping[str, inventory.Supply]


@dataclasses.dataclass(frozen=True, slots=True)
class Publish:
    """Write one node's truth."""

    event: inventory.Supply
    partition: int

    @property
    def key(self) -> str:
        """The node."""
        return self.event.node


Send = Callable[[int, str, inventory.Supply], Awaitable[None]]
Foreign = Callable[[Iterable[Object]], frozenset[sellable.Address]]
PartitionOf = Callable[[], int]
# Says which offers are held by standing claims.
Hold = Callable[[dict[str, inventory.Supply]], dict[str, inventory.Supply]]


@dataclasses.dataclass(slots=True)
class Wires:
    """What the composition root hands in."""

    nodes: Mirror
    slices: Mirror
    claims: Mirror
    supply: Table
    markets: Table
    rivals: Rivals
    hold: Hold
    send: Send
    foreign: Foreign
    partition_of: PartitionOf
    close: Callable[[], Awaitable[None]]


class InventorySource:
    """Offers one market's nodes. Has the shape of a sink, so the same worker runs it."""

    name = "inventory"

    def __init__(
        self, market: str, wires: Wires, selector: Selector | None = None,
        choice: sellable.Choice = inventory.PLAIN, *, only_assigned: bool = False,
    ) -> None:  # fmt: skip
        """Talks to nobody yet. ``only_assigned``: an operator chooses nodes, not labels."""
        self._only_assigned = only_assigned
        self._choice = choice
        self._market = market
        self._wires = wires
        self._selector = dict(selector or {})
        self._sent: dict[str, inventory.Supply] = {}

    @property
    def _parts(self) -> Sequence[Mirror | Table]:
        wires = self._wires
        own = (wires.nodes, wires.slices, wires.claims, wires.supply, wires.markets)
        return (*own, *wires.rivals.tables)

    async def run(self) -> None:
        """Keep mirrors and tables true until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._parts:
                group.create_task(one.run())

    async def close(self) -> None:
        """Close connections."""
        await self._wires.close()

    def doubt(self) -> None:
        """Read everything again."""
        self._sent.clear()
        for one in self._parts:
            one.doubt()

    def observe(self) -> Observed | None:
        """What is true now; None while not all of it may be believed."""
        wires = self._wires
        mirrors = (wires.nodes, wires.slices, wires.claims)
        partition = wires.partition_of()
        tables = (wires.supply, wires.markets, *wires.rivals.tables)
        unread = any(not one.fresh for one in tables)
        if unread or partition < 0 or any(not one.synced or one.broken for one in mirrors):
            return None
        handover, known = wires.rivals.handover, wires.rivals.known()
        nodes = [
            node for node in wires.nodes.objects.values()
            if self._selects(node) or handover.selects(known, node["name"])
        ]  # fmt: skip
        now = inventory.offers(
            self._market,
            nodes,
            wires.slices.objects.values(),
            wires.foreign(wires.claims.objects.values()),
            self._choice,
        )
        now = wires.hold(handover.settle(known, now))
        offered = sum(isinstance(event, NodeOffered) for event in now.values())
        metrics.SUPPLY_NODES.labels(self._market, "offered").set(offered)
        metrics.SUPPLY_NODES.labels(self._market, "withdrawn").set(len(now) - offered)
        before = {node: row.event for node, row in wires.supply.rows.items()}
        return Observed(self._market, partition, now, before | self._sent)

    def plan(self, observed: Observed, _now_ms: int) -> Sequence[Publish]:
        """One record for every node whose truth is not what was published."""
        changed = inventory.changes(observed.market, observed.now, observed.before)
        return [Publish(event, observed.partition) for event in changed]

    async def apply(self, action: Publish) -> None:
        """Write the record, and remember it until it is read back."""
        assert isinstance(action.event, NodeOffered | NodeWithdrawn)
        await self._wires.send(action.partition, action.event.node, action.event)
        self._sent[action.event.node] = action.event

    def _selects(self, node: Object) -> bool:
        labels = node["labels"]
        mine = all(labels.get(name) == value for name, value in self._selector.items())
        return mine and not self._only_assigned
