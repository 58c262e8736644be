"""What a run came to, folded from the log once it is over.

Decides which records count: those of one market since the run began; money over the accounts' whole
life. Refuses to judge: whether the figures are right is the auditor's.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable

import msgspec

from bidplane_agents import connection, log
from bidplane_streams.market import pools
from bidplane_topics import markets, registry
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.rounds import RoundClosed


class PoolTally(msgspec.Struct, kw_only=True):
    """A pool over all rounds. Prices in micro-credits per unit (a seventh of a GPU) and slot."""

    rounds_sold: int
    price_min_micros: int
    price_mean_micros: int
    price_max_micros: int
    units_sold: int
    utilisation_permille: int


class RoundsTally(msgspec.Struct, kw_only=True):
    """All rounds; utilisation is the mean share of GPU units that were leased after a clearing."""

    rounds: int
    revenue_micros: int
    utilisation_permille: int
    longest_pause_ms: int
    pools: dict[str, PoolTally]


class Purse(msgspec.Struct, kw_only=True):
    """An agent's money, from the ledger alone."""

    granted_micros: int = 0
    spent_micros: int = 0
    refunded_micros: int = 0
    left_micros: int = 0
    held_micros: int = 0


class Tally(msgspec.Struct, kw_only=True):
    """Everything."""

    rounds: RoundsTally
    purses: dict[str, Purse]
    outcomes: dict[str, int]
    refusals: dict[str, int]
    leases: dict[str, int]
    lease_ends: dict[str, int]
    dead_letters: dict[str, int]


async def fold(reached: connection.Connection, market: str, since_ms: int) -> Tally:
    """Read the log and add up.

    Raises:
        Unreachable: Kafka does not answer.
    """
    gpu_pools = await _gpu_pools(reached, market)
    closed = [
        event
        async for _, event in log.events(reached, registry.ROUNDS)
        if event.market == market and event.closed_at_ms >= since_ms
    ]
    outcomes, refusals = await _outcomes(reached, since_ms)
    states, ends = await _leases(reached, market, since_ms)
    return Tally(
        rounds=rounds(closed, gpu_pools), purses=await _purses(reached), outcomes=outcomes,
        refusals=refusals, leases=states, lease_ends=ends,
        dead_letters=await _dead_letters(reached),
    )  # fmt: skip


async def _gpu_pools(reached: connection.Connection, market: str) -> set[str]:
    """Pools whose devices are GPUs: rounds hold companions such as NICs too, but none bid here."""
    listed = await _fingerprint(reached, market)
    found: set[str] = set()
    async for _, event in log.events(reached, registry.SUPPLY):
        for device in getattr(event, "devices", ()):
            if device.device_class.startswith("gpu."):
                found.add(pools.pool_name(device, listed))
    return found


async def _fingerprint(reached: connection.Connection, market: str) -> tuple[str, ...]:
    listed: tuple[str, ...] = ()
    async for _, event in log.events(reached, registry.MARKETS):
        if isinstance(event, markets.MarketDeclared) and event.market == market:
            listed = event.fingerprint
    return listed


def rounds(closed: list[RoundClosed], gpu_pools: set[str]) -> RoundsTally:
    """Prices and utilisation of GPU pools over ``closed``."""
    names = sorted({name for one in closed for name in one.pools} & gpu_pools)
    by_pool = {name: _pool(closed, name) for name in names}
    shares = [share for one in closed if (share := _share(one, names)) is not None]
    return RoundsTally(
        rounds=len(closed), revenue_micros=sum(one.revenue_micros for one in closed),
        utilisation_permille=_mean(shares), longest_pause_ms=_pause_ms(closed), pools=by_pool,
    )  # fmt: skip


def _pause_ms(closed: list[RoundClosed]) -> int:
    """The longest time between two closings: what a killed worker cost, for one."""
    times = sorted(one.closed_at_ms for one in closed)
    return max((after - before for before, after in itertools.pairwise(times)), default=0)


def _pool(closed: list[RoundClosed], name: str) -> PoolTally:
    seen = [one.pools[name] for one in closed if name in one.pools]
    prices = [one.price_micros for one in seen if one.units_sold]
    shares = [share for one in closed if (share := _share(one, [name])) is not None]
    return PoolTally(
        rounds_sold=len(prices), price_min_micros=min(prices, default=0),
        price_mean_micros=_mean(prices), price_max_micros=max(prices, default=0),
        units_sold=sum(one.units_sold for one in seen), utilisation_permille=_mean(shares),
    )  # fmt: skip


def _share(one: RoundClosed, names: Iterable[str]) -> int | None:
    """Permille of these pools' units that are leased once the round is closed."""
    seen = [one.pools[name] for name in names if name in one.pools]
    total = sum(pool.units_total for pool in seen)
    busy = sum(pool.units_total - pool.units_offered + pool.units_sold for pool in seen)
    return busy * 1000 // total if total else None


def _mean(values: list[int]) -> int:
    return round(statistics.fmean(values)) if values else 0


async def _outcomes(
    reached: connection.Connection, since_ms: int
) -> tuple[dict[str, int], dict[str, int]]:
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    async for _, event in log.events(reached, registry.OUTCOMES):
        if event.at_ms >= since_ms:
            kinds[event.kind] += 1
            if event.reason is not None:
                reasons[f"{event.kind}: {event.reason}"] += 1
    return dict(kinds.most_common()), dict(reasons.most_common())


async def _leases(
    reached: connection.Connection, market: str, since_ms: int
) -> tuple[dict[str, int], dict[str, int]]:
    last: dict[str, LeaseChanged] = {}
    async for _, event in log.events(reached, registry.LEASES):
        if event.market == market and event.awarded_at_ms >= since_ms:
            last[event.lease_id] = event
    states: Counter[str] = Counter(lease.state for lease in last.values())
    states["awarded in all"] = len(last)
    states["bound in all"] = sum(lease.bound_at_ms > 0 for lease in last.values())
    ends = Counter(lease.cause for lease in last.values() if lease.cause)
    return dict(states.most_common()), dict(ends.most_common())


async def _purses(reached: connection.Connection) -> dict[str, Purse]:
    purses: dict[str, Purse] = {}
    async for _, event in log.events(reached, registry.LEDGER):
        if event.agent:
            post(purses.setdefault(f"{event.tenant}/{event.agent}", Purse()), event)
    return dict(sorted(purses.items()))


def post(purse: Purse, entry: LedgerPosted) -> None:
    """Add one entry to the purse of the agent that it names."""
    owner = f"{entry.tenant}/{entry.agent}"
    for account, sign in ((entry.debit, -1), (entry.credit, 1)):
        if account == f"agent/{owner}":
            purse.left_micros += sign * entry.amount_micros
        elif account == f"hold/{owner}":
            purse.held_micros += sign * entry.amount_micros
    if entry.kind in ("grant", "refill") and entry.credit == f"agent/{owner}":
        purse.granted_micros += entry.amount_micros
    elif entry.kind == "charge":
        purse.spent_micros += entry.amount_micros
    elif entry.kind == "refund":
        purse.refunded_micros += entry.amount_micros


async def _dead_letters(reached: connection.Connection) -> dict[str, int]:
    found: dict[str, int] = {}
    for topic in registry.DEAD_LETTERED:
        name = registry.dead_letters(topic).name
        count = 0
        async for _ in log.read(reached, name):
            count += 1
        if count:
            found[name] = count
    return found
