"""Mutants of the core, bugs that lose money or devices: the simulation finds each.

Decides which bugs. Refuses to judge them itself: the world's promises must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bidplane_streams.market import (
    admission,
    leases,
    market,
    pools,
    requests,
    rounds,
    rows,
    transfers,
)
from bidplane_streams.market.account_turn import AccountTurn
from bidplane_streams.market.effects import SignedCommands
from bidplane_topics import ids
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.rejections import Rejection
from simulation.world import World

TICKS = 500
SEEDS = (5, 6, 7)
replace = msgspec.structs.replace


def epoch_stands_still(patch: pytest.MonkeyPatch) -> None:
    """An ending that keeps the holder's epoch."""
    patched(patch, leases, "ending", lambda row, lease: row and replace(row, epoch=lease.epoch))


def refund_of_everything(patch: pytest.MonkeyPatch) -> None:
    """A refund one above the price."""
    patch.setattr(leases, "refund_micros", lambda lease, *_: lease.price_micros + 1)


def freed_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """Devices that are sold again before their release is confirmed."""
    patch.setattr(pools.DeviceUse, "free", lambda *_: pools.SLOTS)


def slots_of_a_device_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A device that remembers the slots of its newest slice alone."""
    taken = pools.DeviceUse.taken_by

    def forgetful(use: pools.DeviceUse, holder: str, slots: Any, epoch: int) -> pools.DeviceUse:
        return taken(replace(use, slots=dict.fromkeys(use.slots, ())), holder, slots, epoch)

    patch.setattr(pools.DeviceUse, "taken_by", forgetful)


def unfrozen_supply(patch: pytest.MonkeyPatch) -> None:
    """A device that is sold in the window in which it came free."""
    build = pools.build

    def thawed(nodes: Any, uses: Any, sellable: Any, *more: Any) -> Any:
        for name, node in nodes.items():
            sellable.put(name, pools.free_now(node, uses))
        return build(nodes, uses, sellable, *more)

    patch.setattr(pools, "build", thawed)


def any_release_will_do(patch: pytest.MonkeyPatch) -> None:
    """A release confirmed by a report of any epoch, even before the end."""

    def released(lease: LeaseChanged, _epoch: int) -> LeaseChanged:
        return replace(lease, state="ended")

    patch.setattr(leases, "released", released)


def twice_ended(patch: pytest.MonkeyPatch) -> None:
    """A lease that can start to end again while it is ending."""
    patch.setattr(leases, "LIVE", leases.LIVE | {"ending"})


def credit_without_cover(patch: pytest.MonkeyPatch) -> None:
    """A bid admitted at what it asks, whatever the money."""
    patch.setattr(admission, "admit", lambda place, _: admission.Admitted(
        place.value_micros, place.level_max))  # fmt: skip


def replays_believed(patch: pytest.MonkeyPatch) -> None:
    """A sequence that is never remembered."""
    commands = requests.commands

    def forgetful(turn: AccountTurn, signed: SignedCommands) -> None:
        row = turn.state.keys.get(signed.key_id)
        if row is not None:
            turn.state.keys.put(signed.key_id, replace(row, sequence=0))
        commands(turn, signed)

    patch.setattr(requests, "commands", forgetful)


def forgotten_book(patch: pytest.MonkeyPatch) -> None:
    """Losers that vanish from the book without a settlement."""

    def vanish(turn: Any, _window: Any, entrants: Any, *others: Any, **_: Any) -> None:
        result = others[1]
        for bid_id in entrants:
            if bid_id not in result.awards:
                turn.state.book.remove(bid_id)

    patch.setattr(rounds, "_losers", vanish)


def settled_twice(patch: pytest.MonkeyPatch) -> None:
    """A settlement written two times under two numbers."""
    settle = market.Turn.settle

    def twice(turn: market.Turn, *given: Any, **named: Any) -> None:
        settle(turn, *given, **named)
        settle(turn, *given, **named)

    patch.setattr(market.Turn, "settle", twice)


def hidden_change(patch: pytest.MonkeyPatch) -> None:
    """A table whose changes never reach the changelog."""
    patch.setattr(rows.Rows, "changes", lambda table: iter(
        () if table.name == "use" else CHANGES(table)))  # fmt: skip


def stands_before_its_turn(patch: pytest.MonkeyPatch) -> None:
    """A lease on devices that others still hold, awarded without a wait."""
    patch.setattr(market.MarketState, "leaving_from", lambda *_: ())


def waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """A bought lease that is awarded with the first release of any lease on its devices."""
    move_up = market.Turn.move_up

    def eager(turn: market.Turn, left: LeaseChanged) -> None:
        for row in list(turn.state.leases.values()):
            if row.lease.state == "pending":
                turn.keep(row, replace(row.lease, state="awarded", bind_by_ms=turn.now_ms + 1))
        move_up(turn, left)

    patch.setattr(market.Turn, "move_up", eager)


def seller_paid_twice(patch: pytest.MonkeyPatch) -> None:
    """A sale that is settled when it is accepted, and again when it is bound."""
    transfer = transfers._transfer

    def early(turn: market.Turn, event: Any, row: Any) -> None:
        transfer(turn, event, row)
        bought = turn.state.leases[ids.lease_id(event.market, event.bid_id)]
        assert bought.sale is not None
        transfers.completed(turn, bought, bought.sale)
        turn.state.leases.put(bought.lease.lease_id, bought)

    patch.setattr(transfers, "_transfer", early)


def price_kept(patch: pytest.MonkeyPatch) -> None:
    """An acceptance that comes too late and never gets its hold back."""

    def silent(turn: market.Turn, event: Any) -> None:
        row = turn.state.leases.get(event.lease_id)
        reason = transfers._problem(turn, event, row) if row else Rejection.LEASE_ENDED
        if row is None or reason is not None:
            turn.decline(event, reason or Rejection.LEASE_ENDED, offer_id=event.offer_id)
        else:
            transfers._transfer(turn, event, row)

    patch.setattr(transfers, "accepted", silent)


def paid_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """A seller that is paid though the buyer's lease never stood."""
    patch.setattr(transfers, "fell_through", lambda turn, sale, row, *_: transfers.completed(
        turn, row, sale))  # fmt: skip


CHANGES = rows.Rows.changes
MUTANTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    epoch_stands_still, refund_of_everything, freed_at_the_end, slots_of_a_device_forgotten,
    unfrozen_supply,
    any_release_will_do, twice_ended, credit_without_cover, replays_believed, forgotten_book,
    settled_twice, hidden_change, stands_before_its_turn, waits_for_nobody, seller_paid_twice,
    price_kept, paid_for_nothing,
)  # fmt: skip


def patched(
    patch: pytest.MonkeyPatch, home: Any, name: str, change: Callable[[Any, Any], Any]
) -> None:
    """Replace a function by itself and a change of its result."""
    original = getattr(home, name)

    def mutant(first: Any, *given: Any, **named: Any) -> Any:
        return change(original(first, *given, **named), first)

    patch.setattr(home, name, mutant)


def walk() -> None:
    """Several walks, since what a mutant breaks need not happen in each."""
    for seed in SEEDS:
        World(seed).run(TICKS)


def test_the_unharmed_core_keeps_its_promises() -> None:
    """The walks that find the mutants find nothing where there is none."""
    walk()


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_the_world_notices(
    monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Every mutant breaks a promise that the world checks."""
    mutate(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        walk()
