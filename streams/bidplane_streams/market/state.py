"""The core's one entrance: ``apply(state, event, now_ms) -> (state, effects)``.

Decides nothing itself: it hands the event to the accounts or the market and checks the invariants
afterwards. The state is taken over by the call and handed back changed; whoever wants the old one
keeps its changelog.
"""

from __future__ import annotations

from typing import TypeVar

from bidplane_streams.market import accounts, invariants, market, rounds
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import CloseWindow, Effect, Input
from bidplane_streams.market.market import MarketState

S = TypeVar("S", AccountsState, MarketState)

__all__ = ["AccountsState", "CloseWindow", "Input", "MarketState", "apply"]


def apply(state: S, event: Input | CloseWindow, now_ms: int) -> tuple[S, list[Effect]]:
    """Apply one record, or close a market's window.

    ``now_ms`` is the record's broker append time, or closed_at. The effects are records to write,
    in order, and dead letters for an input that cannot be believed.

    Raises:
        AssertionError: an invariant is broken, or the other lane's numbers have a gap; stop.
    """
    if isinstance(state, AccountsState):
        assert isinstance(event, Input)
        effects = accounts.apply(state, event)
        invariants.check_accounts(state, effects)
        return state, effects
    if isinstance(event, CloseWindow):
        turn = rounds.close(state, event)
    else:
        turn = market.Turn(state, now_ms)
        turn.record(event)
    invariants.check_market(state, turn.out)
    return state, turn.out
