"""Between a lane's records and the core: decode, apply, route what comes out.

Decides nothing. What both lanes do the same stands here once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from bidplane_streams import metrics
from bidplane_streams.lanes import deadletters
from bidplane_streams.lanes.logic import Effects, Output, Record
from bidplane_streams.market import state as core
from bidplane_streams.market.effects import DeadLetter, Effect, Emit, Input
from bidplane_topics import codec, errors, registry
from bidplane_topics.ledger import Origin
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection

S = TypeVar("S", core.AccountsState, core.MarketState)


def decoded(effects: Effects, record: Record, *, bury: bool = True) -> Any | None:
    """The record's event; None where it is malformed, buried unless another reader does that."""
    try:
        return codec.decode(registry.by_name(record.topic), record.value)
    except errors.MalformedRecord as error:
        if bury:
            deadletters.bury(effects, record, Rejection.MALFORMED, str(error))
        return None


def apply(state: S, effects: Effects, record: Record, event: Any) -> list[Effect]:
    """Let the core judge one decoded record, by the broker's append time; what it caused."""
    origin = Origin(topic=record.topic, partition=record.partition, offset=record.offset)
    given = Input(event, origin, record.timestamp_ms)
    _, caused = core.apply(state, given, record.timestamp_ms)
    route(effects, caused, record)
    return caused


def route(effects: Effects, caused: Iterable[Effect], record: Record | None = None) -> None:
    """Emitted events become records; a dead letter buries the record that caused it."""
    for effect in caused:
        if isinstance(effect, Emit):
            event = effect.event
            if isinstance(event, OutcomeReported):
                kind = event.kind, event.reason or ""
                effects.told[kind] = effects.told.get(kind, 0) + 1
            output = Output(effect.key.encode(), codec.encode(event))
            effects.emit(effect.topic.name, effect.partition, output)
        else:
            assert isinstance(effect, DeadLetter)
            assert record is not None, "a closing buries nothing"
            deadletters.bury(effects, record, effect.reason, effect.detail)


def count(effects: Effects) -> None:
    """Add what agents are told to the counters."""
    for (kind, reason), number in effects.told.items():
        metrics.OUTCOMES.labels(kind, reason).inc(number)
