"""The markets lane's logic: one window, one transaction.

Decides when a window is worth closing. Records gather until then; the core applies them in the
fixed order of the topics below and clears, in a worker thread, so that heartbeats never wait.
"""

from __future__ import annotations

from bidplane_streams.lanes import core, market_measures
from bidplane_streams.lanes.logic import Batch, Effects
from bidplane_streams.market import clearing, rounds
from bidplane_streams.market import state as market
from bidplane_streams.market.effects import CloseWindow
from bidplane_streams.market.market_rows import Clear, Solve
from bidplane_streams.market.state import MarketState
from bidplane_topics import codec, errors, registry
from bidplane_topics.markets import MarketDeclared

GLOBALS = (registry.MARKETS,)
# The order in which a window's records are applied, each topic by offset.
INPUTS = (registry.SUPPLY, registry.REPORTS, registry.ORDERS)
OUTPUTS = (
    registry.ROUNDS, registry.LEASES, registry.SETTLEMENTS, registry.OUTCOMES,
    *(registry.dead_letters(topic) for topic in (*GLOBALS, *INPUTS)),
)  # fmt: skip
CHANGELOG = registry.MARKETS_CHANGELOG
# Records of a market that is not there yet wait for it, but not for ever.
HOMELESS_RECORDS = 10_000


class MarketsLogic:
    """Closes windows; a window with nothing to apply and no deadline due writes nothing."""

    threaded = True

    def __init__(self, clear: Clear | None = None, solve: Solve | None = None) -> None:
        """``clear``, ``solve``: see MarketState; the plain one, and none, where None."""
        self._clear = market_measures.timed(clear or clearing.clear)
        self._solve = None if solve is None else market_measures.timed(solve)

    def new_state(self, partition: int) -> MarketState:
        """A partition without a market."""
        return MarketState(partition, self._clear, self._solve)

    def restore(self, state: MarketState, key: bytes, value: bytes | None) -> None:
        """Take one changelog row back."""
        state.restore(key, value)

    def next_close_ms(self, state: MarketState, now_ms: int) -> int | None:
        """The running window's end by the clock; without a market, as soon as there are records.

        Not ``rounds.next_close_ms``: that counts from the last round, and an idle market has none,
        so the lane would look again every millisecond.
        """
        found = state.only()
        if found is None:
            return None
        length_ms = found.rules.window_ms
        return (now_ms // length_ms + 1) * length_ms

    def decide(
        self, state: MarketState, partition: int, batch: Batch, now_ms: int
    ) -> Effects | None:
        """Apply what has gathered and close the window at ``now_ms``."""
        homeless = state.only() is None and not _declares(batch, partition)
        if homeless and len(batch) < HOMELESS_RECORDS:
            return None
        if not len(batch) and not rounds.due(state, now_ms):
            return None
        effects, notes = Effects(), market_measures.Notes()
        for records in batch.records.values():
            for record in records:
                event = core.decoded(effects, record, bury=record.topic != registry.MARKETS.name)
                if event is not None:
                    notes.took(record, event, core.apply(state, effects, record, event))
        if not homeless:
            _, caused = market.apply(state, CloseWindow(now_ms, batch.positions), now_ms)
            core.route(effects, caused)
            notes.cleared(state, caused)
            effects.notes = notes
        effects.changes = state.drain()
        core.count(effects)
        return effects


def _declares(batch: Batch, partition: int) -> bool:
    """Whether the batch declares a market of this partition."""
    for record in batch.records.get(registry.MARKETS.name, ()):
        try:
            event = codec.decode(registry.MARKETS, record.value)
        except errors.MalformedRecord:
            continue
        if isinstance(event, MarketDeclared) and event.partition == partition:
            return True
    return False
