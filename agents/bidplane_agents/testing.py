"""Scripted rounds: run a Bidder against answers that a test writes; no Kafka, no clock.

    turns = testing.play(MyBidder(), [testing.win("1.00"), testing.lose(Rejection.OUTBID)])

Decides ids and order as the lanes would. Refuses to clear: the script is the market.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from bidplane_agents import view as views
from bidplane_agents.bidder import Bidder
from bidplane_topics import ids, money
from bidplane_topics.bids import Place
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection, sentence

T0_MS = 1_800_000_000_000
WINDOW_MS = 2_000
AGENT = ("test", "bidder")


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One round: when, what the bidder placed, what it was told, and what it sees after that."""

    now_ms: int
    bid_id: str
    place: Place | None
    outcomes: tuple[OutcomeReported, ...]
    view: views.View


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer may depend on: the bid of this round, if any, and the view before it."""

    now_ms: int
    bid_id: str
    place: Place | None
    view: views.View


Answer = Callable[[Asked], Iterable[OutcomeReported]]


def play(
    bidder: Bidder, script: Iterable[Answer], *, available: str = "100", window_ms: int = WINDOW_MS
) -> list[Turn]:
    """Ask ``bidder`` once for each answer in ``script``; every round and what came of it.

    The bidder starts with ``available`` credits and has been told so.
    """
    funds = money.parse_credits(available)
    view = views.View(tenant=AGENT[0], agent=AGENT[1], available_micros=funds)
    turns = []
    for number, answer in enumerate(script, start=1):
        now_ms = T0_MS + number * window_ms
        place = bidder.decide(view, now_ms)
        bid = ids.bid_id(*AGENT, "0" * 16, number, 0) if place is not None else ""
        asked = Asked(now_ms=now_ms, bid_id=bid, place=place, view=view)
        told = tuple(answer(asked))
        for outcome in told:
            view = views.told(view, outcome)
        turns.append(Turn(now_ms=now_ms, bid_id=bid, place=place, outcomes=told, view=view))
    return turns


def hold() -> Answer:
    """The bid is admitted, and rests: nothing is decided this round."""
    return lambda asked: [_held(asked)] if asked.place else []


def win(price: str, *, bound: bool = True, devices: tuple[LeasedDevice, ...] = ()) -> Answer:
    """The bid of this round wins and pays ``price`` credits."""
    price_micros = money.parse_credits(price)

    def answer(asked: Asked) -> list[OutcomeReported]:
        if asked.place is None:
            return []
        lease = {
            "market": asked.place.market,
            "lease_id": ids.lease_id(asked.place.market, asked.bid_id),
            "price_micros": price_micros, "devices": devices, "epoch": 1, "level": 1,
        }  # fmt: skip
        after = _money(asked, -price_micros)
        told = [_held(asked), _told(asked, "won", **lease), _told(asked, "settled", evidence=after)]
        ends_at_ms = asked.now_ms + asked.place.alternatives[0].duration_ms
        return [*told, _told(asked, "bound", ends_at_ms=ends_at_ms, **lease)] if bound else told

    return answer


def lose(reason: Rejection = Rejection.OUTBID) -> Answer:
    """The bid of this round loses; its money is free again."""

    def answer(asked: Asked) -> list[OutcomeReported]:
        if asked.place is None:
            return []
        settled = _told(asked, "settled", evidence=_money(asked, 0))
        return [_held(asked), _refusal(asked, "lost", reason), settled]

    return answer


def refuse(reason: Rejection = Rejection.NO_FUNDS) -> Answer:
    """The bid of this round is not admitted."""
    return lambda asked: [_refusal(asked, "refused", reason)] if asked.place else []


def end_leases() -> Answer:
    """Every lease is over; a bid of this round rests."""

    def answer(asked: Asked) -> list[OutcomeReported]:
        ended = [
            _told(asked, "ended", bid_id=lease.bid_id, lease_id=name, market=lease.market)
            for name, lease in asked.view.leases.items()
        ]
        return [*ended, *([_held(asked)] if asked.place else [])]

    return answer


def _held(asked: Asked) -> OutcomeReported:
    assert asked.place is not None
    amount = asked.place.value_micros * asked.place.level_max
    return _told(
        asked, "held", market=asked.place.market, amount_micros=amount,
        evidence={
            "available_micros": asked.view.available_micros - amount,
            "held_micros": asked.view.held_micros + amount,
        },
    )  # fmt: skip


def _money(asked: Asked, change_micros: int) -> dict[str, int | str]:
    return {
        "available_micros": asked.view.available_micros + change_micros,
        "held_micros": asked.view.held_micros,
    }


def _refusal(asked: Asked, kind: Any, reason: Rejection) -> OutcomeReported:
    return _told(asked, kind, reason=reason, sentence=sentence(reason))


def _told(asked: Asked, kind: Any, **more: Any) -> OutcomeReported:
    given = {"bid_id": asked.bid_id, **more}
    about = ids.joined(kind, given["bid_id"], asked.now_ms)
    return OutcomeReported(
        outcome_id=about, kind=kind, tenant=AGENT[0], agent=AGENT[1], at_ms=asked.now_ms, **given
    )
