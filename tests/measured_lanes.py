"""Both lanes' logic with their measures, fed records at chosen times, without Kafka.

Decides nothing: a test says which records come when, and looks at the metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY

import builders
from bidplane_streams.lanes import account_measures, accounts, market_measures, markets
from bidplane_streams.lanes.logic import Batch, Effects, Headers, Record
from bidplane_streams.lanes.measuring import Moments
from bidplane_topics import bids, codec, envelope, registry

Given = tuple[int, Any]


def metric(name: str, **labels: str) -> float:
    """The value of one series; 0 where there is none."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def there(name: str, **labels: str) -> bool:
    """Whether there is such a series."""
    return REGISTRY.get_sample_value(name, labels) is not None


class MeasuredLane:
    """One partition of one lane."""

    def __init__(self, lane: Any, logic: Any, measures: Any, partition: int = 0) -> None:
        """Open, with an empty state."""
        self._topics = (*lane.GLOBALS, *lane.INPUTS)
        self._logic, self.measures, self.partition = logic, measures, partition
        self._offsets: Counter[str] = Counter()
        self.state = logic.new_state(partition)
        measures.opened(partition, self.state)

    def turn(
        self, closed_ms: int, committed_ms: int, due_ms: int = 0, *,
        headers: Headers = (), **given: Iterable[Given],
    ) -> Effects:  # fmt: skip
        """Decide and commit a batch; ``given`` names topics by their middle words."""
        records: dict[str, list[Record]] = {}
        for topic in self._topics:
            events = given.get(topic.name.split(".")[1], ())
            records[topic.name] = [self._record(topic, at, one, headers) for at, one in events]
        batch = Batch(records, dict(self._offsets))
        effects: Effects = self._logic.decide(self.state, self.partition, batch, closed_ms)
        assert effects is not None
        moments = Moments(due_ms, committed_ms)
        self.measures.committed(self.partition, effects.notes, moments)
        return effects

    def _record(self, topic: registry.Topic, at_ms: int, event: Any, headers: Headers) -> Record:
        self._offsets[topic.name] += 1
        offset = self._offsets[topic.name] - 1
        if isinstance(event, bids.Envelope):
            value, own = envelope.seal(event, builders.key())
            return Record(topic.name, 0, offset, at_ms, b"k", value, (*own, *headers))
        return Record(topic.name, 0, offset, at_ms, b"k", codec.encode(event), ())


def account_lane(partition: int = 0) -> MeasuredLane:
    """A partition of accounts."""
    measures = account_measures.AccountMeasures()
    return MeasuredLane(accounts, accounts.AccountsLogic(), measures, partition)


def market_lane() -> MeasuredLane:
    """A partition of markets."""
    return MeasuredLane(markets, markets.MarketsLogic(), market_measures.MarketMeasures())


def written(effects: Effects, topic: registry.Topic) -> list[Any]:
    """The events that a decision wrote to a topic."""
    return [
        codec.decode(topic, output.value)
        for (name, _), outputs in effects.outputs.items()
        if name == topic.name
        for output in outputs
    ]
