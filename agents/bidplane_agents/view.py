"""What an agent can see of itself and its markets, folded from outcomes and rounds.

Pure: a view and a record give the next view. Refuses to guess: figures that no record gave are 0.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported
from bidplane_topics.rounds import PoolRound, RoundClosed

_LEASE_OVER: Final = frozenset({"voided", "ended"})


class LeaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that is won and not over. ``state`` is the kind of the last outcome about it."""

    lease_id: str
    bid_id: str
    market: str
    market_pool: str
    state: str
    epoch: int
    level: int
    price_micros: int
    devices: tuple[LeasedDevice, ...]
    ends_at_ms: int


class BidView(msgspec.Struct, frozen=True, kw_only=True):
    """A bid that is in a market, with money held for it."""

    bid_id: str
    market: str
    held_micros: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is known. ``prices`` holds the last round of each market, by pool."""

    tenant: str
    agent: str
    available_micros: int = 0
    held_micros: int = 0
    bids: dict[str, BidView] = {}
    leases: dict[str, LeaseView] = {}
    prices: dict[str, dict[str, PoolRound]] = {}
    last: OutcomeReported | None = None
    won: int = 0
    not_won: int = 0
    outcomes_seen: int = 0


def told(view: View, outcome: OutcomeReported) -> View:
    """The view after an outcome of the view's own agent; a receipt tells nothing new."""
    if outcome.kind == "receipt":
        return view
    evidence = outcome.evidence
    available = evidence.get("available_micros", view.available_micros)
    held = evidence.get("held_micros", view.held_micros)
    terminal = outcome.kind in TERMINAL_BID_KINDS
    return msgspec.structs.replace(
        view,
        available_micros=int(available), held_micros=int(held), last=outcome,
        bids=_bids(view.bids, outcome), leases=_leases(view.leases, outcome),
        won=view.won + (outcome.kind == "won"),
        not_won=view.not_won + (terminal and outcome.kind != "won"),
        outcomes_seen=view.outcomes_seen + 1,
    )  # fmt: skip


def cleared(view: View, closed: RoundClosed) -> View:
    """The view after a round, of any market."""
    return msgspec.structs.replace(view, prices={**view.prices, closed.market: closed.pools})


def _bids(before: dict[str, BidView], outcome: OutcomeReported) -> dict[str, BidView]:
    name = outcome.bid_id
    if outcome.kind == "held":
        seen = BidView(bid_id=name, market=outcome.market, held_micros=outcome.amount_micros)
        return {**before, name: seen}
    unsold = outcome.kind == "declined" and outcome.offer_id  # an acceptance came to nothing
    if (outcome.kind in TERMINAL_BID_KINDS or unsold) and name in before:
        return {key: bid for key, bid in before.items() if key != name}
    return before


def _leases(before: dict[str, LeaseView], outcome: OutcomeReported) -> dict[str, LeaseView]:
    name = outcome.lease_id
    if not name or outcome.kind in ("settled", "declined", "offered"):
        return before
    if outcome.kind in _LEASE_OVER:
        return {key: lease for key, lease in before.items() if key != name}
    seen = before.get(name)
    if seen is None:
        if outcome.kind not in ("won", "bound"):
            return before
        seen = LeaseView(
            lease_id=name, bid_id=outcome.bid_id, market=outcome.market,
            market_pool=outcome.market_pool, state="won", epoch=0, level=outcome.level,
            price_micros=outcome.price_micros, devices=(), ends_at_ms=0,
        )  # fmt: skip
    return {**before, name: _changed(seen, outcome)}


def _changed(seen: LeaseView, outcome: OutcomeReported) -> LeaseView:
    renewed = outcome.kind == "won" and outcome.bid_id != seen.bid_id
    return msgspec.structs.replace(
        seen,
        state=seen.state if renewed else outcome.kind,
        price_micros=outcome.price_micros if renewed else seen.price_micros,
        epoch=max(seen.epoch, outcome.epoch),
        devices=outcome.devices or seen.devices,
        ends_at_ms=outcome.ends_at_ms or seen.ends_at_ms,
    )
