"""Devices sold while their holder is leaving: the new lease waits, and stands only afterwards."""

from __future__ import annotations

from typing import Any

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import orders, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import RoundClosed

PENDING_MS = 4000
Market = builders.Feed[MarketState]


def report(kind: type, lease: LeaseChanged) -> Any:
    """A sink's word on that lease."""
    return kind(market="m", lease_id=lease.lease_id, epoch=lease.epoch)


def release(lease: LeaseChanged, seq: int) -> orders.ReleaseRequested:
    """The holder gives a lease back."""
    return orders.ReleaseRequested(
        lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent="a", market="m", source=0,
        seq=seq,
    )  # fmt: skip


def leaving(shape: str = "8", *, mig: bool = False, **rules: Any) -> tuple[Market, LeaseChanged]:
    """A market with one node of eight, and a lease on it that was ending when the window opened."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**({"pending_ms": PENDING_MS, "reserve_micros": 3} | rules)))
    feed.give(builders.node(mig=mig))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    feed.give(builders.order("t/a/k/1/0", 10**6, builders.alternative(shape), seq=1))
    (lease,) = builders.events(feed.close(), LeaseChanged)
    feed.give(report(reports.LeaseBound, lease))
    (ending,) = builders.events(feed.give(release(lease, 2)), LeaseChanged)
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    return feed, ending


def bid(feed: Market, *shapes: str, seq: int = 3) -> list[LeaseChanged]:
    """The leases that a window awards to these shapes."""
    for step, shape in enumerate(shapes):
        way = builders.alternative(shape, 3000)
        feed.give(builders.order(f"t/a/k/{seq + step}/0", 10**6, way, seq=seq + step))
    found: list[LeaseChanged] = builders.events(feed.close(), LeaseChanged)
    return found


def test_a_leaving_device_is_sold_and_stands_after_its_release() -> None:
    """The award waits, becomes awarded with the release, and has its own time to bind from then."""
    feed, ending = leaving()
    (pending,) = bid(feed, "8")
    assert (pending.state, pending.bind_by_ms) == ("pending", 0)
    assert pending.pending_until_ms == feed.now_ms + PENDING_MS
    assert pending.epoch == ending.epoch + 1
    assert feed.give(report(reports.LeaseBound, pending)) == []
    ended, awarded = builders.events(
        feed.give(report(reports.LeaseReleased, ending), 500), LeaseChanged
    )
    assert (ended.lease_id, ended.state) == (ending.lease_id, "ended")
    assert (awarded.lease_id, awarded.state) == (pending.lease_id, "awarded")
    assert awarded.bind_by_ms == feed.now_ms + 5000
    (bound,) = builders.events(feed.give(report(reports.LeaseBound, awarded), 500), LeaseChanged)
    assert (bound.state, bound.ends_at_ms) == ("bound", feed.now_ms + 3000)


def test_who_waits_in_vain_is_voided_and_refunded() -> None:
    """Past its time a pending lease gets everything back, and the devices stay where they are."""
    feed, ending = leaving(release_fee_micros=9)
    (pending,) = bid(feed, "8")
    effects = feed.close(PENDING_MS)
    (settled,) = builders.events(effects, Settled)
    assert (settled.cause, settled.refund_micros) == ("voided", pending.price_micros)
    (told,) = builders.outcomes(effects, "voided")
    assert (told.lease_id, told.reason) == (pending.lease_id, Rejection.PENDING_TIMEOUT)
    (voided,) = builders.events(effects, LeaseChanged)
    changes = builders.events(feed.give(report(reports.LeaseReleased, voided)), LeaseChanged)
    assert [one.state for one in changes] == ["ended"]
    assert ending.lease_id in feed.state.leases


def test_a_device_is_sold_to_one_who_waits() -> None:
    """While a lease is pending its devices are not for sale again."""
    feed, _ = leaving()
    bid(feed, "8")
    assert bid(feed, "8", seq=4) == []
    assert builders.outcomes(feed.out, "lost")[-1].reason == Rejection.NO_CAPACITY


def test_only_devices_that_were_leaving_at_the_opening_are_sold() -> None:
    """A lease that starts to end within a window is not sold at that window's close."""
    feed, lease = leaving("4")
    feed.give(report(reports.LeaseReleased, lease))
    (second,) = bid(feed, "8")
    assert second.state == "awarded"
    feed.give(report(reports.LeaseBound, second))
    feed.give(release(second, 4))
    assert bid(feed, "8", seq=5) == []


def test_a_market_that_sells_only_what_is_free_has_no_pending_lease() -> None:
    """Without pending_ms a leaving device is off sale until its release is confirmed."""
    feed, _ = leaving(pending_ms=0)
    assert bid(feed, "8") == []


def test_winners_wait_only_where_they_must() -> None:
    """Devices that are free go before devices that are being given back."""
    feed, _ = leaving("4")
    first, second = bid(feed, "4", "4")
    assert {first.state, second.state} == {"awarded", "pending"}
    free = first if first.state == "awarded" else second
    assert {one.name for one in free.devices} == {"gpu-4", "gpu-5", "gpu-6", "gpu-7"}


def test_an_early_release_of_a_pending_lease_costs_the_fee() -> None:
    """The holder may leave before it has anything, as from any live lease."""
    feed, _ = leaving(release_fee_micros=9)
    (pending,) = bid(feed, "8")
    (settled,) = builders.events(feed.give(release(pending, 4)), Settled)
    assert (settled.cause, settled.refund_micros) == ("voided", pending.price_micros - 9)


def test_a_lost_node_ends_who_waits_for_it() -> None:
    """The platform's fault gives a pending lease everything back."""
    feed, _ = leaving()
    (pending,) = bid(feed, "8")
    effects = feed.give(reports.NodeLost(market="m", node="n0", reason="power"))
    (settled,) = builders.events(effects, Settled)
    assert (settled.lease_id, settled.refund_micros) == (pending.lease_id, pending.price_micros)


def test_slices_of_a_leaving_device_wait_for_its_holder_alone() -> None:
    """Two slices sold in one window on a leaving device stand together once it is released."""
    feed, ending = leaving("8", mig=True)
    pending = bid(feed, "3g", "3g")
    parents = {one.devices[0].parent for one in pending}
    assert [one.state for one in pending] == ["pending", "pending"]
    changes = builders.events(feed.give(report(reports.LeaseReleased, ending)), LeaseChanged)
    assert [one.state for one in changes] == ["ended", "awarded", "awarded"]
    assert len(parents) == 1


def test_a_pending_lease_does_not_count_as_leased() -> None:
    """A round counts every device once, however many leases have an eye on it."""
    feed, _ = leaving()
    bid(feed, "8")
    (closed,) = builders.events(feed.out[-20:], RoundClosed)[-1:]
    assert (closed.leases_active, closed.units_leased) == (2, 56)
