"""The real market with one device, and every order in which its leases can hear of anything.

Decides what may happen: a lease is awarded, bound, fails, is given back, offered, sold, won by
others while it ends, expires, loses its node or its market, and every report comes late or again.
Refuses samples: the walk is breadth-first over whole states, and ends when nothing new is reached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

import builders
from bidplane_streams.market import invariants, leases
from bidplane_streams.market.market import MarketState
from bidplane_topics import ids, markets, offers, orders, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rounds import RoundClosed

STEP_MS = 1000  # every deadline: one closing is time enough for one of them
SELLER, BUYER, LATER, RIVAL = "t/a/k/1/0", "t/b/k/1/0", "t/b/k/2/0", "t/c/k/1/0"
LEASES = {bid: ids.lease_id("m", bid) for bid in (SELLER, BUYER, LATER, RIVAL)}
TERMS = offers.Terms("m", LEASES[SELLER], "t/b", 700)
# What happens at most once; each scene is walked to its end with reports, releases and time.
SCENES = (
    ("offer", "take", "take again", "rival"),
    ("offer", "take", "node lost", "removed"),
    ("rival", "node lost", "removed"),
)
LEGAL = {
    "": {"pending", "awarded"},
    "pending": {"awarded", "ending"},
    "awarded": {"bound", "ending"},
    "bound": {"notice", "ending"},
    "notice": {"ending"},
    "ending": {"ended"},
}
# Causes of settlements that end a bid, and those that end a lease.
ENDS_BID = {"won", "lost", "refused", "cancelled", "expired", "bought", "declined"}
ENDS_LEASE = {"ended", "voided", "sold"}


class Walk(NamedTuple):
    """A market somewhere on its way, and what its readers have seen so far."""

    state: MarketState
    now_ms: int
    left: frozenset[str]
    settled: frozenset[str]
    lease_states: tuple[tuple[str, str], ...]


def twin(state: MarketState) -> MarketState:
    """The same rows, changed apart."""
    copy = MarketState(state.partition)
    for table, other in zip(state.tables, copy.tables, strict=True):
        other._rows = dict(table._rows)
    return copy


def reports_of(walk: Walk) -> Iterator[Any]:
    """Every report of every lease there ever was, of its award's epoch, its end's and the next."""
    for bid, lease in LEASES.items():
        if bid not in dict(walk.lease_states):
            continue
        row = walk.state.leases.get(lease)
        first = 1 if row is None else row.lease.epoch - (row.lease.state in ("ending", "ended"))
        for epoch in (first, first + 1):
            facts: dict[str, Any] = {"market": "m", "lease_id": lease, "epoch": epoch}
            yield reports.LeaseBound(**facts)
            yield reports.LeaseFailed(**facts, reason="broken")
            yield reports.LeaseReleased(**facts)


def commands_of(walk: Walk) -> Iterator[tuple[str, Any]]:
    """What agents and operators may still do; the name is of what they do at most once."""
    common: dict[str, Any] = {
        "market": "m",
        "source": 0,
        "seq": (walk.state.heard.get("0") or 0) + 1,
    }
    for bid in (SELLER, BUYER):
        if LEASES[bid] in walk.state.leases:
            agent = ids.split_agent("/".join(bid.split("/")[:2]))[1]
            whose: dict[str, Any] = {
                "lease_id": LEASES[bid],
                "bid_id": bid,
                "tenant": "t",
                "agent": agent,
            }
            yield "", orders.ReleaseRequested(**whose, **common)
    deal: dict[str, Any] = {
        "offer_id": offers.offer_id(TERMS), "lease_id": LEASES[SELLER],
        "price_micros": TERMS.price_micros, "tenant": "t", **common,
    }  # fmt: skip
    yield "offer", orders.OfferMade(**deal, command_id="c", bid_id=SELLER, agent="a", to="t/b")
    yield "take", orders.OfferAccepted(**deal, bid_id=BUYER, agent="b")
    yield "take again", orders.OfferAccepted(**deal, bid_id=LATER, agent="b")
    rival = builders.order(RIVAL, 5000, builders.alternative("1", STEP_MS), agent="c")
    yield "rival", msgspec.structs.replace(rival, seq=common["seq"])
    yield "node lost", reports.NodeLost(market="m", node="n0", reason="gone")
    yield "removed", markets.MarketRemoved(market="m")


def fed(walk: Walk) -> builders.Feed[MarketState]:
    """A feed that goes on from here."""
    return builders.Feed(twin(walk.state), walk.now_ms)


def closed(walk: Walk) -> tuple[builders.Feed[MarketState], list[Any]]:
    """The window closes while the sink is alive."""
    feed = fed(walk)
    feed.give(reports.SinkAlive(market="m", sink="s"))
    return feed, feed.close(STEP_MS)


def after(walk: Walk, feed: builders.Feed[MarketState], said: list[Any], name: str) -> Walk:
    """The next place, once everything that was said has been checked."""
    state = feed.state
    invariants.audit_market(state)
    known = dict(walk.lease_states)
    for change in builders.events(said, LeaseChanged):
        assert change.state in LEGAL[known.get(change.bid_id, "")], (change.bid_id, change.state)
        known[change.bid_id] = change.state
    settled = set(walk.settled)
    for event in builders.events(said, Settled):
        kinds = ENDS_BID if event.cause in ENDS_BID else ENDS_LEASE
        what = f"{event.bid_id} {'bid' if kinds is ENDS_BID else 'lease'}"
        assert what not in settled, f"{what} is settled again by {event.cause}"
        assert event.refund_micros <= 5000
        settled |= {what, f"{event.bid_id} {event.cause}"}
    told = [one.outcome_id for one in builders.events(said, OutcomeReported)]
    assert len(set(told)) == len(told)
    standing = [row.lease for row in state.leases.values() if leases.occupies(row.lease)]
    assert len(standing) <= 1, "claims of two leases may stand on one device"
    return Walk(
        state, feed.now_ms, walk.left - {name}, frozenset(settled), tuple(sorted(known.items()))
    )


def key(walk: Walk) -> Any:
    """What the future depends on: rows with their times as distances, and what was seen."""
    rows = []
    for table in walk.state.tables:
        if table.name in ("sent", "heard"):
            continue
        for name, row in table.items():
            rows.append((table.name, name, msgspec.json.encode(relative(row, walk.now_ms))))
    return tuple(rows), walk.left, walk.settled, walk.lease_states


PAST = ("awarded_at_ms", "window", "closed_at_ms", "alive_at_ms", "root", "means")


def relative(row: Any, now_ms: int) -> Any:
    """A row with distances in place of moments; what decides nothing is left out.

    A lease lasts one step: whatever lies a step back or more is past alike.
    """
    if isinstance(row, markets.MarketDeclared):
        return 0
    if isinstance(row, msgspec.Struct):
        row = {name: getattr(row, name) for name in row.__struct_fields__}
    if isinstance(row, dict):
        return {
            name: max(value - now_ms, -STEP_MS)
            if name.endswith("_ms") and value > builders.T0_MS else relative(value, now_ms)
            for name, value in row.items() if name not in PAST
        }  # fmt: skip
    if isinstance(row, tuple):
        return [relative(one, now_ms) for one in row]
    return row


def start(scene: tuple[str, ...]) -> Walk:
    """A market with one device on sale and one order for it, just awarded."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(
        bind_deadline_ms=STEP_MS, grace_ms=STEP_MS, pending_ms=STEP_MS, slot_ms=STEP_MS,
        release_fee_micros=7,
    ))  # fmt: skip
    feed.give(builders.node("n0", 1))
    empty = Walk(feed.state, feed.now_ms, frozenset(scene), frozenset(), ())
    feed, said = closed(empty)
    opened = after(empty, feed, said, "")
    feed = fed(opened)
    feed.give(builders.order(SELLER, 5000, builders.alternative("1", STEP_MS), seq=1))
    won = opened._replace(state=feed.state)
    feed, said = closed(won)
    assert builders.events(said, RoundClosed)[0].awarded == 1
    return after(won, feed, said, "")


def next_places(walk: Walk) -> Iterator[Walk]:
    """Everything that may happen now."""
    feed, said = closed(walk)
    yield after(walk, feed, said, "")
    for report in reports_of(walk):
        feed = fed(walk)
        yield after(walk, feed, feed.give(report), "")
    for name, command in commands_of(walk):
        if not name or name in walk.left:
            feed = fed(walk)
            yield after(walk, feed, feed.give(command), name)


@functools.cache
def reached(scene: tuple[str, ...]) -> tuple[Walk, ...]:
    """Every place there is, each of them checked as it was entered."""
    first = start(scene)
    seen = {key(first): first}
    frontier = [first]
    while frontier:
        fresh = []
        for walk in frontier:
            for place in next_places(walk):
                name = key(place)
                if name not in seen:
                    seen[name] = place
                    fresh.append(place)
        frontier = fresh
    return tuple(seen.values())


EVERYWHERE = pytest.mark.parametrize("scene", SCENES, ids="+".join)


@EVERYWHERE
def test_no_order_of_events_settles_twice_or_stands_twice(scene: tuple[str, ...]) -> None:
    """Every place is entered by a legal step, with one lease standing and nothing settled twice."""
    assert len(reached(scene)) > 500


@EVERYWHERE
def test_what_ended_is_settled_and_what_lives_is_not(scene: tuple[str, ...]) -> None:
    """An ended lease has one settlement, unless its sale is open or never came about."""
    for walk in reached(scene):
        rows = walk.state.leases.values()
        sold = {row.sale.lease.bid_id for row in rows if row.sale and row.lease.state != "ending"}
        for bid, state in walk.lease_states:
            ended = state in ("ending", "ended") and bid not in sold
            bought_in_vain = f"{bid} declined" in walk.settled
            assert (f"{bid} lease" in walk.settled) == (ended and not bought_in_vain)


@EVERYWHERE
def test_devices_are_held_until_the_release_is_confirmed(scene: tuple[str, ...]) -> None:
    """A device's holders are just the leases on it that have not ended."""
    for walk in reached(scene):
        alive = {LEASES[bid] for bid, state in walk.lease_states if state != "ended"}
        holders = {name for use in walk.state.uses.values() for name in use.holders}
        assert holders == alive


@EVERYWHERE
def test_from_everywhere_there_is_an_end(scene: tuple[str, ...]) -> None:
    """Time and confirmed releases alone end every lease and settle every order."""
    for walk in reached(scene):
        feed = fed(walk)
        feed.give(markets.MarketRemoved(market="m"))
        for _ in range(5):
            feed.close(STEP_MS)
            for lease in [row.lease for row in feed.state.leases.values()]:
                released = reports.LeaseReleased(
                    market="m", lease_id=lease.lease_id, epoch=lease.epoch
                )
                feed.give(released)
        assert not len(feed.state.leases)
        assert not len(feed.state.book)


def test_the_scenes_show_every_state_and_cause() -> None:
    """Together the scenes visit all six states and every way in which a lease can end."""
    walks = [walk for scene in SCENES for walk in reached(scene)]
    states = {state for walk in walks for _, state in walk.lease_states}
    assert states == {*LEGAL, "ended"} - {""}
    causes = {row.lease.cause for walk in walks for row in walk.state.leases.values()}
    assert causes - {""} == {
        "expired", "released", "pending_timeout", "bind_timeout", "bind_failed", "node_lost",
        "transferred",
    }  # fmt: skip
    settled = {what for walk in walks for what in walk.settled}
    assert {f"{SELLER} lease", f"{BUYER} bid", f"{RIVAL} lease", f"{LATER} bid"} <= settled


def late_report_believed(patch: pytest.MonkeyPatch) -> None:
    """A failure that is believed of a lease that is ending already."""
    patch.setattr(leases, "LIVE", leases.LIVE | {"ending"})


def any_release_will_do(patch: pytest.MonkeyPatch) -> None:
    """A release of any epoch, even before the end."""
    patch.setattr(
        leases, "released", lambda lease, _: msgspec.structs.replace(lease, state="ended")
    )


def stands_before_its_turn(patch: pytest.MonkeyPatch) -> None:
    """A lease on a device that its holder still gives back, awarded at once."""
    patch.setattr(MarketState, "leaving_from", lambda *_: ())


def paid_before_it_stands(patch: pytest.MonkeyPatch) -> None:
    """A sale that is booked again with every report that its lease is bound."""
    bound = leases.bound

    def again(lease: LeaseChanged, at_ms: int, epoch: int) -> LeaseChanged | None:
        return bound(lease, at_ms, epoch) or (
            lease if lease.state == "bound" and lease.epoch == epoch else None
        )

    patch.setattr(leases, "bound", again)


def never_due(patch: pytest.MonkeyPatch) -> None:
    """A pending lease that waits for ever."""
    due = leases.due
    patch.setattr(leases, "due", lambda lease, *more: (
        None if lease.state == "pending" else due(lease, *more)))  # fmt: skip


MUTANTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    late_report_believed, any_release_will_do, stands_before_its_turn, paid_before_it_stands,
    never_due,
)  # fmt: skip


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_machine_with_a_fault_is_noticed(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Each fault breaks a check on the way, or leaves a lease without an end."""
    mutate(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        walk_again()


def walk_again() -> None:
    """The two smaller scenes anew: who waits in the first of them may wait too long."""
    walks = reached.__wrapped__(SCENES[2])
    causes = {row.lease.cause for walk in walks for row in walk.state.leases.values()}
    assert "pending_timeout" in causes
    reached.__wrapped__(SCENES[1])
