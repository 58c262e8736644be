"""What the lanes wrote, by id: the one place where outputs are matched with what explains them.

Decides what is a repetition and what nobody explained. Refuses to know the rules behind an output.
"""

from __future__ import annotations

from typing import Any

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.log import Log
from bidplane_agents.audit.shelf import Shelf
from bidplane_topics import orders, registry
from bidplane_topics.outcomes import OutcomeReported

# What is known of a record that should be there and is not.
MISSING_OFFSET = -1


def missing(topic: registry.Topic, partition: int, at_ms: int) -> Record:
    """The place where a record should be."""
    return Record(topic.name, partition, MISSING_OFFSET, at_ms, None, None)


class Books:
    """Orders, settlements, outcomes and lease states of the whole log."""

    def __init__(self, contents: Contents) -> None:
        """Shelve everything once."""
        self.contents = contents
        placed = [
            one for one in contents.all(registry.ORDERS)
            if isinstance(one.event, orders.OrderPlaced)
        ]  # fmt: skip
        self.orders = Shelf(placed, lambda event: event.bid_id)
        self.settlements = Shelf(
            contents.all(registry.SETTLEMENTS), lambda event: event.settlement_id
        )
        self.outcomes = Shelf(contents.all(registry.OUTCOMES), lambda event: event.outcome_id)
        self.leases = Shelf(
            contents.all(registry.LEASES), lambda event: (event.lease_id, event.state, event.term)
        )
        self.first_of_lease: dict[str, Seen] = {}
        # A compacted topic owes only the last record of a lease.
        self.last_of_lease: dict[str, Seen] = {}
        for one in contents.all(registry.LEASES):
            self.first_of_lease.setdefault(one.event.lease_id, one)
            self.last_of_lease[one.event.lease_id] = one
        self._outcomes_from_ms = {
            partition: _kept_from_ms(contents.log, registry.OUTCOMES, partition)
            for partition in contents.log.partitions(registry.OUTCOMES.name)
        }

    def owed_outcome(self, partition: int, at_ms: int) -> bool:
        """Whether an outcome of that time must still be there: weeks later it may have expired."""
        return at_ms >= self._outcomes_from_ms.get(partition, 0)

    def check_unique(self, findings: Findings) -> None:
        """No id stands twice."""
        shelves = (
            (1, self.outcomes, "the same outcome stands twice"),
            (2, self.settlements, "the same settlement stands twice"),
            (3, self.leases, "a lease enters the same state twice"),
            (6, self.orders, "the same order stands twice"),
        )
        for promise, shelf, what in shelves:
            findings.checked[promise] += len(shelf.all())
            for one in shelf.repeated():
                findings.check(promise, False, one.record, what, "one record", name_of(one.event))

    def check_explained(self, findings: Findings, replayed: set[int]) -> None:
        """Nothing stands in the log that no input explains. ``replayed``: partitions of markets."""
        for one in self.outcomes.unclaimed():
            event: OutcomeReported = one.event
            if self._judged(one, replayed):
                findings.check(
                    1, False, one.record, "an outcome that nothing caused", "none",
                    event.outcome_id,
                )  # fmt: skip
        for one in self.orders.unclaimed():
            forgotten = self.contents.log.begins(registry.BIDS.name, one.event.source)
            if not forgotten and not self.contents.late(one):
                findings.check(
                    2, False, one.record, "an order that no bid made", "none", one.event.bid_id
                )
        for one in self.settlements.unclaimed():
            if one.event.source in replayed and not self.contents.late(one):
                findings.check(
                    2, False, one.record, "a settlement that nothing caused", "none",
                    one.event.settlement_id,
                )  # fmt: skip
        for one in self.leases.unclaimed():
            if one.record.partition in replayed and not self.contents.late(one):
                findings.check(
                    3, False, one.record, "a lease state that nothing caused", "none",
                    name_of(one.event),
                )  # fmt: skip

    def _judged(self, one: Seen, replayed: set[int]) -> bool:
        """Whether all that could have caused an outcome was recomputed."""
        if self.contents.late(one):
            return False
        log, partition = self.contents.log, one.record.partition
        if one.event.kind == "registered":
            return log.is_whole(registry.AGENTS.name, partition)
        if any(
            log.begins(topic.name, partition) for topic in (registry.BIDS, registry.SETTLEMENTS)
        ):
            return False
        return replayed >= set(log.partitions(registry.ORDERS.name))


def name_of(event: Any) -> str:
    """An event's own id, for a finding."""
    for field in ("outcome_id", "settlement_id", "entry_id"):
        if hasattr(event, field):
            return str(getattr(event, field))
    if hasattr(event, "state"):
        return f"{event.lease_id} {event.state}"
    return str(getattr(event, "bid_id", type(event).__name__))


def _kept_from_ms(log: Log, topic: registry.Topic, partition: int) -> int:
    records = log.of(topic.name, partition)
    if not log.begins(topic.name, partition) or not records:
        return 0
    return records[0].timestamp_ms
