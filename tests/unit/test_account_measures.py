"""What is measured of the accounts, from records and commits at chosen times."""

from __future__ import annotations

from typing import Any

import builders
from bidplane_streams.lanes import account_measures
from bidplane_topics import bids
from measured_lanes import MeasuredLane, account_lane, metric, there

T0 = 1_795_000_000_000
STAGE = "bidplane_stage_seconds_sum"


def founded(tenant: str, market: str, **changes: Any) -> MeasuredLane:
    """A partition where an agent of ``tenant`` has 1,000 micro-credits."""
    lane = account_lane()
    lane.turn(
        T0, T0, markets=[(T0, builders.market(market, partition=1))],
        agents=[(T0, builders.tenant(tenant)), (T0, builders.agent(tenant=tenant))],
        accounts=[(T0, builders.grant(1000, tenant=tenant, **changes))],
    )  # fmt: skip
    return lane


def bid(tenant: str, market: str, *values: int, sequence: int = 1) -> bids.Envelope:
    """One record with bids of those values."""
    places = (builders.command(builders.place(value, market=market)) for value in values)
    return bids.Envelope(
        v=1, tenant=tenant, agent="a", sequence=sequence, expires_at_ms=T0 * 2,
        commands=tuple(places),
    )  # fmt: skip


def test_a_record_is_admitted_once_and_when_it_is_committed() -> None:
    """From the broker's append time to the commit, once for a record of two bids."""
    lane = founded("adm", "adm-m")
    lane.turn(T0, T0 + 12, bids=[(T0, bid("adm", "adm-m", 10, 20))])
    assert metric("bidplane_stage_seconds_count", stage="admitted", market="adm-m") == 1
    assert metric(STAGE, stage="admitted", market="adm-m") == 0.012


def test_a_refused_bid_is_not_admitted() -> None:
    """A bid of an agent without money has no stage."""
    lane = founded("refd", "refd-m")
    lane.turn(T0, T0 + 5, bids=[(T0, bid("refd", "refd-m", 1000))])
    lane.turn(T0, T0 + 9, bids=[(T0, bid("refd", "refd-m", 1000, sequence=2))])
    assert metric("bidplane_stage_seconds_count", stage="admitted", market="refd-m") == 1


def test_headers_tell_when_a_bid_was_due_and_sent() -> None:
    """Due to sent and sent to appended, in milliseconds; nonsense in a header counts nothing."""
    lane = founded("head", "head-m")
    before = metric(STAGE, stage="sent", market=""), metric(STAGE, stage="acked", market="")
    told = (
        (account_measures.INTENDED, b"%d" % (T0 - 7)),
        (account_measures.SENT, b"%d" % (T0 - 3)),
    )
    lane.turn(T0, T0, bids=[(T0, bid("head", "head-m", 1))], headers=told)
    nonsense = ((account_measures.SENT, b"9" * 400), (account_measures.INTENDED, b"-1"))
    lane.turn(T0, T0, bids=[(T0, bid("head", "head-m", 1, sequence=2))], headers=nonsense)
    hours = ((account_measures.SENT, b"%d" % (T0 - 7_200_000)),)
    lane.turn(T0, T0, bids=[(T0, bid("head", "head-m", 1, sequence=3))], headers=hours)
    after = metric(STAGE, stage="sent", market=""), metric(STAGE, stage="acked", market="")
    assert [round(new - old, 6) for new, old in zip(after, before, strict=True)] == [0.004, 0.003]


def test_money_is_counted_where_it_is() -> None:
    """Granted, held, charged and refunded micro-credits stand under the tenant's name."""
    lane = founded("mon", "mon-m")
    effects = lane.turn(T0, T0, bids=[(T0, bid("mon", "mon-m", 300))])
    assert metric("bidplane_granted_micros_total", tenant="mon") == 1000
    assert metric("bidplane_balance_micros", tenant="mon") == 700
    assert metric("bidplane_held_micros", tenant="mon") == 300
    (bid_id,) = (key[6:].decode() for key in effects.changes if key.startswith(b"order/"))
    fields: dict[str, Any] = {"tenant": "mon", "market": "mon-m", "lease_id": "l", "source": 1}
    won = builders.settled(bid_id, "won", 1, charge=200, **fields)
    ended = builders.settled(bid_id, "ended", 2, refund=50, **fields)
    lane.turn(T0, T0, settlements=[(T0, won), (T0, ended)])
    assert metric("bidplane_charged_micros_total", tenant="mon", market="mon-m") == 200
    assert metric("bidplane_refunded_micros_total", tenant="mon", market="mon-m") == 50
    assert metric("bidplane_balance_micros", tenant="mon") == 850
    assert metric("bidplane_held_micros", tenant="mon") == 0


def test_a_budget_of_the_treasury_is_a_limit() -> None:
    """What a period adds is shown while it adds something, and never where there is no budget."""
    lane = founded("lim", "lim-m")
    lane.turn(T0, T0, accounts=[(T0, builders.budget(70, tenant="lim", agent="a"))])
    assert metric("bidplane_credit_limit_micros", tenant="lim") == 70
    founded("nolim", "nolim-m")
    assert not there("bidplane_credit_limit_micros", tenant="nolim")


def test_a_partition_that_is_given_up_takes_its_gauges() -> None:
    """A tenant's balance is shown by the worker that has its partition, after a restore too."""
    lane = founded("gone", "gone-m")
    assert metric("bidplane_balance_micros", tenant="gone") == 1000
    lane.measures.closed(0)
    assert not there("bidplane_balance_micros", tenant="gone")
    lane.measures.opened(0, lane.state)
    assert metric("bidplane_balance_micros", tenant="gone") == 1000


def test_tenants_beyond_the_named_ones_are_one() -> None:
    """The richest have a name; what the others have is summed up under `other`."""
    lane = account_lane(partition=3)
    count = account_measures.NAMED_MAX + 2
    names = [f"many{number:03}" for number in range(count)]
    agents = [builders.agent("a", number, tenant=name) for number, name in enumerate(names)]
    lane.turn(
        T0, T0,
        agents=[(T0, one) for name, agent in zip(names, agents, strict=True)
                for one in (builders.tenant(name, 3), agent)],
        accounts=[(T0, builders.grant(1000 + number, tenant=name, grant_id=name))
                  for number, name in enumerate(names)],
    )  # fmt: skip
    lane.measures.closed(3)
    again = account_measures.AccountMeasures()
    again.opened(3, lane.state)
    assert metric("bidplane_balance_micros", tenant=names[-1]) == 1000 + count - 1
    assert not there("bidplane_balance_micros", tenant=names[0])
    assert metric("bidplane_balance_micros", tenant="other") >= 2001
    again.closed(3)
