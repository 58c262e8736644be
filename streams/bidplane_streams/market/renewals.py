"""Another term for a lease on the devices that it has: who is up for it, what it takes to stay.

Decides which renewals take part in a closing, their one alternative, the switching cost that speaks
for them, and what a lease is after it was renewed. Refuses to know who wins: that is the clearing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from bidplane_streams.market import book, leases, pools, ways
from bidplane_streams.market.market_rows import Lease, Market, MarketState
from bidplane_streams.market.shapes import UNITS, WHOLE
from bidplane_topics import ids
from bidplane_topics.instances import Award, InstanceAlternative, Result
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection

if TYPE_CHECKING:
    from bidplane_streams.market.market import Turn

# How many earlier measurements the newest one weighs less than, in the mean of binding times.
MEAN_OF: Final = 8


class Up(NamedTuple):
    """A renewal that takes part: its lease, where that is, and what changing hands would cost."""

    row: Lease
    pool: str
    node: str
    keys: frozenset[str]
    boost_micros: int


# By bid id: the renewals that take part, and why others never will.
Due = dict[str, Up | Rejection]


# -- asked for ---------------------------------------------------------------------------------


def placed(turn: Turn, market: Market, order: OrderPlaced) -> None:
    """Take an order into the book; a renewal waits there for the last closing before the end."""
    if not order.renews:
        turn.state.book.put(order.bid_id, order)
        return
    row = turn.state.leases.get(order.renews)
    reason = _problem(turn.state, market, order, row)
    if row is None or reason is not None:
        turn.close_order(order, "refused", reason or Rejection.UNKNOWN_LEASE)
        return
    from_ms = max(order.not_before_ms, row.lease.ends_at_ms - market.rules.window_ms)
    turn.state.book.put(order.bid_id, replace(order, not_before_ms=from_ms))


def _problem(
    state: MarketState, market: Market, order: OrderPlaced, row: Lease | None
) -> Rejection | None:
    """Why the order can renew nothing."""
    if row is None or (row.lease.tenant, row.lease.agent) != (order.tenant, order.agent):
        return Rejection.UNKNOWN_LEASE
    lease, shape = row.lease, order.alternatives[0].shape
    if lease.state != "bound":
        early = lease.state in ("pending", "awarded")
        return Rejection.LEASE_NOT_BOUND if early else Rejection.LEASE_ENDED
    if shape not in WHOLE or (lease.shape, lease.level) != (shape, 1):
        return Rejection.NOT_RENEWABLE
    if not market.rules.pending_ms:
        return Rejection.RENEWAL_CLOSED
    if any(other.renews == order.renews for other in state.book.values()):
        return Rejection.RENEWAL_OPEN
    return None


def measured(market: Market, lease: LeaseChanged, now_ms: int) -> int:
    """The mean time from award to bound, with one lease more that has just been bound.

    Left out is who was pending first, since the lease does not say when its wait was over; and who
    is on standing claims, where nothing has to be made.
    """
    if lease.pending_until_ms or lease.standing:
        return market.binding_ms
    took_ms = max(0, now_ms - lease.awarded_at_ms)
    if not market.binding_ms:
        return took_ms
    return ((MEAN_OF - 1) * market.binding_ms + took_ms + MEAN_OF // 2) // MEAN_OF


# -- up for it ---------------------------------------------------------------------------------


def due(state: MarketState, market: Market, now_ms: int) -> Due:
    """The renewals whose time has come, and whether they take part.

    A lease that was bound only since the window opened waits for the next one: when it ends was not
    known at the opening.
    """
    orders = [one for one in state.book.values() if one.renews and one.not_before_ms <= now_ms]
    found: Due = {}
    places = _places(state, market, orders)
    for order in orders:
        row = state.leases.get(order.renews)
        if row is None or row.lease.state != "bound":
            found[order.bid_id] = Rejection.LEASE_ENDED
        elif row.lease.bound_at_ms <= market.closed_at_ms:
            found[order.bid_id] = _judged(state, market, order, row, places)
    return found


def _places(
    state: MarketState, market: Market, orders: list[OrderPlaced]
) -> dict[str, tuple[str, str]]:
    """Node and pool of the devices whose leases are up: the first node that offers one has it."""
    rows = [row for order in orders if (row := state.leases.get(order.renews)) is not None]
    wanted = {key for row in rows for key in _keys(row.lease)}
    found: dict[str, tuple[str, str]] = {}
    for name, node in state.nodes.items() if wanted else ():
        for device in node.devices:
            if (key := pools.device_key(device)) in wanted and key not in found:
                found[key] = (name, pools.pool_name(device, market.rules.fingerprint))
    return found


def _keys(lease: LeaseChanged) -> frozenset[str]:
    return frozenset(pools.leased_key(one) for one in lease.devices if not one.companion_of)


def _judged(
    state: MarketState, market: Market, order: OrderPlaced, row: Lease,
    places: Mapping[str, tuple[str, str]],
) -> Up | Rejection:  # fmt: skip
    """Whether a bound lease whose time has come may be renewed for this order."""
    rules, wanted, keys = market.rules, order.alternatives[0], _keys(row.lease)
    where = {places.get(key, ("", "")) for key in keys}
    node, pool = min(where)
    if len(where) > 1 or not pool or not rules.pending_ms or state.is_awaited(row.lease):
        return Rejection.RENEWAL_CLOSED
    if wanted.duration_ms > rules.max_duration_ms:
        return Rejection.TOO_LONG
    units = UNITS[wanted.shape]
    slots = ways.slots_of(wanted.duration_ms, rules.slot_ms)
    if order.value_micros < book.reserve_of(rules, pool) * units * slots:
        return Rejection.BELOW_RESERVE
    idle = ways.slots_of(market.switching_ms, rules.slot_ms)
    room = (book.VALUE_LIMIT - 1) // book.weight_of(order, rules) - order.value_micros
    if room < 0:
        return Rejection.VALUE_TOO_LARGE
    # Not above its own price: what the pool last sold may have been a trifle, bought to speak here.
    own = row.lease.price_micros // (units * ways.slots_of(row.lease.duration_ms, rules.slot_ms))
    boost = idle * units * min(own, market.prices.get(pool, 0))
    return Up(row, pool, node, keys, min(boost, room))


def up(found: Due) -> dict[str, Up]:
    """Those that take part."""
    return {bid_id: one for bid_id, one in found.items() if isinstance(one, Up)}


def names(found: Due) -> frozenset[str]:
    """The leases that are up: their devices are on sale."""
    return frozenset(one.row.lease.lease_id for one in up(found).values())


def keys(found: Due) -> frozenset[str]:
    """The addresses of these leases' devices."""
    return frozenset(key for one in up(found).values() for key in one.keys)


def reach(
    order: OrderPlaced, found: Up | Rejection, market: Market, offered: dict[str, pools.Pool]
) -> list[book.Reach] | Rejection:
    """The one alternative: as many devices as the lease has, on the node where it has them."""
    if isinstance(found, Rejection):
        return found
    wanted = order.alternatives[0]
    if not found.keys <= _on_sale(found, offered):  # another node offers one in another guise
        return Rejection.RENEWAL_CLOSED
    alternative = InstanceAlternative(
        pool=found.pool, shape=wanted.shape,
        slots=ways.slots_of(wanted.duration_ms, market.rules.slot_ms),
        pinned=offered[found.pool].nodes.index(found.node),
    )  # fmt: skip
    return [book.Reach(alternative, 0, found.boost_micros)]


def _on_sale(found: Up, offered: dict[str, pools.Pool]) -> frozenset[str]:
    pool = offered.get(found.pool)
    if pool is None or found.node not in pool.nodes:
        return frozenset()
    return frozenset(map(pools.device_key, pool.free[pool.nodes.index(found.node)]))


# -- decided -----------------------------------------------------------------------------------


def others(
    found: Due, result: Result, offered: dict[str, pools.Pool]
) -> tuple[Result, dict[str, pools.Pool]]:
    """The awards that still need devices, and the devices that no renewal has kept."""
    kept = {bid_id: one for bid_id, one in up(found).items() if bid_id in result.awards}
    gone = frozenset(key for one in kept.values() for key in one.keys)
    awards = {bid_id: won for bid_id, won in result.awards.items() if bid_id not in kept}
    left = {
        name: replace(pool, free=tuple(
            tuple(one for one in free if pools.device_key(one) not in gone) for free in pool.free
        ))
        for name, pool in offered.items()
    } if gone else offered  # fmt: skip
    return replace(result, awards=awards), left


def patience_ms(
    state: MarketState, rules: MarketDeclared, before: Iterable[str], now_ms: int
) -> int:
    """Until when a pending lease waits: ``pending_ms`` from when the last of these must leave.

    0 where it waits for nobody.
    """
    leave_ms = [
        now_ms if one.state == "ending" else one.ends_at_ms + rules.grace_ms
        for one in (state.leases[name].lease for name in before)
    ]
    return max([now_ms, *leave_ms]) + rules.pending_ms if leave_ms else 0


def renewed(
    turn: Turn, window: int, order: OrderPlaced, found: Up | Rejection, award: Award
) -> None:
    """The lease goes on: same id, epoch, claims and devices, another term after the running one."""
    assert isinstance(found, Up), "only a renewal that takes part wins"
    row, before = found.row, found.row.lease
    lease = leases.renewed(
        before, order.bid_id, award.price_micros, order.alternatives[0].duration_ms
    )
    assert lease is not None, "a lease that is up is bound"
    running = leases.Term(before.price_micros, before.duration_ms, before.ends_at_ms)
    earlier = tuple(one for one in (*row.earlier, running) if one.ends_at_ms > turn.now_ms)
    turn.state.book.remove(order.bid_id)
    turn.settle(
        order.bid_id, order.tenant, order.agent, order.source, "won", market=order.market,
        charge_micros=award.price_micros, lease=lease,
    )  # fmt: skip
    # What was on offer was less than what the lease is now.
    turn.keep(replace(row, earlier=earlier, offer=None), lease)
    outcome = OutcomeReported(
        outcome_id=ids.joined("won", lease.lease_id, lease.epoch, lease.term), kind="won",
        tenant=lease.tenant, agent=lease.agent, at_ms=turn.now_ms, bid_id=order.bid_id,
        market=lease.market, window=window, price_micros=award.price_micros,
        lease_id=lease.lease_id, epoch=lease.epoch, level=lease.level,
        market_pool=lease.market_pool, devices=lease.devices, ends_at_ms=lease.ends_at_ms,
    )  # fmt: skip
    turn.tell(outcome, row.source)
