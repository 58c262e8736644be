"""Floors in a market: who comes first, at what price, and when it ends."""

from __future__ import annotations

from typing import Any

import builders
from bidplane_streams.market import floors
from bidplane_streams.market.market import MarketState
from bidplane_topics import reports

Feed = builders.Feed[MarketState]


def opened(gpus: int = 2, **rules: Any) -> Feed:
    """A market whose floor for tenant t is one device, with that many on sale."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**({"entitlements": {"t": 7}} | rules)))
    feed.give(builders.node("n0", gpus))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    return feed


def window(feed: Feed, *orders: tuple[str, int, str], **changes: Any) -> dict[str, int]:
    """Close a window with orders of (tenant, value, shape); the price of each winner."""
    for tenant, value, shape in orders:
        number = feed.next_offset.get("bidplane.orders.v1", 0) + 1
        ways = [builders.alternative(one) for one in shape.split()]
        feed.give(
            builders.order(
                f"{tenant}/{number}", value, *ways, tenant=tenant, seq=number, **changes
            )
        )  # fmt: skip
    won = builders.outcomes(feed.close(), "won")
    return {outcome.bid_id.partition("/")[0]: outcome.price_micros for outcome in won}


def test_the_floor_comes_first_at_the_reserve() -> None:
    """A tenant below its floor wins against a higher bid, and pays the reserve."""
    feed = opened(1, reserve_micros=1)
    assert window(feed, ("t", 100, "1"), ("u", 10**6, "1")) == {"t": 70}


def test_a_floor_ends_where_it_is_reached() -> None:
    """With its lease running the tenant bids like everybody; when it ends, the floor is back."""
    feed = opened(2)
    first = window(feed, ("t", 100, "1"), ("u", 10**6, "2"))
    assert first == {"t": 0}
    (lease,) = [row.lease for row in feed.state.leases.values()]
    about: dict[str, Any] = {"market": "m", "lease_id": lease.lease_id}
    feed.give(reports.LeaseBound(epoch=lease.epoch, **about))
    assert window(feed, ("t", 100, "1"), ("u", 10**6, "1")).keys() == {"u"}
    feed.give(reports.LeaseFailed(epoch=lease.epoch, reason="gone", **about))
    feed.give(reports.LeaseReleased(epoch=lease.epoch + 1, **about))
    feed.close()
    assert window(feed, ("t", 100, "1"), ("u", 10**6, "1")) == {"t": 0}


def test_a_floor_covers_what_fits_and_no_more() -> None:
    """An alternative beyond what is lacking competes by its value, beside one that fits."""
    feed = opened(2)
    assert window(feed, ("t", 100, "2"), ("u", 10**6, "1")) == {"u": 50}
    feed = opened(2)
    assert window(feed, ("t", 100, "2 1"), ("u", 10**6, "2")) == {"t": 0}


def test_the_first_order_takes_the_floor() -> None:
    """Of a tenant's orders the older one is covered, and what it could take is gone for others."""
    feed = opened(1)
    assert window(feed, ("t", 100, "1"), ("t", 900, "1"), ("u", 500, "1")) == {"t": 0}
    (won,) = builders.outcomes(feed.out, "won")
    assert won.bid_id == "t/1"


def test_an_elastic_order_is_not_covered() -> None:
    """Levels compete by their value, whatever the floor."""
    feed = opened(1)
    changes: dict[str, Any] = {"mode": "elastic", "level_min": 1, "level_max": 2}
    assert window(feed, ("t", 100, "1"), ("u", 500, "1"), **changes) == {"u": 100}


def test_contested_floors_go_to_the_highest_bid() -> None:
    """Where floors exceed the market, the densest bid of the first tier wins at the usual price."""
    feed = opened(1, entitlements={"t": 7, "u": 7})
    (won,) = window(feed, ("t", 100, "1"), ("u", 500, "1"), ("v", 10**6, "1")).items()
    assert won in (("u", 100), ("u", 101))  # as the tie between t and u falls


def test_a_new_floor_counts_from_the_next_window() -> None:
    """Rules are those of the previous close, floors among them."""
    feed = opened(2, entitlements={})
    feed.give(builders.market(entitlements={"t": 7}))
    assert window(feed, ("t", 100, "2"), ("u", 500, "2")) == {"u": 100}
    market = feed.state.only()
    assert market is not None
    assert market.leased == {"t": 0}


def test_what_is_leased_counts_until_it_ends() -> None:
    """Units of the market's own devices count, slices by their size, ending leases not at all."""
    rules = builders.market(entitlements={"t": 7, "u": 7})
    whole = builders.lease()
    slices = builders.lease(devices=(_slice("2g"), _slice("3g")))
    other = builders.lease(tenant="v")
    assert floors.leased(rules, [whole, slices, other]) == {"t": 12, "u": 0}
    assert floors.leased(rules, [builders.lease(state="ending")]) == {"t": 0, "u": 0}
    cards = builders.market(entitlements={"t": 7}, device_class="nic")
    assert floors.leased(cards, [whole]) == {"t": 0}


def _slice(profile: str) -> Any:
    (whole,) = builders.lease().devices
    return type(whole)(
        node="n0", name=profile, driver="gpu.nvidia.com", pool="n0", uuid=profile,
        device_class="gpu.nvidia.com", profile=profile, parent="gpu-1",
    )  # fmt: skip
