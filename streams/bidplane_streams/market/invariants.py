"""What must hold after every event; a breach stops the process before anything is committed.

``check_*`` look at what the event touched; ``audit_*`` look at everything, for tests and restores.
"""

from __future__ import annotations

from bidplane_streams.market import addresses, leases, ledger, pools
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import Effect, Emit
from bidplane_streams.market.market import Lease, MarketState
from bidplane_topics.leases import LeaseChanged, LeasedDevice
from bidplane_topics.ledger import LedgerPosted


def check_accounts(state: AccountsState, effects: list[Effect]) -> None:
    """No account that an entry touched is overdrawn (Journal asserts it as it posts)."""
    for effect in effects:
        if isinstance(effect, Emit) and isinstance(effect.event, LedgerPosted):
            entry = effect.event
            for account in (entry.debit, entry.credit):
                micros = state.balances[account].micros
                assert micros >= 0 or account in ledger.MAY_BE_NEGATIVE


def audit_accounts(state: AccountsState) -> None:
    """All balances sum to zero, none is negative, and every hold equals its orders'."""
    assert sum(row.micros for row in state.balances.values()) == 0, "money appeared or vanished"
    held: dict[str, int] = {}
    for order in state.orders.values():
        account = ledger.hold(order.tenant, order.agent)
        held[account] = held.get(account, 0) + order.held_micros
    for account, row in state.balances.items():
        assert row.micros >= 0 or account in ledger.MAY_BE_NEGATIVE, account
        if account.startswith("hold/"):
            assert row.micros == held.get(account, 0), f"{account} is not what its orders hold"


def check_market(state: MarketState, effects: list[Effect]) -> None:
    """Every lease that changed and may stand has its devices alone, after its last change."""
    if not effects:
        return
    newest = {
        effect.event.lease_id: effect.event for effect in effects
        if isinstance(effect, Emit) and isinstance(effect.event, LeaseChanged)
    }  # fmt: skip
    for lease in newest.values():
        _check_lease(state, lease)


def _check_lease(state: MarketState, lease: LeaseChanged) -> None:
    parts = [_part(device) for device in lease.devices]
    assert len(set(parts)) == len(parts), "a device is twice in one lease"
    if lease.state == "ended":
        return
    for device in lease.devices:
        key = pools.leased_key(device)
        holders = state.uses[key].holders
        assert lease.lease_id in holders, f"{key} does not know its lease"
        if device.parent or not leases.occupies(lease):
            continue  # slices live side by side, and who waits has nothing yet
        standing = [name for name in holders if leases.occupies(state.leases[name].lease)]
        assert standing == [lease.lease_id], f"{key} has two leases"


def _part(device: LeasedDevice) -> tuple[str, str, str, int]:
    index = -1 if device.share is None else device.share.index
    return device.driver, device.pool, device.name, index


def audit_market(state: MarketState) -> None:
    """No device is held twice: not by two leases, not as a slice beside its whole or itself."""
    taken: dict[tuple[str, str, str, int], str] = {}
    standing = [row.lease for row in state.leases.values() if leases.occupies(row.lease)]
    for lease in standing:
        for device in lease.devices:
            address = _part(device)
            assert address not in taken, f"{address} is in {taken[address]} and another lease"
            taken[address] = lease.lease_id
    for lease in standing:
        for device in lease.devices:
            whole = (device.driver, device.pool, device.parent, -1)
            assert not device.parent or whole not in taken, "a slice of a device that is leased"
            whole = (device.driver, device.pool, device.name, -1)
            assert device.share is None or whole not in taken, "a share of a device that is leased"
    for key, use in state.uses.items():
        for holder in use.holders:
            assert holder in state.leases, f"{key} is held by a lease that is gone"
        held = [use.slots_of(name) for name in use.holders
                if leases.occupies(state.leases[name].lease)]  # fmt: skip
        slots = frozenset[int]().union(*held)
        alone = len(slots) == sum(map(len, held))
        assert alone or addresses.is_mark(key), f"two leases have a slot of {key}"
    for row in state.leases.values():
        _check_waiting(state, row)


def _check_waiting(state: MarketState, row: Lease) -> None:
    """Who is pending waits for leases that hold its devices and will leave; nobody else does."""
    for name in row.waits_for:
        stood = state.leases[name].lease.state not in ("pending", "awarded")
        assert stood, f"{name} is waited for and has not stood"
    if row.lease.state == "pending":
        assert row.waits_for, f"{row.lease.lease_id} waits for nothing"
