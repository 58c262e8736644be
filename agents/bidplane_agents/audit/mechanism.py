"""The mechanism by definition: what MECHANISM says, computed the slow way.

Decides who should have won a window and what they should have paid. Refuses every shortcut of the
market: feasibility packs the shapes, a critical value is found by clearing again with other values.
"""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import msgspec
import orjson

from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
)

UNITS = {
    "1g": 1, "2g": 2, "3g": 3, "4g": 4, "1": 7, "2": 14, "4": 28, "8": 56, "16": 112, "32": 224,
    "64": 448,
}  # fmt: skip
SLICES = ("1g", "2g", "3g", "4g")

# Between a shape and the only node that will do for it.
AT = "@"

# What a pool has sold: copies by shape, sorted by shape, so that it can be a cache's key.
Sold = tuple[tuple[str, int], ...]
# Who won: bid id to (alternative, level).
Wins = dict[str, tuple[int, int]]


class Stock(NamedTuple):
    """What a pool has: free devices by node; halves, pairs and slots of partly used devices."""

    nodes: tuple[int, ...]
    lefts: int
    rights: int
    pairs: int
    singles: int


def stock_of(pool: InstancePool) -> Stock:
    """Count what is free of each device: a left half is slots 0-3, a right one 4-6."""
    lefts = rights = pairs = singles = 0
    for _, slots in pool.partly_used:
        left, right = {0, 1, 2, 3} & set(slots), {4, 5, 6} & set(slots)
        lefts += len(left) == 4
        rights += len(right) == 3
        for half, starts in ((left, (0, 2)), (right, (4,))):
            if len(half) == 4 or (len(half) == 3 and half <= {4, 5, 6}):
                continue
            twos = sum({start, start + 1} <= half for start in starts)
            pairs += twos
            singles += len(half) - 2 * twos
    return Stock(pool.nodes, lefts, rights, pairs, singles)


@functools.lru_cache(maxsize=100_000)
def slices_fit(
    ones: int, twos: int, threes: int, fours: int, devices: int,
    besides: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> bool:  # fmt: skip
    """Whether MIG slices fit, by trying every split over the halves of that many devices.

    A left half (four slots) holds a 4g, a 3g, or 2g and 1g; a right half (three) a 3g, or at most
    one 2g and 1g. ``besides``: left halves, right halves, pairs and slots of partly used devices.
    """
    all_lefts, all_rights, pairs, singles = besides
    for threes_left in range(threes + 1):
        lefts = devices + all_lefts - fours - threes_left
        rights = devices + all_rights - (threes - threes_left)
        if lefts < 0 or rights < 0:
            continue
        for twos_left in range(min(twos, 2 * lefts) + 1):
            for twos_pairs in range(min(twos - twos_left, pairs) + 1):
                twos_right = twos - twos_left - twos_pairs
                free = 4 * lefts + 3 * rights + 2 * pairs + singles - 2 * twos
                if twos_right <= rights and ones <= free:
                    return True
    return False


@functools.lru_cache(maxsize=100_000)
def shared_devices(
    ones: int, twos: int, threes: int, fours: int,
    besides: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> int:  # fmt: skip
    """The least number of free devices that hold these slices."""
    devices = 0
    while not slices_fit(ones, twos, threes, fours, devices, besides):
        devices += 1
    return devices


@functools.lru_cache(maxsize=200_000)
def packs(stock: Stock, sold: Sold) -> bool:
    """Whether everything sold can be packed: largest blocks first, each on its tightest node.

    What is pinned has its place before all others.
    """
    copies = dict(sold)
    nodes, *besides = stock
    shared = shared_devices(*(copies.get(shape, 0) for shape in SLICES), tuple(besides))
    blocks: list[int] = [1] * shared
    free = list(nodes)
    for shape, count in sold:
        word, pinned, node = shape.partition(AT)
        if pinned:
            free[int(node)] -= int(word) * count
        elif word not in SLICES:
            size = int(word)
            blocks += [8] * (size // 8 * count) if size >= 8 else [size] * count
    if min(free, default=0) < 0:
        return False
    for block in sorted(blocks, reverse=True):
        holding = [room for room in free if room >= block]
        if not holding:
            return False
        tightest = free.index(min(holding))
        free[tightest] -= block
    return True


def sold_as(chosen: InstanceAlternative) -> str:
    """The shape, with its node if it has only one."""
    return chosen.shape if chosen.pinned is None else f"{chosen.shape}{AT}{chosen.pinned}"


def with_more(sold: Sold, shape: str, count: int) -> Sold:
    """The same pool with ``count`` more of a shape sold."""
    copies = dict(sold)
    copies[shape] = copies.get(shape, 0) + count
    return tuple(sorted(copies.items()))


def reserve_of(bid: InstanceBid, index: int, pools: dict[str, InstancePool]) -> int:
    """The least value per level that this alternative may be sold for."""
    chosen = bid.alternatives[index]
    return pools[chosen.pool].reserve_micros * UNITS[chosen.shape] * chosen.slots


@functools.lru_cache(maxsize=100_000)
def tie_of(beacon: str, bid_id: str) -> bytes:
    """What orders bids of one key: nobody knows it before the window's beacon."""
    return hashlib.sha256(bytes.fromhex(beacon) + bid_id.encode("utf-8")).digest()


def allocate(instance: Instance, until: str = "") -> Wins:
    """Scan bids by tier, density and tie; give each the first alternative that still fits.

    Ends early once the bid ``until`` has won: what comes later cannot change that.
    """
    pools = {pool.name: pool for pool in instance.pools}
    queue = []
    for bid in instance.bids:
        tie = tie_of(instance.beacon, bid.bid_id)
        for index, chosen in enumerate(bid.alternatives):
            if bid.value_micros < reserve_of(bid, index, pools):
                continue
            weight = UNITS[chosen.shape] * chosen.slots * pools[chosen.pool].scarcity_permille
            key = bid.weight * (bid.value_micros + bid.boost_micros) * 2**20 // weight
            queue.append((bid.tier_of(index), -key, tie, index, bid.bid_id))
    bids = {bid.bid_id: bid for bid in instance.bids}
    stocks = {name: stock_of(pool) for name, pool in pools.items()}
    sold: dict[str, Sold] = dict.fromkeys(pools, ())
    wins: Wins = {}
    for _, _, _, index, bid_id in sorted(queue):
        bid, chosen = bids[bid_id], bids[bid_id].alternatives[index]
        if bid_id in wins:
            continue
        for level in range(bid.level_max, bid.level_min - 1, -1):
            more = with_more(sold[chosen.pool], sold_as(chosen), level)
            if packs(stocks[chosen.pool], more):
                sold[chosen.pool] = more
                wins[bid_id] = (index, level)
                break
        if bid_id == until and bid_id in wins:
            break
    return wins


def level_at(instance: Instance, bid_id: str, value_micros: int) -> int:
    """The level that a bid would have won with another value; 0 if none."""
    changed = tuple(
        msgspec.structs.replace(bid, value_micros=value_micros) if bid.bid_id == bid_id else bid
        for bid in instance.bids
    )
    wins = allocate(msgspec.structs.replace(instance, bids=changed), until=bid_id)
    return wins.get(bid_id, (0, 0))[1]


def least_value(instance: Instance, bid_id: str, level: int, enough: int) -> int:
    """The least value at which the bid wins ``level`` or more, known to hold at ``enough``."""
    low, high = 0, enough
    while low < high:
        middle = (low + high) // 2
        if level_at(instance, bid_id, middle) >= level:
            high = middle
        else:
            low = middle + 1
    return high


def critical_price(instance: Instance, bid: InstanceBid, won: int) -> int:
    """What the bid pays: rigid, its least winning value; elastic, level by level."""
    first = least_value(instance, bid.bid_id, bid.level_min, bid.value_micros)
    price = bid.level_min * first
    for level in range(bid.level_min + 1, won + 1):
        price += least_value(instance, bid.bid_id, level, bid.value_micros)
    return price


def _below(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * other[1] < other[0] * one[1]


def uniform_prices(instance: Instance, wins: Wins) -> dict[str, int]:
    """One price per pool: max(reserve, min(lowest winning density, highest losing density))."""
    pools = {pool.name: pool for pool in instance.pools}
    bids = {bid.bid_id: bid for bid in instance.bids}
    price: dict[str, tuple[int, int]] = {}
    for name, pool in pools.items():
        winning: list[tuple[int, int]] = []
        losing: list[tuple[int, int]] = []
        for bid in instance.bids:
            for index, chosen in enumerate(bid.alternatives):
                if chosen.pool != name or bid.value_micros < reserve_of(bid, index, pools):
                    continue
                density = (bid.value_micros, UNITS[chosen.shape] * chosen.slots)
                lot = with_more((), sold_as(chosen), bid.level_min)
                if bid.bid_id not in wins and packs(stock_of(pool), lot):
                    losing.append(density)
                if bid.bid_id in wins and wins[bid.bid_id][0] == index:
                    winning.append(density)
        best = (pool.reserve_micros, 1)
        for density in losing:
            best = density if _below(best, density) else best
        for density in winning:
            best = density if _below(density, best) else best
        reserve = (pool.reserve_micros, 1)
        price[name] = reserve if _below(best, reserve) else best
    paid = {}
    for bid_id, (index, level) in wins.items():
        chosen = bids[bid_id].alternatives[index]
        micros, units = price[chosen.pool]
        paid[bid_id] = micros * UNITS[chosen.shape] * chosen.slots * level // units
    return paid


def agents_in(instance: Instance, pool: str) -> int:
    """How many agents named a pool."""
    named = {bid.agent for bid in instance.bids for one in bid.alternatives if one.pool == pool}
    return len(named)


def asks(instance: Instance, result: Result, pool: InstancePool) -> dict[str, int]:
    """By shape, the least price per unit and slot that is ahead of whoever ended the shape.

    Counts the winners in their order and asks after each whether one more copy packs.
    """
    ranked = []
    for bid in instance.bids:
        award = result.awards.get(bid.bid_id)
        if award is not None and bid.alternatives[award.alternative].pool == pool.name:
            chosen = bid.alternatives[award.alternative]
            weight = UNITS[chosen.shape] * chosen.slots * pool.scarcity_permille
            key = bid.weight * (bid.value_micros + bid.boost_micros) * 2**20 // weight
            ranked.append((bid.tier_of(award.alternative), -key, sold_as(chosen), award.level))
    stock = stock_of(pool)
    found = {shape: 0 for shape in UNITS if packs(stock, ((shape, 1),))}
    sold: Sold = ()
    open_shapes = set(found)
    for tier, minus_key, taken, level in sorted(ranked):
        sold = with_more(sold, taken, level)
        for shape in sorted(open_shapes):
            if packs(stock, with_more(sold, shape, 1)):
                continue
            open_shapes.remove(shape)
            if tier < 1:
                del found[shape]
            elif tier == 1:
                # The least whole price p with p · 2^20 / scarcity at or above key + 1.
                found[shape] = ((1 - minus_key) * pool.scarcity_permille + 2**20 - 1) // 2**20
    return {shape: max(pool.reserve_micros, price) for shape, price in found.items()}


def clear(instance: Instance, rule: str = "greedy") -> Result:
    """The whole clearing, without positions. Raises KeyError for a rule that is none."""
    bids = {bid.bid_id: bid for bid in instance.bids}
    wins = allocate(instance)
    if rule == "uniform":
        paid = uniform_prices(instance, wins)
    elif rule == "pay-as-bid":
        paid = {one: bids[one].value_micros * level for one, (_, level) in wins.items()}
    elif rule == "greedy":
        paid = {one: critical_price(instance, bids[one], level) for one, (_, level) in wins.items()}
    else:
        raise KeyError(rule)
    return completed(instance, rule, wins, paid)


def completed(instance: Instance, rule: str, wins: Wins, paid: dict[str, int]) -> Result:
    """The result of these wins at these prices."""
    bids = {bid.bid_id: bid for bid in instance.bids}
    micros: dict[str, int] = {}
    units: dict[str, int] = {}
    for one, (index, level) in wins.items():
        chosen = bids[one].alternatives[index]
        micros[chosen.pool] = micros.get(chosen.pool, 0) + paid[one]
        size = UNITS[chosen.shape] * chosen.slots * level
        units[chosen.pool] = units.get(chosen.pool, 0) + size
    return Result(
        market=instance.market, window=instance.window, rule=rule,
        awards={
            one: Award(alternative=wins[one][0], level=wins[one][1], price_micros=paid[one],
                       devices=())
            for one in sorted(wins)
        },
        prices={name: micros[name] // units[name] for name in sorted(micros)},
        welfare_micros=sum(bids[one].value_micros * level for one, (_, level) in wins.items()),
        revenue_micros=sum(paid.values()),
        root=root_of(instance, rule, wins, paid),
    )  # fmt: skip


def root_of(instance: Instance, rule: str, wins: Wins, paid: dict[str, int]) -> str:
    """The digest of a clearing, as market/README.md defines its bytes."""
    body = msgspec.to_builtins(instance)
    body["bids"] = sorted(body["bids"], key=lambda bid: str(bid["bid_id"]))
    body["pools"] = sorted(body["pools"], key=lambda pool: str(pool["name"]))
    outcome = {one: [*wins[one], paid[one]] for one in wins}
    raw = orjson.dumps([body, rule, outcome], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(raw).hexdigest()
