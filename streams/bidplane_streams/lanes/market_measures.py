"""What is measured of a market: each round, its prices, devices and leases, and stages of bids.

Decides what is counted when. Notes are made while a window is decided, in the lane's thread, since
it holds the state; they are counted once the round is committed. Refuses to change the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from bidplane_streams import clock, metrics, stages
from bidplane_streams.instruments import PartitionGauge, Series
from bidplane_streams.lanes.logic import Record
from bidplane_streams.lanes.measuring import Moments
from bidplane_streams.market import leases
from bidplane_streams.market.effects import Effect
from bidplane_streams.market.market_rows import Market, MarketState
from bidplane_topics.instances import Instance, Result
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.reports import LeaseReleased
from bidplane_topics.rounds import RoundClosed

R = TypeVar("R")
LEASE_STATES: Final = ("pending", "awarded", "bound", "notice", "ending")
# An ending that time alone caused was due at this moment of the lease.
_DUE: Final[dict[str, Callable[[LeaseChanged], int]]] = {
    "bind_timeout": lambda lease: lease.bind_by_ms,
    "pending_timeout": lambda lease: lease.pending_until_ms,
}
_COUNTERS: Final = (
    metrics.ROUNDS, metrics.ROUND_ORDERS, metrics.ROUND_AWARDED, metrics.REVENUE,
)  # fmt: skip


class Notes:
    """What one window was about."""

    def __init__(self) -> None:
        self.closed: RoundClosed | None = None
        # Append times of the orders and of the reports that were applied, and the earliest of all.
        self.ordered: list[int] = []
        self.returned: list[int] = []
        self.first_ms: int | None = None
        self.told: list[int] = []
        self.endings: Counter[str] = Counter()
        self.gauges: dict[PartitionGauge, Series] = {}
        self.market: Market | None = None

    def took(self, record: Record, event: Any, caused: Iterable[Effect]) -> None:
        """A record was applied."""
        if type(event) is OrderPlaced:
            self.ordered.append(record.timestamp_ms)
        if self.first_ms is None or record.timestamp_ms < self.first_ms:
            self.first_ms = record.timestamp_ms
        for effect in caused:
            said: Any = effect[-1]
            if type(said) is LeaseChanged:
                self._lease(said, record.timestamp_ms)
                if said.state == "ended" and type(event) is LeaseReleased:
                    self.returned.append(record.timestamp_ms)

    def cleared(self, state: MarketState, caused: Iterable[Effect]) -> None:
        """The window was closed: what came of it, and how the market stands now."""
        for effect in caused:
            said: Any = effect[-1]
            if type(said) is LeaseChanged:
                self._lease(said, None)
            elif type(said) is RoundClosed:
                self.closed = said
        self.market = state.only()
        if self.market is not None and self.closed is not None:
            self.gauges = _gauges(state, self.market, self.closed)

    def _lease(self, lease: LeaseChanged, record_ms: int | None) -> None:
        """Whether it begins to end, and since when that was due."""
        if lease.state == "ending":
            self.endings[lease.cause] += 1
            due = _DUE.get(lease.cause)
            if record_ms is not None:
                self.told.append(record_ms)
            elif due is not None:
                self.told.append(due(lease))
        elif lease.state == "notice":
            self.told.append(lease.ends_at_ms)


class MarketMeasures:
    """All partitions of one process."""

    def __init__(self) -> None:
        """No partition is open."""
        # Until when each partition was busy with its last round, and what that one closed at.
        self._last: dict[int, tuple[int, int]] = {}

    def opened(self, partition: int, state: MarketState) -> None:
        """What the restored state says, until the first round says more."""
        market = state.only()
        if market is not None:
            self._judge(partition, market)
            metrics.WINDOW_S.put(partition, _window(market))
            # Else orders that rest would not show while the first round does not come.
            metrics.ORDERS_RESTING.put(partition, {(market.declared.market,): len(state.book)})
            if market.closed_at_ms:
                closed_s = market.closed_at_ms / 1000
                metrics.ROUND_CLOSED_AT_S.put(partition, {(market.declared.market,): closed_s})
            # Counters stand at zero before their first event, or no rate would ever show that one.
            for counter in _COUNTERS:
                counter.labels(market.rules.market)

    def closed(self, partition: int) -> None:
        """Forget the partition."""
        self._last.pop(partition, None)
        for gauge in (*GAUGES, metrics.SINK_STALE):
            gauge.drop(partition)

    def committed(self, partition: int, notes: Notes, moments: Moments) -> None:
        """Count what happened."""
        closed = notes.closed
        if closed is None:
            return
        name, committed_ms = closed.market, moments.committed_ms
        for gauge in GAUGES:
            gauge.put(partition, notes.gauges.get(gauge, {}))
        if notes.market is not None:
            self._judge(partition, notes.market)
        metrics.ROUNDS.labels(name).inc()
        metrics.ROUND_ORDERS.labels(name).inc(closed.orders)
        metrics.ROUND_AWARDED.labels(name).inc(closed.awarded)
        metrics.REVENUE.labels(name).inc(closed.revenue_micros)
        for cause, count in notes.endings.items():
            metrics.LEASE_ENDINGS.labels(name, cause).inc(count)
        late_ms = closed.closed_at_ms - self._due_ms(partition, notes, moments, closed)
        metrics.ROUND_LATENESS_S.labels(name).observe(max(0, late_ms) / 1000)
        self._last[partition] = (committed_ms, closed.closed_at_ms)
        _observe("closed", name, (closed.closed_at_ms - at for at in notes.ordered))
        _observe("awarded", name, [committed_ms - closed.closed_at_ms] * closed.awarded)
        _observe("notice", name, (committed_ms - at for at in notes.told))
        _observe("on_sale", name, (committed_ms - at for at in notes.returned))

    def _due_ms(self, partition: int, notes: Notes, moments: Moments, closed: RoundClosed) -> int:
        """When this window should have closed.

        By the lane's clock; or, where the round before took longer than the window that followed it
        and something waited by then, at that window's end.
        """
        due_ms = moments.due_ms or closed.closed_at_ms
        busy_until_ms, before_ms = self._last.get(partition, (0, 0))
        if notes.market is None or notes.first_ms is None or not before_ms:
            return due_ms
        length_ms = notes.market.rules.window_ms
        missed_ms = (before_ms // length_ms + 1) * length_ms
        waited = notes.first_ms < missed_ms < busy_until_ms
        return min(due_ms, missed_ms) if waited else due_ms

    def _judge(self, partition: int, market: Market) -> None:
        """Let the gauge say whether the claims sink is stale when somebody looks.

        What it has said since the last close is not read before the next one: a window's grace.
        """
        name, rules, alive_at_ms = market.declared.market, market.rules, market.alive_at_ms
        limit_ms = rules.stale_after_ms + rules.window_ms

        def stale() -> Series:
            return {(name,): float(clock.now_ms() - alive_at_ms > limit_ms)}

        metrics.SINK_STALE.put(partition, stale)


GAUGES: Final = (
    metrics.WINDOW_S, metrics.ROUND_CLOSED_AT_S, metrics.ORDERS_RESTING, metrics.PRICE,
    metrics.RESERVE, metrics.SCARCITY, metrics.UNITS, metrics.LEASES,
)  # fmt: skip


def _window(market: Market) -> Series:
    return {(market.declared.market,): market.rules.window_ms / 1000}


def _gauges(
    state: MarketState, market: Market, closed: RoundClosed
) -> dict[PartitionGauge, Series]:
    name, pools = closed.market, closed.pools
    counted = Counter(row.lease.state for row in state.leases.values())
    return {
        metrics.WINDOW_S: _window(market),
        metrics.ROUND_CLOSED_AT_S: {(name,): closed.closed_at_ms / 1000},
        metrics.ORDERS_RESTING: {(name,): len(state.book)},
        metrics.PRICE: {
            (name, pool): market.prices[pool] for pool in pools if pool in market.prices
        },
        metrics.RESERVE: {(name, pool): one.reserve_micros for pool, one in pools.items()},
        metrics.SCARCITY: {(name, pool): one.scarcity_permille for pool, one in pools.items()},
        metrics.UNITS: _units(state, closed),
        metrics.LEASES: {(name, one): counted[one] for one in LEASE_STATES},
    }


def _units(state: MarketState, closed: RoundClosed) -> Series:
    found: dict[tuple[str, ...], float] = {}
    on_offer: Counter[str] = Counter()
    held: dict[str, Counter[str]] = {"leased": Counter(), "occupied": Counter()}
    for row in state.leases.values():
        lease = row.lease
        if not leases.occupies(lease):
            continue
        by_state = held["occupied" if lease.state == "ending" else "leased"]
        for device in lease.devices:
            by_state[lease.market_pool] += device.units
            on_offer[lease.market_pool] += device.units if device.node in state.nodes else 0
    for pool in sorted({*closed.pools, *held["leased"], *held["occupied"]}):
        offered = closed.pools[pool].units_total if pool in closed.pools else 0
        found[closed.market, pool, "offered"] = offered
        found[closed.market, pool, "free"] = max(0, offered - on_offer[pool])
        for name, by_pool in held.items():
            found[closed.market, pool, name] = by_pool[pool]
    return found


def _observe(stage: str, market: str, waits_ms: Iterable[int]) -> None:
    waits_s = [max(0, wait_ms) / 1000 for wait_ms in waits_ms]
    if waits_s:
        stages.STAGE_S.labels(stage, market).observe_each(waits_s)


def timed(clear: Callable[[Instance, R], Result]) -> Callable[[Instance, R], Result]:
    """The same clearing, and how long it took."""

    def cleared(instance: Instance, how: R) -> Result:
        began_s = clock.elapsed_s()
        result = clear(instance, how)
        took_s = clock.elapsed_s() - began_s
        metrics.CLEARING_S.labels(instance.market).observe(took_s)
        return result

    return cleared
