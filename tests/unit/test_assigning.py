"""Nodes that an operator assigns, as one lane sees it: which offers count, and which epochs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import reports, supply
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import NodeAssigned


def opened(**rules: Any) -> builders.Feed[MarketState]:
    """A market with a node of eight on sale; its declaration is record 0 of the markets topic."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**rules))
    feed.give(replace(builders.node(), held=bool(rules.get("standing"))))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    return feed


def assign(feed: builders.Feed[MarketState], market: str) -> int:
    """Assign the node; how offers name that."""
    feed.give(NodeAssigned(node="n0", market=market))
    return feed.next_offset["bidplane.markets.v1"]


def offer(feed: builders.Feed[MarketState], number: int, **more: Any) -> bool:
    """Offer the node under an assignment; whether it is on sale afterwards."""
    feed.give(replace(builders.node(), assignment=number, **more))
    return "n0" in feed.state.nodes


def sold(feed: builders.Feed[MarketState], seq: int) -> list[LeaseChanged]:
    """What a bid for one device comes to in the next window."""
    feed.give(builders.order(f"t/a/k/{seq}/0", 10**6, builders.alternative("1", 3000), seq=seq))
    found: list[LeaseChanged] = builders.events(feed.close(), LeaseChanged)
    return found


def test_a_market_leaves_a_node_that_is_assigned_elsewhere_at_once() -> None:
    """What was on sale when the window opened is not sold any more, whatever its source says."""
    feed = opened()
    number = assign(feed, "other")
    assert not sold(feed, 1)
    for named in (0, number, number + 1):
        assert not offer(feed, named)


def test_only_an_offer_under_the_newest_assignment_counts() -> None:
    """One made before the node went to and fro may hide what another market sold meanwhile."""
    feed = opened()
    first = assign(feed, "m")
    assert "n0" not in feed.state.nodes
    assert not offer(feed, 0)
    assert offer(feed, first)
    assign(feed, "other")
    last = assign(feed, "m")
    assert not offer(feed, first)
    assert offer(feed, last)


def test_an_offer_that_names_an_assignment_nobody_knows_counts_for_nothing() -> None:
    """The record that it names would have been read before the offer was made."""
    feed = opened()
    feed.give(supply.NodeWithdrawn(market="m", node="n0", reason="x"))
    assert not offer(feed, 7)
    assert offer(feed, 0)


def test_leases_begin_above_the_epochs_of_other_markets() -> None:
    """And above the node's own, whichever is higher."""
    feed = opened()
    assert offer(feed, assign(feed, "m"), epoch=40)
    feed.close()
    assert [lease.epoch for lease in sold(feed, 1)] == [41]


def test_assignments_outlive_a_restart() -> None:
    """They are rows of the changelog like all else."""
    feed = opened()
    number = assign(feed, "m")
    feed.restart(feed.state.drain())
    assert not offer(feed, 0)
    assert offer(feed, number)


def test_a_standing_market_sells_only_what_its_claims_hold() -> None:
    """An offer without them takes the node off sale, and so does a market that becomes standing."""
    feed = opened(standing=True)
    assert sold(feed, 1)
    assert not offer(feed, 0)
    assert offer(feed, 0, held=True)
    plain = opened()
    plain.give(builders.market(standing=True))
    assert "n0" not in plain.state.nodes


def test_a_standing_lease_is_bound_and_given_back_by_the_lane() -> None:
    """In the closings that award and end it; its devices are sold again in the next window."""
    feed = opened(standing=True, grace_ms=0)
    awarded, bound = sold(feed, 1)
    assert (awarded.state, bound.state) == ("awarded", "bound")
    assert bound.ends_at_ms == feed.now_ms + 3000
    ending, ended = builders.events(feed.close(3000), LeaseChanged)
    assert (ending.state, ended.state, ended.epoch) == ("ending", "ended", bound.epoch + 1)
    assert not len(feed.state.leases)
    assert [lease.epoch for lease in sold(feed, 2)] == [bound.epoch + 2] * 2


def test_a_grace_is_given_to_standing_leases_too() -> None:
    """Where a market has one: notice at the end, and the end after it."""
    feed = opened(standing=True, grace_ms=2000)
    sold(feed, 1)
    assert [one.state for one in builders.events(feed.close(3000), LeaseChanged)] == ["notice"]
    states = [one.state for one in builders.events(feed.close(2000), LeaseChanged)]
    assert states == ["ending", "ended"]


def test_ordinary_leases_of_a_market_that_becomes_standing_end_as_they_began() -> None:
    """Their claims are their own: a sink must give them back."""
    feed = opened()
    (lease,) = sold(feed, 1)
    feed.give(builders.market(standing=True))
    feed.give(reports.LeaseBound(market="m", lease_id=lease.lease_id, epoch=lease.epoch))
    feed.close(60_000)
    states = [one.state for one in builders.events(feed.close(60_000), LeaseChanged)]
    assert states == ["ending"]
    assert isinstance(feed.state.leases[lease.lease_id].lease, LeaseChanged)


def test_withdrawn_is_withdrawn_whatever_is_assigned() -> None:
    """Taking off sale is always safe."""
    feed = opened()
    assert offer(feed, assign(feed, "m"))
    feed.give(supply.NodeWithdrawn(market="m", node="n0", reason="cordoned"))
    assert "n0" not in feed.state.nodes
