"""Closing a window: deadlines, the clearing, its awards, and the round that everyone may read.

Decides what a closing does, as a pure function of the state and the decision to close. Refuses to
look at a clock: closed_at is data.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.market import (
    asks,
    assigning,
    book,
    clearing,
    drift,
    floors,
    leases,
    naming,
    optimum,
    pools,
    receipts,
    renewals,
    standing,
)
from bidplane_streams.market.effects import CloseWindow, Emit
from bidplane_streams.market.feasibility import Counters
from bidplane_streams.market.market import Lease, Market, MarketState, Turn
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import ids, orders, registry
from bidplane_topics.instances import Award, Instance, Result
from bidplane_topics.leases import LeaseChanged, LeasedNode
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import PoolRound, RoundClosed

RULE_VERSION = 1

Entrants = dict[str, tuple[orders.OrderPlaced, list[book.Reach]]]


def next_close_ms(state: MarketState) -> int | None:
    """When the running window ends: the next multiple of its length; None without a market."""
    market = state.only()
    if market is None:
        return None
    length = market.rules.window_ms
    return (market.closed_at_ms // length + 1) * length


def due(state: MarketState, now_ms: int) -> bool:
    """Whether a window without new records has anything to do."""
    market = state.only()
    if market is None:
        return False
    for row in state.leases.values():
        at = leases.due_at_ms(row.lease)
        if at is not None and at <= now_ms:
            return True
    return any(
        order.not_before_ms <= now_ms or 0 < order.rest_until_ms < now_ms
        for order in state.book.values()
    )


def close(state: MarketState, event: CloseWindow) -> Turn:
    """Close the window (DESIGN, Lanes and time).

    ``closed_at`` and the window's number only grow: a late closing is one window that holds all.
    """
    market = state.only()
    assert market is not None, "a window of no market cannot close"
    closed_at = max(market.closed_at_ms + 1, event.closed_at_ms)
    window = max(market.window + 1, closed_at // market.rules.window_ms)
    turn = Turn(state, closed_at)
    opening = list(state.book.values())
    _deadlines(turn, market)
    standing.answer(turn)
    due = renewals.due(state, market, closed_at)
    leaving = _leaving(state, market.rules) | renewals.names(due)
    offered = pools.build(
        state.nodes, state.uses, state.sellable, market.rules.fingerprint, leaving,
        renewals.keys(due),
    )  # fmt: skip
    entrants = _entrants(turn, market, offered, window, due)
    stale = closed_at - market.alive_at_ms > market.rules.stale_after_ms
    for_sale = {name: pool.nothing() for name, pool in offered.items()} if stale else offered
    beacon = ids.digest("beacon", market.root, *sorted(entrants))
    orders_in = (order for order, _ in entrants.values())
    covered = floors.floors(market.rules, market.leased, offered, orders_in)
    instance = book.instance(market.rules, window, beacon, for_sale, entrants, covered)
    result = _cleared(state, market.rules, instance)
    asked = _asks(instance, result, for_sale)
    placed = naming.named(instance, *renewals.others(due, result, for_sale))
    for bid_id in sorted(result.awards):
        entrant, award = entrants[bid_id], result.awards[bid_id]
        if bid_id in placed:
            _award(turn, market, window, entrant, award, placed[bid_id], leaving)
        else:
            renewals.renewed(turn, window, entrant[0], due[bid_id], award)
    standing.answer(turn)
    _losers(turn, window, entrants, instance, result, asked, stale=stale)
    closed = _round(turn, market, window, event, beacon, instance, result, offered, asked)
    _publish(turn, market, closed, instance, result, opening)
    leaving = _leaving(state, market.declared)
    for name, node in state.nodes.items():
        free = pools.free_now(node, state.uses, leaving)
        if state.sellable.get(name) != free:
            state.sellable.put(name, free)
    return turn


def _cleared(state: MarketState, rules: MarketDeclared, instance: Instance) -> Result:
    """By what was given to this state for it, else by the core itself."""
    if rules.rule == optimum.RULE and state.solve is not None:
        return state.solve(instance, optimum.limit_ms(rules))
    return (state.clear or clearing.clear)(instance, rules.rule)


def _leaving(state: MarketState, rules: MarketDeclared) -> frozenset[str]:
    """The leases whose devices may be sold before they are released."""
    if not rules.pending_ms:
        return frozenset()
    rows = state.leases.values()
    return frozenset(row.lease.lease_id for row in rows if row.lease.state == "ending")


def _deadlines(turn: Turn, market: Market) -> None:
    """What time alone does: leases that end, orders that rested long enough or lost a market."""
    for row in list(turn.state.leases.values()):
        after = leases.due(row.lease, turn.now_ms, market.rules.grace_ms)
        if after is None:
            continue
        if after.state == "notice":
            turn.about(turn.keep(row, after), "notice")
        else:
            assert after.cause in ("pending_timeout", "bind_timeout", "expired")
            turn.end(row, after.cause)
    for order in list(turn.state.book.values()):
        if market.removed:
            turn.close_order(order, "refused", Rejection.MARKET_REMOVED)
        elif order.rest_until_ms and turn.now_ms > order.rest_until_ms:
            turn.close_order(order, "expired", Rejection.EXPIRED)


def _entrants(
    turn: Turn, market: Market, offered: dict[str, pools.Pool], window: int, due: renewals.Due
) -> Entrants:
    """The orders that take part in this window; those that never could are refused."""
    entrants: Entrants = {}
    known = turn.state.ways_of(market.rules, offered)
    for order in list(turn.state.book.values()):
        if order.not_before_ms > turn.now_ms or (order.renews and order.bid_id not in due):
            continue
        if order.renews:
            reached = renewals.reach(order, due[order.bid_id], market, offered)
        else:
            reached = book.reach(order, market.rules, offered, known)
        if isinstance(reached, list):
            entrants[order.bid_id] = (order, reached)
        elif reached is Rejection.LEASE_ENDED or not _rests(order, turn.now_ms):
            turn.close_order(order, "refused", reached, window=window)
    return entrants


def _rests(order: orders.OrderPlaced, now_ms: int) -> bool:
    return order.rest_until_ms > now_ms


def _asks(instance: Instance, result: Result, offered: dict[str, pools.Pool]) -> asks.Asks:
    """What would have won, for the shapes that each pool sells."""
    return {
        pool: {shape: price for shape, price in found.items() if pools.sells(offered[pool], shape)}
        for pool, found in asks.asks(instance, result).items()
    }


def _award(
    turn: Turn, market: Market, window: int, entrant: tuple[orders.OrderPlaced, list[book.Reach]],
    award: Award, devices: tuple[naming.Named, ...], leaving: frozenset[str],
) -> None:  # fmt: skip
    """One award becomes a lease, a charge and an outcome; pending where others still leave."""
    order, reached = entrant
    state, rules = turn.state, market.rules
    chosen = reached[award.alternative]
    lease_id = ids.lease_id(order.market, order.bid_id)
    wanted = naming.holdings(devices)
    rivals = naming.contested(devices)
    before = state.leaving_from(rivals, leaving)
    epochs = [state.epoch_of(key) for key in rivals]
    epochs += [leases.last_epoch(state.leases[name].lease) for name in before]
    epoch = 1 + max(*epochs, assigning.epoch(state.nodes, (one.node for one in devices)), 0)
    lease = LeaseChanged(
        market=order.market, lease_id=lease_id, bid_id=order.bid_id, tenant=order.tenant,
        agent=order.agent, state="pending" if before else "awarded", epoch=epoch, window=window,
        market_pool=chosen.alternative.pool, shape=chosen.alternative.shape, level=award.level,
        devices=naming.leased(devices),
        nodes=_shares(state, rules.device_class, devices),
        price_micros=award.price_micros,
        duration_ms=order.alternatives[chosen.index].duration_ms, awarded_at_ms=turn.now_ms,
        bind_by_ms=0 if before else turn.now_ms + rules.bind_deadline_ms,
        pending_until_ms=renewals.patience_ms(state, rules, before, turn.now_ms),
        standing=rules.standing,
    )  # fmt: skip
    state.take(wanted, lease)
    state.book.remove(order.bid_id)
    turn.settle(
        order.bid_id, order.tenant, order.agent, order.source, "won", market=order.market,
        charge_micros=award.price_micros, lease=lease,
    )  # fmt: skip
    waits: dict[str, int | str] = {"pending_until_ms": lease.pending_until_ms} if before else {}
    kept = turn.keep(Lease(lease, order.source, waits_for=before), lease)
    turn.about(kept, "won", evidence=waits)


def _shares(
    state: MarketState, device_class: str, devices: tuple[naming.Named, ...]
) -> tuple[LeasedNode, ...]:
    weights: dict[str, int] = {one.node: 0 for one in devices}
    for one in devices:
        size = UNITS["1"] if one.part is None else UNITS[one.part.profile]
        weights[one.node] += pools.weight(one.device, device_class) * size // UNITS["1"]
    return tuple(
        pools.share(state.nodes[node], device_class, weights[node]) for node in sorted(weights)
    )


def _losers(
    turn: Turn, window: int, entrants: Entrants, instance: Instance, result: Result,
    asked: asks.Asks, *, stale: bool,
) -> None:  # fmt: skip
    """Orders that did not win rest, or end with the reason and the public price they met."""
    stocks = {pool.name: pool for pool in instance.pools}
    empty = {name: Counters.of(pool) for name, pool in stocks.items()}
    bids = {bid.bid_id: bid for bid in instance.bids}
    for bid_id in sorted(entrants):
        order, reached = entrants[bid_id]
        if bid_id in result.awards or _rests(order, turn.now_ms):
            continue  # who rests is told nothing yet
        first = reached[0].alternative
        room = any(empty[one.pool].fits(one.shape) for one in (way.alternative for way in reached))
        reason = Rejection.OUTBID if room else Rejection.NO_CAPACITY
        evidence: dict[str, int | str] = {
            "pool": first.pool,
            "value_micros": order.value_micros,
            "price_micros_per_unit_slot": result.prices.get(first.pool, 0),
            "unit_slots": UNITS[first.shape] * first.slots,
        }
        enough = asks.would_have_won(bids[bid_id], stocks, asked)
        if enough is not None:
            evidence["would_have_won_micros"] = enough
        final = Rejection.SUPPLY_STALE if stale else reason
        turn.close_order(order, "lost", final, evidence, window)


def _publish(
    turn: Turn, market: Market, closed: RoundClosed, instance: Instance, result: Result,
    opening: list[orders.OrderPlaced],
) -> None:  # fmt: skip
    """The round with its root, and a receipt for everyone of whose orders it decided."""
    state, name = turn.state, market.declared.market
    fates = receipts.decided(opening, turn.out, turn.now_ms)
    issued = receipts.issue(closed, instance, result, fates)
    closed = msgspec.structs.replace(closed, root=issued.root)
    turn.out.append(Emit(registry.ROUNDS, state.partition, name, closed))
    for outcome, source in issued.told:
        turn.tell(outcome, source)
    active = (row.lease for row in state.leases.values())
    drifted = drift.after(market.declared, market.means, closed.pools)
    turn.put(
        market, window=closed.window, closed_at_ms=turn.now_ms, root=closed.root,
        rules=drifted.rules, means=drifted.means, switching_ms=market.binding_ms,
        prices=market.prices | result.prices, leased=floors.leased(market.declared, active),
    )  # fmt: skip


def _round(
    turn: Turn, market: Market, window: int, event: CloseWindow, beacon: str, instance: Instance,
    result: Result, offered: dict[str, pools.Pool], asked: asks.Asks,
) -> RoundClosed:  # fmt: skip
    """What everyone may know of the round; its root is still missing."""
    state = turn.state
    active = [row.lease for row in state.leases.values()]
    device_class = market.rules.device_class
    counted = [pool for pool in offered.values() if pool.device_class == device_class]
    sold = _sold(result, instance)
    return RoundClosed(
        market=market.declared.market, window=window, closed_at_ms=turn.now_ms,
        inputs=event.inputs, rule=market.rules.rule, rule_version=RULE_VERSION,
        slot_ms=market.rules.slot_ms, beacon=beacon, previous_root=market.root, root="",
        orders=len(instance.bids), awarded=len(result.awards),
        revenue_micros=result.revenue_micros,
        pools={
            pool.name: PoolRound(
                units_offered=pool.units, units_sold=sold.get(pool.name, 0),
                units_total=7 * sum(offered[pool.name].totals),
                price_micros=result.prices.get(pool.name, 0),
                reserve_micros=pool.reserve_micros, scarcity_permille=pool.scarcity_permille,
                asks=asked.get(pool.name, {}), device_class=pool.device_class,
                facts=offered[pool.name].attributes,
            )
            for pool in instance.pools
        },
        leases_active=len(active),
        units_leased=sum(_units(lease, device_class) for lease in active if lease.bind_by_ms),
        units_total=7 * sum(sum(pool.totals) for pool in counted), device_class=device_class,
        bound_micros=asks.bound(instance, result), fell_back=result.fell_back,
    )  # fmt: skip


def _units(lease: LeaseChanged, device_class: str) -> int:
    return sum(one.units for one in lease.devices if one.device_class == device_class)


def _sold(result: Result, instance: Instance) -> dict[str, int]:
    by_id = {bid.bid_id: bid for bid in instance.bids}
    sold: dict[str, int] = {}
    for bid_id, award in sorted(result.awards.items()):
        chosen = by_id[bid_id].alternatives[award.alternative]
        sold[chosen.pool] = sold.get(chosen.pool, 0) + UNITS[chosen.shape] * award.level
    return sold
