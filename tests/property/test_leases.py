"""The lease machine, exhausted: every event in every order, late and repeated ones too.

Decides what a walk is. Refuses samples: each state that any sequence of seven events reaches is
seen.
"""

from __future__ import annotations

from typing import NamedTuple

import builders
from bidplane_streams.market import leases
from bidplane_topics.leases import LeaseChanged

DEPTH = 7
SLOT_MS = 1000
GRACE_MS = 2000
FEE_MICROS = 30
PENDING_MS = 4000
# What a lease may hear: (what, whether with the epoch of its award, of its end, or of neither).
REPORTS = ("bound", "failed", "released")
EPOCHS = (0, 1, 2, 3)
ORDERS = ("release", "node_lost", "moved up", "renewed")
STEPS_MS = (1, 3000, 12_500)
LEGAL = {
    "pending": {"awarded", "ending"},
    "awarded": {"bound", "ending"},
    "bound": {"bound", "notice", "ending"},
    "notice": {"ending"},
    "ending": {"ended"},
    "ended": set(),
}


class Walk(NamedTuple):
    """A lease somewhere on its way: the time, and how often it has been settled so far."""

    lease: LeaseChanged
    now_ms: int
    settlements: int
    freed: bool


def _events() -> list[tuple[str, int]]:
    reports = [(report, epoch) for report in REPORTS for epoch in EPOCHS]
    return [*reports, *((order, 0) for order in ORDERS), *(("time", ms) for ms in STEPS_MS)]


def _after(walk: Walk, event: tuple[str, int]) -> Walk:
    """What the market does with one event, as market.py and rounds.py do it."""
    lease, (what, number) = walk.lease, event
    now_ms = walk.now_ms + (number if what == "time" else 0)
    after: LeaseChanged | None = None
    if what == "time":
        after = leases.due(lease, now_ms, GRACE_MS)
    elif what == "renewed":
        after = leases.renewed(lease, f"r{lease.term}", 500, 7000)
    elif what == "moved up":
        after = leases.awarded(lease, now_ms + 5000)
    elif what == "bound":
        after = leases.bound(lease, now_ms, number)
    elif what == "failed":
        after = leases.ending(lease, "bind_failed") if number == lease.epoch else None
    elif what == "released":
        after = leases.released(lease, number)
    else:
        after = leases.ending(lease, "released" if what == "release" else "node_lost")
    if after is None:
        return walk._replace(now_ms=now_ms)
    _check_step(lease, after, now_ms)
    return Walk(
        after, now_ms, walk.settlements + (after.state == "ending"),
        walk.freed or after.state == "ended",
    )  # fmt: skip


def _check_step(before: LeaseChanged, after: LeaseChanged, now_ms: int) -> None:
    assert after.state in LEGAL[before.state]
    assert after.epoch == before.epoch + (after.state == "ending")
    assert (after.cause != "") == (after.state in ("ending", "ended"))
    same = ("lease_id", "bid_id", "devices", "awarded_at_ms", "bound_at_ms")
    assert all(getattr(before, name) == getattr(after, name) for name in same[: 4 + _stood(before)])
    renewed = before.state == after.state
    assert after.term == before.term + renewed
    assert renewed or (before.price_micros, before.duration_ms) == (
        after.price_micros, after.duration_ms
    )  # fmt: skip
    if after.state == "ending":
        refund = leases.refund_micros(after, now_ms, SLOT_MS, FEE_MICROS)
        assert 0 <= refund <= after.price_micros
        if not after.bound_at_ms:
            fee = FEE_MICROS if after.cause == "released" else 0
            assert refund == after.price_micros - fee
        if after.cause == "expired":
            assert refund == 0


def _stood(lease: LeaseChanged) -> bool:
    return lease.bound_at_ms > 0


def _reached(depth: int) -> set[Walk]:
    """Every walk of ``depth`` events, equal ones merged: the future depends on nothing else."""
    start = builders.lease()
    until_ms = start.awarded_at_ms + PENDING_MS
    waiting = builders.lease(state="pending", bind_by_ms=0, pending_until_ms=until_ms)
    seen = {Walk(one, one.awarded_at_ms, 0, freed=False) for one in (start, waiting)}
    frontier = seen
    for _ in range(depth):
        frontier = {_after(walk, event) for walk in frontier for event in _events()} - seen
        seen = seen | frontier
    return seen


REACHED = _reached(DEPTH)


def test_every_state_is_reached() -> None:
    """Walks of seven events visit all six states and every cause of an end."""
    assert {walk.lease.state for walk in REACHED} == set(LEGAL)
    causes = {walk.lease.cause for walk in REACHED} - {""}
    assert causes == {
        "expired", "released", "pending_timeout", "bind_timeout", "bind_failed", "node_lost",
    }  # fmt: skip


def test_claims_may_stand_from_the_award_on() -> None:
    """A lease occupies its devices from its award to its release, and a pending one never did."""
    for walk in REACHED:
        lease = walk.lease
        never = lease.state == "pending" or (lease.pending_until_ms > 0 and not lease.bind_by_ms)
        assert leases.occupies(lease) == (not never and lease.state != "ended")
        assert not (never and lease.bound_at_ms)


def test_a_lease_that_ends_is_settled_once() -> None:
    """An ending or ended lease has exactly one settlement, a live one has none."""
    for walk in REACHED:
        assert walk.settlements == (walk.lease.state in ("ending", "ended"))


def test_devices_are_freed_by_the_confirmation_alone() -> None:
    """Only a lease in its last state has given its devices back."""
    for walk in REACHED:
        assert walk.freed == (walk.lease.state == "ended")


def test_time_alone_starts_every_end() -> None:
    """From any live state two steps of time lead to ending, and no time leads further."""
    for walk in REACHED:
        lease, now_ms = walk.lease, walk.now_ms
        while (at_ms := leases.due_at_ms(lease)) is not None:
            now_ms = max(now_ms, at_ms)
            after = leases.due(lease, now_ms, GRACE_MS)
            assert after is not None, "due_at_ms promised a step"
            assert leases.due(lease, at_ms - 1, GRACE_MS) is None, "a step before its time"
            _check_step(lease, after, now_ms)
            lease = after
        assert lease.state in ("ending", "ended")
        assert leases.due(lease, 2**53, GRACE_MS) is None


def test_an_ending_lease_is_released_by_its_own_epoch_alone() -> None:
    """Of all epochs only the one that the ending bumped to confirms the release."""
    for walk in REACHED:
        if walk.lease.state == "ending":
            for epoch in EPOCHS:
                after = leases.released(walk.lease, epoch)
                assert (after is not None) == (epoch == walk.lease.epoch)


def test_the_clock_starts_at_the_bound_report() -> None:
    """A bound lease ends all its terms after the report, however late that came."""
    for walk in REACHED:
        if walk.lease.bound_at_ms:
            terms_ms = 10_000 + 7000 * walk.lease.term
            assert walk.lease.ends_at_ms == walk.lease.bound_at_ms + terms_ms
        if walk.lease.grace_until_ms:
            assert walk.lease.grace_until_ms == walk.lease.ends_at_ms + GRACE_MS
