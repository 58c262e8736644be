"""The book: orders that may take part in a window, and the clearing instance they make.

Decides which pools an order's alternatives reach and which orders are refused before any price.
Refuses to know money: values arrive as admitted.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.market import floors, pools
from bidplane_streams.market.shapes import UNITS
from bidplane_streams.market.ways import Ways
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.rejections import Rejection

# MECHANISM: weight · (value + boost) stays below this, so keys fit 64 bits.
VALUE_LIMIT = 2**42


class Reach(msgspec.Struct, frozen=True):
    """An instance alternative and the order's alternative that it came from.

    ``boost_micros``: what the market adds to the bid's value in the order of the scan.
    """

    alternative: InstanceAlternative
    index: int
    boost_micros: int = 0


def reserve_of(rules: MarketDeclared, pool: str) -> int:
    """The least price of a unit for a slot in this pool, in micro-credits."""
    return rules.reserves.get(pool, rules.reserve_micros)


def weight_of(order: OrderPlaced, rules: MarketDeclared) -> int:
    """What the order's values count for in the scan: its agent's weight, or its tenant's."""
    own = rules.weights.get(f"{order.tenant}/{order.agent}")
    return rules.weights.get(order.tenant, 1) if own is None else own


def reach(
    order: OrderPlaced, rules: MarketDeclared, offered: dict[str, pools.Pool],
    known: Ways | None = None,
) -> list[Reach] | Rejection:  # fmt: skip
    """What could serve the order at its value, in a fixed order; or why nothing can.

    An elastic order gets one pool, since over several it would not be monotone (MECHANISM): the one
    with the most free devices when the window opened, then by name. ``known`` remembers the pools.
    """
    if weight_of(order, rules) * order.value_micros >= VALUE_LIMIT:
        return Rejection.VALUE_TOO_LARGE
    ways, problems = (known or Ways(rules, offered)).of(order)
    found = [
        Reach(way, index)
        for index, way in ways
        if order.value_micros >= reserve_of(rules, way.pool) * UNITS[way.shape] * way.slots
    ]
    if not found:
        also = {Rejection.BELOW_RESERVE} if ways else set()
        return max(problems | also, key=list(Rejection).index)
    if order.mode == "elastic":
        return [max(found, key=lambda one: _free(offered[one.alternative.pool]))]
    return found


def _free(pool: pools.Pool) -> int:
    return sum(len(devices) for devices in pool.free)


def instance(
    rules: MarketDeclared, window: int, beacon: str, offered: dict[str, pools.Pool],
    entrants: dict[str, tuple[OrderPlaced, list[Reach]]], covered: floors.Floors | None = None,
) -> Instance:  # fmt: skip
    """The window as a clearing instance (INTERFACES), bids in id order.

    ``covered`` by its tenant's floor, an alternative in a pool of the market's own devices is of
    the first tier.
    """
    own = frozenset(
        name for name, pool in offered.items() if pool.device_class == rules.device_class
    )
    return Instance(
        market=rules.market, window=window, beacon=beacon, slot_ms=rules.slot_ms,
        pools=tuple(
            InstancePool(
                name=pool.name, device_class=pool.device_class,
                nodes=tuple(len(devices) for devices in pool.free),
                scarcity_permille=rules.scarcity.get(pool.name, 1000),
                reserve_micros=reserve_of(rules, pool.name),
                partial=tuple((one.node, one.slots) for one in pool.partly) or msgspec.UNSET,
            )
            for pool in offered.values()
        ),
        bids=tuple(
            _bid(*entrants[bid_id], rules, own, (covered or {}).get(bid_id, frozenset()))
            for bid_id in sorted(entrants)
        ),
    )  # fmt: skip


def _bid(
    order: OrderPlaced, reached: list[Reach], rules: MarketDeclared, own: frozenset[str],
    covered: frozenset[int],
) -> InstanceBid:  # fmt: skip
    elastic = order.mode == "elastic"
    return InstanceBid(
        bid_id=order.bid_id, agent=f"{order.tenant}/{order.agent}", sequence=order.sequence,
        mode=order.mode, value_micros=order.value_micros, weight=weight_of(order, rules),
        boost_micros=reached[0].boost_micros,
        level_min=order.level_min if elastic else 1, level_max=order.level_max if elastic else 1,
        alternatives=tuple(
            msgspec.structs.replace(one.alternative, tier=floors.FIRST)
            if one.index in covered and one.alternative.pool in own
            else one.alternative
            for one in reached
        ),
    )  # fmt: skip
