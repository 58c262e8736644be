"""Bugs of budgets and floors in the core: each breaks a promise that the audit recomputes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bidplane_agents.audit import verdict
from bidplane_streams.market import allotting, floors, funding, schedules
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.schedules import Accrual, Schedule
from bidplane_topics import transit
from simulation.audit_world import World

WINDOWS = 24
SEEDS = range(6)


def transfer_credited_twice(patch: pytest.MonkeyPatch) -> None:
    """A tenant's lane that forgets which transfers it has seen."""
    arrived = allotting.arrived

    def twice(turn: AccountTurn, event: transit.CreditSent) -> None:
        arrived(turn, event)
        turn.state.arrived.remove(event.transfer_id)
        arrived(turn, event)

    patch.setattr(allotting, "arrived", twice)


def transfer_never_returned(patch: pytest.MonkeyPatch) -> None:
    """What nobody could take is kept by nobody."""
    patch.setattr(allotting, "_problem", lambda *_: None)


def decay_of_held_money(patch: pytest.MonkeyPatch) -> None:
    """A period that takes its share of what is held, too."""
    accrue, accrued = AccountTurn.accrue, schedules.accrued

    def held_too(turn: AccountTurn, account: str) -> None:
        held = turn.journal.balance(account.replace("agent/", "hold/"))

        def with_held(schedule: Schedule, available: int, periods: int) -> Accrual:
            change = accrued(schedule, available + held, periods)
            most = available + change.refill_micros
            return Accrual(change.refill_micros, min(change.decay_micros, most))

        with patch.context() as inner:
            inner.setattr(schedules, "accrued", with_held)
            accrue(turn, account)

    patch.setattr(AccountTurn, "accrue", held_too)


def period_counted_twice(patch: pytest.MonkeyPatch) -> None:
    """A schedule that forgets the last period it booked."""
    after = Schedule.after
    patch.setattr(Schedule, "after", lambda schedule, periods: after(schedule, periods - 1))


def limit_that_does_not_hold(patch: pytest.MonkeyPatch) -> None:
    """An organisation that gives what it has not."""
    patch.setattr(funding, "covered", lambda *_: True)


def treasury_for_everyone(patch: pytest.MonkeyPatch) -> None:
    """A tenant of an organisation that is paid past it."""
    patch.setattr(funding, "limited", lambda *_: False)


def floor_that_never_ends(patch: pytest.MonkeyPatch) -> None:
    """A floor that does not see what its tenant has."""
    patch.setattr(floors, "leased", lambda *_: {})


def floor_for_all_orders(patch: pytest.MonkeyPatch) -> None:
    """A floor that covers every order of its tenant in one window."""
    original = floors.floors

    def each_alone(rules: Any, opened: Any, offered: Any, orders: Any) -> floors.Floors:
        found: floors.Floors = {}
        for order in orders:
            found |= original(rules, opened, offered, [order])
        return found

    patch.setattr(floors, "floors", each_alone)


MUTANTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    transfer_credited_twice, transfer_never_returned, decay_of_held_money, period_counted_twice,
    limit_that_does_not_hold, treasury_for_everyone, floor_that_never_ends, floor_for_all_orders,
)  # fmt: skip


def sound(seed: int) -> bool:
    """Whether a world of the core as it is now keeps every promise."""
    world = World(seed)
    try:
        world.run(WINDOWS)
    except AssertionError:
        return False
    return verdict.audit(world.log()).sound


def test_the_unharmed_core_is_sound() -> None:
    """The worlds that find the mutants find nothing where there is none."""
    assert all(sound(seed) for seed in SEEDS)


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_the_audit_notices(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Every mutant breaks a promise, or stops at the core's own asserts."""
    mutate(monkeypatch)
    assert not all(sound(seed) for seed in SEEDS)
