"""The accounts lane's logic: who may bid what, decided as records come.

Decides which bytes reach the core: what is too large, unsigned, forged or malformed becomes a dead
letter here, since nobody is proven to have sent it. Refuses to judge money: that is the core's.
"""

from __future__ import annotations

from typing import Any

from bidplane_streams.lanes import account_measures, core, deadletters
from bidplane_streams.lanes.logic import Batch, Effects, Record
from bidplane_streams.market.effects import SignedCommands
from bidplane_streams.market.state import AccountsState
from bidplane_topics import envelope, registry

GLOBALS = (registry.MARKETS,)
# Applied in this order within a batch, so that a registration precedes the bids that need it.
INPUTS = (
    registry.AGENTS, registry.ACCOUNTS, registry.TRANSIT, registry.SETTLEMENTS, registry.BIDS,
)  # fmt: skip
OUTPUTS = (
    registry.ORDERS, registry.LEDGER, registry.OUTCOMES, registry.TRANSIT,
    *(registry.dead_letters(topic) for topic in (*GLOBALS, *INPUTS)),
)  # fmt: skip
CHANGELOG = registry.ACCOUNTS_CHANGELOG


class AccountsLogic:
    """Applies a batch record by record; every batch is worth its transaction."""

    threaded = False

    def new_state(self, partition: int) -> AccountsState:
        """An empty partition of tenants."""
        return AccountsState(partition)

    def restore(self, state: AccountsState, key: bytes, value: bytes | None) -> None:
        """Take one changelog row back."""
        state.restore(key, value)

    def next_close_ms(self, state: AccountsState, now_ms: int) -> int | None:
        """As soon as there are records."""
        del state, now_ms
        return None

    def decide(
        self, state: AccountsState, partition: int, batch: Batch, now_ms: int
    ) -> Effects | None:
        """Apply all records, each at its own append time."""
        del partition, now_ms
        if not len(batch):
            return None
        effects, notes = Effects(), account_measures.Notes()
        for records in batch.records.values():
            for record in records:
                event = self._event(state, effects, record)
                if event is not None:
                    notes.took(record, event, core.apply(state, effects, record, event))
        effects.changes = state.drain()
        core.count(effects)
        notes.wrote(effects.changes)
        effects.notes = notes
        return effects

    def _event(self, state: AccountsState, effects: Effects, record: Record) -> Any | None:
        """The event to apply; None once the record is buried."""
        if record.topic != registry.BIDS.name:
            # Every partition reads the markets: the first one buries what nobody can.
            first = record.topic != registry.MARKETS.name or state.partition == 0
            return core.decoded(effects, record, bury=first)
        try:
            signed = envelope.signed(record.headers)
            public = state.public_key(signed.key_id)
            envelope.check(record.topic, record.value or b"", signed, public)
        except envelope.Refused as refused:
            deadletters.bury(effects, record, refused.reason, str(refused))
            return None
        commands = core.decoded(effects, record)
        if commands is None:
            return None
        return SignedCommands(commands, signed.key_id, signed.seal())
