"""What is measured of a market, from records, closings and commits at chosen times."""

from __future__ import annotations

from typing import Any

import prometheus_client
import pytest

import builders
from bidplane_streams import clock
from bidplane_topics import orders, registry, reports
from bidplane_topics.leases import LeaseChanged
from measured_lanes import MeasuredLane, market_lane, metric, there, written

T0 = 1_795_000_000_000
COUNT, SUM = "bidplane_stage_seconds_count", "bidplane_stage_seconds_sum"


class Walk:
    """A market on sale, and one lease that a test takes through its life."""

    def __init__(self, name: str) -> None:
        """Eight devices are on sale after the first window, which closed at T0."""
        self.name = name
        self.lane: MeasuredLane = market_lane()
        self.turn(
            0, markets=[(T0, builders.market(name))], supply=[(T0, builders.node(market=name))],
            reports=[self.alive(0)],
        )  # fmt: skip

    def alive(self, at_ms: int) -> tuple[int, reports.SinkAlive]:
        """The sink's word that it works, appended then."""
        return T0 + at_ms, reports.SinkAlive(market=self.name, sink="s")

    def turn(self, at_ms: int, took_ms: int = 40, **given: Any) -> list[LeaseChanged]:
        """Close a window ``at_ms`` after T0; the leases that changed."""
        late = given.pop("late", 0)
        closed = T0 + at_ms
        effects = self.lane.turn(closed, closed + took_ms, closed - late, **given)
        return written(effects, registry.LEASES)

    def win(self) -> LeaseChanged:
        """An order for two devices, appended 300 ms before the close that awards it."""
        way = builders.alternative("2", 10_000)
        order = builders.order("b", 10**6, way, seq=1, market=self.name)
        (lease,) = self.turn(1000, orders=[(T0 + 700, order)])
        return lease

    def report(self, lease: LeaseChanged, kind: Any, at_ms: int) -> list[LeaseChanged]:
        """The sink's word, 200 ms before the close at ``at_ms``."""
        said = kind(market=self.name, lease_id=lease.lease_id, epoch=lease.epoch)
        return self.turn(at_ms, reports=[(T0 + at_ms - 200, said)])

    def stage(self, stage: str) -> tuple[float, float]:
        """How often a stage was seen, and for how long in all."""
        labels = {"stage": stage, "market": self.name}
        return metric(COUNT, **labels), round(metric(SUM, **labels), 6)

    def units(self) -> dict[str, float]:
        """The units of the only pool, by state."""
        states = ("offered", "free", "leased", "occupied")
        return {one: metric("bidplane_units", market=self.name, pool=self.pool(), state=one)
                for one in states}  # fmt: skip

    def pool(self) -> str:
        """The only pool."""
        return str(next(iter(self.lane.state.only().prices)))


def test_a_lease_s_life_is_seen_stage_by_stage() -> None:
    """Closed, awarded, notice and on sale, each between its two moments and once."""
    walk = Walk("life")
    lease = walk.win()
    assert (walk.stage("closed"), walk.stage("awarded")) == ((1, 0.3), (1, 0.04))
    assert walk.units() == {"offered": 56, "free": 42, "leased": 14, "occupied": 0}
    walk.report(lease, reports.LeaseBound, 2000)
    (told,) = walk.turn(12_000)
    assert (told.state, walk.stage("notice")) == ("notice", (1, 0.24))
    (ending,) = walk.turn(14_000)
    assert walk.units() == {"offered": 56, "free": 42, "leased": 0, "occupied": 14}
    assert metric("bidplane_lease_endings_total", market="life", reason="expired") == 1
    walk.report(ending, reports.LeaseReleased, 15_000)
    assert walk.stage("on_sale") == (1, 0.24)
    assert walk.stage("notice") == (1, 0.24)
    assert walk.units() == {"offered": 56, "free": 56, "leased": 0, "occupied": 0}


def test_an_ending_that_was_asked_for_is_due_when_it_was_asked() -> None:
    """From the append time of the holder's request to the commit of the round that takes it."""
    walk = Walk("asked")
    lease = walk.win()
    walk.report(lease, reports.LeaseBound, 2000)
    request = orders.ReleaseRequested(
        lease_id=lease.lease_id, bid_id="b", tenant="t", agent="a", market="asked", source=0, seq=2
    )
    walk.turn(3000, orders=[(T0 + 2500, request)])
    assert walk.stage("notice") == (1, 0.54)
    assert metric("bidplane_lease_endings_total", market="asked", reason="released") == 1


def test_a_lease_that_nobody_binds_is_due_at_its_deadline() -> None:
    """The deadline passed at 6 s and the round that says so is committed 40 ms after 6.5 s."""
    walk = Walk("unbound")
    walk.win()
    walk.turn(6500)
    assert walk.stage("notice") == (1, 0.54)


def test_rounds_count_orders_awards_and_money() -> None:
    """Each round adds what it published; gauges show how the market stands after it."""
    walk = Walk("sums")
    lease = walk.win()
    assert metric("bidplane_rounds_total", market="sums") == 2
    assert metric("bidplane_round_orders_total", market="sums") == 1
    assert metric("bidplane_round_awarded_total", market="sums") == 1
    assert metric("bidplane_revenue_micros_total", market="sums") == lease.price_micros
    assert metric("bidplane_clearing_seconds_count", market="sums") == 2
    assert metric("bidplane_window_seconds", market="sums") == 1
    assert metric("bidplane_leases", market="sums", state="awarded") == 1
    assert there("bidplane_price_micros", market="sums", pool=walk.pool())
    assert metric("bidplane_scarcity_permille", market="sums", pool=walk.pool()) == 1000


def test_a_window_is_late_against_its_end_by_the_clock() -> None:
    """Due at a boundary and closed 25 ms after it."""
    walk = Walk("late")
    walk.turn(1025, late=25, reports=[walk.alive(900)])
    assert metric("bidplane_round_lateness_seconds_sum", market="late") == 0.025


def test_a_window_that_a_long_round_ran_over_is_late_if_something_waited() -> None:
    """After a round of 2.5 s the next window is late by what an order waited beyond its end."""
    walk = Walk("busy")
    walk.turn(1000, took_ms=2500, reports=[walk.alive(900)])
    order = builders.order("b", 10**6, builders.alternative("2"), seq=1, market="busy")
    walk.turn(4000, orders=[(T0 + 1200, order)])
    assert metric("bidplane_round_lateness_seconds_sum", market="busy") == 2.0
    idle = Walk("idle")
    idle.turn(1000, took_ms=2500, reports=[idle.alive(900)])
    idle.turn(4000, reports=[idle.alive(3600)])
    assert metric("bidplane_round_lateness_seconds_sum", market="idle") == 0.0


def test_a_silent_sink_shows_without_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gauge is judged when somebody looks, since an idle market closes no round."""
    Walk("silent")
    monkeypatch.setattr(clock, "now_ms", lambda: T0 + 16_000)
    assert metric("bidplane_sink_stale", market="silent") == 0
    monkeypatch.setattr(clock, "now_ms", lambda: T0 + 16_001)
    assert metric("bidplane_sink_stale", market="silent") == 1


def test_a_live_sink_of_a_long_window_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says in a window is read at the window's end, so a window of an hour adds an hour."""
    lane = market_lane()
    long = builders.market("hourly", window_ms=3_600_000)
    alive = reports.SinkAlive(market="hourly", sink="s")
    lane.turn(T0, T0, T0, markets=[(T0, long)], reports=[(T0, alive)])
    monkeypatch.setattr(clock, "now_ms", lambda: T0 + 3_600_000)
    assert metric("bidplane_sink_stale", market="hourly") == 0
    monkeypatch.setattr(clock, "now_ms", lambda: T0 + 3_615_001)
    assert metric("bidplane_sink_stale", market="hourly") == 1


def test_a_market_without_a_slice_shows_its_rounds_but_no_units() -> None:
    """Its leases are there and its units are not, which is what BidplaneNothingOffered asks for."""
    lane = market_lane()
    alive = reports.SinkAlive(market="bare", sink="s")
    lane.turn(T0, T0, T0, markets=[(T0, builders.market("bare"))], reports=[(T0, alive)])
    text = prometheus_client.generate_latest().decode()
    assert 'bidplane_leases{market="bare",state="bound"} 0.0' in text
    assert 'bidplane_units{market="bare"' not in text


def test_orders_and_the_last_close_show_before_the_first_round() -> None:
    """A worker that opens a partition tells how many orders rest and since when no round closed."""
    walk = Walk("resumed")
    dear = builders.order("b", 1, builders.alternative("2", 10_000), seq=1, market="resumed")
    walk.turn(1000, orders=[(T0 + 700, dear)])
    resting = len(walk.lane.state.book)
    walk.lane.measures.closed(0)
    assert not there("bidplane_round_closed_timestamp_seconds", market="resumed")
    walk.lane.measures.opened(0, walk.lane.state)
    closed_s = metric("bidplane_round_closed_timestamp_seconds", market="resumed")
    assert closed_s == (T0 + 1000) / 1000
    assert there("bidplane_orders_resting", market="resumed")
    assert metric("bidplane_orders_resting", market="resumed") == resting


def test_a_market_that_is_given_up_takes_its_gauges() -> None:
    """Nothing of a partition's market is shown once another worker has it."""
    walk = Walk("left")
    walk.lane.measures.closed(0)
    assert not there("bidplane_window_seconds", market="left")
    assert not there("bidplane_sink_stale", market="left")
    walk.lane.measures.opened(0, walk.lane.state)
    assert metric("bidplane_window_seconds", market="left") == 1
