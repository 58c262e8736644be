"""A market between two closings: which records it believes, and what they change."""

from __future__ import annotations

from typing import Any

import pytest

import builders
from bidplane_streams.market.effects import SequenceGap
from bidplane_streams.market.market import MarketState
from bidplane_topics import markets, orders, reports, supply
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.rejections import Rejection


def opened(**rules: Any) -> builders.Feed[MarketState]:
    """A market with a node of eight on sale."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**rules))
    feed.give(builders.node())
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    return feed


def awarded(shape: str = "2", **rules: Any) -> tuple[builders.Feed[MarketState], LeaseChanged]:
    """A market and a lease just won."""
    feed = opened(**rules)
    feed.give(builders.order("t/a/k/1/0", 10**6, builders.alternative(shape, 3000), seq=1))
    (lease,) = builders.events(feed.close(), LeaseChanged)
    return feed, lease


def report(kind: type, lease: LeaseChanged, epoch: int | None = None) -> Any:
    """A sink's word on that lease."""
    more = {"reason": "x"} if kind is reports.LeaseFailed else {}
    epoch = lease.epoch if epoch is None else epoch
    return kind(market="m", lease_id=lease.lease_id, epoch=epoch, **more)


def cancel(bid_id: str, seq: int) -> orders.CancelRequested:
    """The bidder asks to take an order out."""
    return orders.CancelRequested(
        bid_id=bid_id, tenant="t", agent="a", market="m", source=0, seq=seq
    )


def release(lease: LeaseChanged, seq: int) -> orders.ReleaseRequested:
    """The holder gives a lease back."""
    return orders.ReleaseRequested(
        lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent="a", market="m", source=0,
        seq=seq,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (builders.market("other"), Rejection.CONFLICT),
        (builders.node(market="other"), Rejection.MISROUTED),
        (supply.NodeWithdrawn(market="other", node="n0", reason=""), Rejection.MISROUTED),
        (reports.SinkAlive(market="other", sink="s"), Rejection.MISROUTED),
        (reports.NodeLost(market="other", node="n0", reason=""), Rejection.MISROUTED),
        (reports.LeaseReleased(market="other", lease_id="l", epoch=1), Rejection.MISROUTED),
    ],
)
def test_a_record_of_another_market_is_a_dead_letter(event: Any, reason: Rejection) -> None:
    """A partition has one market, and records of another change nothing."""
    feed = opened()
    before = builders.dump(feed.state)
    assert [one.reason for one in builders.dead(feed.give(event))] == [reason]
    assert builders.dump(feed.state) == before


def test_markets_of_other_partitions_are_none_of_ours() -> None:
    """Every member reads every market, so another partition's is passed over in silence."""
    feed = opened()
    assert feed.give(builders.market("other", partition=1)) == []
    assert feed.give(markets.MarketRemoved(market="other")) == []
    assert feed.state.only() is not None


def test_an_order_of_a_market_that_is_gone_gets_its_money_back() -> None:
    """An order without a market, of another market or after the removal is refused and settled."""
    feed = builders.Feed(MarketState(0))
    found = [feed.give(builders.order("b1", seq=1))]
    feed.give(builders.market())
    found.append(feed.give(builders.order("b2", seq=2, market="other")))
    feed.give(markets.MarketRemoved(market="m"))
    found.append(feed.give(builders.order("b3", seq=3)))
    for effects in found:
        (settled,) = builders.events(effects, Settled)
        (told,) = builders.outcomes(effects)
        assert (settled.cause, settled.charge_micros) == ("refused", 0)
        assert (told.kind, told.reason) == ("refused", Rejection.MARKET_REMOVED)


@pytest.mark.parametrize("seq", [0, 1, 3])
def test_a_gap_between_the_lanes_stops_the_process(seq: int) -> None:
    """An order that is not the next of its source is refused by an assertion."""
    feed = opened()
    feed.give(builders.order("b1", seq=1))
    with pytest.raises(SequenceGap):
        feed.give(builders.order("b2", seq=seq))


def test_a_cancel_takes_an_order_out_once() -> None:
    """The first cancel settles the order, the second finds nothing."""
    feed = opened()
    feed.give(builders.order("b1", seq=1))
    assert [one.cause for one in builders.events(feed.give(cancel("b1", 2)), Settled)] == [
        "cancelled"
    ]
    effects = feed.give(cancel("b1", 3))
    assert builders.events(effects, Settled) == []
    assert [(one.kind, one.reason) for one in builders.outcomes(effects)] == [
        ("declined", Rejection.UNKNOWN_BID)
    ]


def test_the_clock_starts_when_the_claims_stand() -> None:
    """A bound report starts the lease at its append time, and a repeated one changes nothing."""
    feed, lease = awarded()
    (bound,) = builders.events(feed.give(report(reports.LeaseBound, lease), 400), LeaseChanged)
    assert bound.ends_at_ms == feed.now_ms + 3000
    assert feed.give(report(reports.LeaseBound, lease), 400) == []


@pytest.mark.parametrize("kind", [reports.LeaseBound, reports.LeaseFailed, reports.LeaseReleased])
@pytest.mark.parametrize("skew", [-1, 1])
def test_a_report_of_another_epoch_changes_nothing(kind: type, skew: int) -> None:
    """The market believes a report of the lease's own epoch alone."""
    feed, lease = awarded()
    assert feed.give(report(kind, lease, lease.epoch + skew)) == []


def test_a_lease_that_cannot_bind_is_voided_and_refunded() -> None:
    """A failed report ends the lease at once with all its money back."""
    feed, lease = awarded(reserve_micros=3)
    assert lease.price_micros == 3 * 14 * 3
    effects = feed.give(report(reports.LeaseFailed, lease))
    (settled,) = builders.events(effects, Settled)
    assert (settled.cause, settled.refund_micros) == ("voided", lease.price_micros)
    assert [one.reason for one in builders.outcomes(effects, "voided")] == [Rejection.BIND_FAILED]


def test_a_holder_may_leave_early_once() -> None:
    """A release refunds unused slots less the fee, and a second one comes too late."""
    feed, lease = awarded(reserve_micros=3, release_fee_micros=10)
    feed.give(report(reports.LeaseBound, lease))
    (settled,) = builders.events(feed.give(release(lease, 2), 900), Settled)
    assert (settled.cause, settled.refund_micros) == ("ended", lease.price_micros * 2 // 3 - 10)
    effects = feed.give(release(lease, 3))
    assert [one.reason for one in builders.outcomes(effects)] == [Rejection.LEASE_ENDED]
    assert builders.events(effects, Settled) == []


def test_devices_are_held_until_the_release_is_confirmed() -> None:
    """An ending lease keeps its devices, and the next lease of them has a higher epoch."""
    feed, lease = awarded("8")
    (ending,) = builders.events(feed.give(release(lease, 2)), LeaseChanged)
    assert (ending.state, ending.epoch) == ("ending", lease.epoch + 1)
    feed.give(builders.order("t/a/k/2/0", 10**6, builders.alternative("8"), seq=3))
    assert builders.outcomes(feed.close(), "lost")[0].reason == Rejection.NO_CAPACITY
    feed.give(report(reports.LeaseReleased, ending))
    feed.close()
    feed.give(builders.order("t/a/k/3/0", 10**6, builders.alternative("8"), seq=4))
    (again,) = builders.events(feed.close(), LeaseChanged)
    assert again.epoch == ending.epoch + 1


def test_a_lost_node_ends_its_leases_and_leaves_supply() -> None:
    """What ran there is refunded, and nothing is sold there until it is offered and free again."""
    feed, lease = awarded()
    feed.give(report(reports.LeaseBound, lease))
    effects = feed.give(reports.NodeLost(market="m", node="n0", reason="power"))
    (ending,) = builders.events(effects, LeaseChanged)
    assert (ending.state, ending.cause) == ("ending", "node_lost")
    assert builders.events(effects, Settled)[0].refund_micros == lease.price_micros
    feed.give(builders.node())
    feed.close()
    feed.give(builders.order("t/a/k/2/0", 10**6, builders.alternative("8"), seq=2))
    assert builders.outcomes(feed.close(), "lost")[0].reason == Rejection.NO_CAPACITY


def test_a_withdrawn_node_keeps_its_leases() -> None:
    """Nothing more is sold there, and what runs goes on."""
    feed, lease = awarded()
    assert feed.give(supply.NodeWithdrawn(market="m", node="n0", reason="cordoned")) == []
    feed.give(builders.order("t/a/k/2/0", 10**6, seq=2))
    told = builders.outcomes(feed.close(), "refused")
    assert [one.reason for one in told] == [Rejection.NO_MATCHING_POOL]
    assert lease.lease_id in feed.state.leases
