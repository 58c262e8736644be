"""A device that slices use in part: what is left of it is sold, slot by slot."""

from __future__ import annotations

from typing import Any

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import orders, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import RoundClosed

Market = builders.Feed[MarketState]


class Shop:
    """A market with MIG devices on one node, and a bidder who numbers its orders."""

    def __init__(self, gpus: int = 1, **rules: Any) -> None:
        self.feed: Market = builders.Feed(MarketState(0))
        self.seq = 0
        self.feed.give(builders.market(**rules))
        self.feed.give(builders.node(gpus=gpus, mig=True))
        self.feed.give(reports.SinkAlive(market="m", sink="s"))
        self.feed.close()

    def bid(self, *shapes: str) -> dict[str, LeaseChanged]:
        """One window with a bid for each shape: the bound leases by shape."""
        for shape in shapes:
            self.seq += 1
            way = builders.alternative(shape, 60_000)
            self.feed.give(builders.order(f"t/a/k/{self.seq}/0", 10**6, way, seq=self.seq))
        won = builders.events(self.feed.close(), LeaseChanged)
        for lease in won:
            self.report(reports.LeaseBound, lease)
        return {lease.shape: lease for lease in won}

    def report(self, kind: type, lease: LeaseChanged) -> list[LeaseChanged]:
        """A sink's word on a lease, and what it changes."""
        said = kind(market="m", lease_id=lease.lease_id, epoch=lease.epoch)
        return builders.events(self.feed.give(said), LeaseChanged)

    def release(self, lease: LeaseChanged) -> LeaseChanged:
        """The holder gives a lease back; it is ending now."""
        self.seq += 1
        wish = orders.ReleaseRequested(
            lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent="a", market="m",
            source=0, seq=self.seq,
        )  # fmt: skip
        ending: LeaseChanged
        (ending,) = builders.events(self.feed.give(wish), LeaseChanged)
        return ending

    def lost(self) -> Rejection | None:
        """Why the newest loser lost."""
        told = builders.events(self.feed.out, OutcomeReported)
        reasons: list[Rejection | None] = [one.reason for one in told if one.kind == "lost"]
        return reasons[-1]

    def last(self, kind: type) -> Any:
        """The newest event of that kind."""
        return builders.events(self.feed.out, kind)[-1]


def names(leases: dict[str, LeaseChanged]) -> dict[str, list[str]]:
    """The devices of each lease."""
    return {shape: [one.name for one in lease.devices] for shape, lease in leases.items()}


def test_the_rest_of_a_device_is_sold_in_a_later_window() -> None:
    """Beside a running slice the other half is sold, never the slots that are taken."""
    shop = Shop()
    assert names(shop.bid("3g")) == {"3g": ["gpu-0-3g-4"]}
    assert names(shop.bid("4g")) == {"4g": ["gpu-0-4g-0"]}
    assert shop.bid("1g") == {}
    assert shop.lost() is Rejection.NO_CAPACITY


def test_a_partly_used_device_is_not_sold_whole() -> None:
    """Whoever wants a whole device gets a free one, or is told that there is none."""
    shop = Shop(gpus=2)
    shop.bid("1g")
    assert names(shop.bid("1")) == {"1": ["gpu-0"]}
    assert shop.bid("1") == {}
    assert shop.lost() is Rejection.NO_CAPACITY


def test_slices_fill_used_devices_before_free_ones() -> None:
    """What fits beside running slices breaks no free device."""
    shop = Shop(gpus=2)
    shop.bid("2g")
    shop.bid("1g", "4g")
    assert names(shop.bid("1")) == {"1": ["gpu-0"]}


def test_a_round_offers_the_free_sevenths() -> None:
    """Units on offer count the free slots of partly used devices."""
    shop = Shop(gpus=2)
    shop.bid("2g")
    shop.bid("1")
    (pool,) = shop.last(RoundClosed).pools.values()
    assert pool.units_offered == 7 + 5


def test_slots_come_back_with_their_release_and_a_higher_epoch() -> None:
    """A slot is on sale in the window after its release, above all epochs of its device."""
    shop = Shop()
    left = shop.bid("3g")["3g"]
    right = shop.bid("4g")["4g"]
    ending = shop.release(left)
    assert shop.bid("3g") == {}
    shop.report(reports.LeaseReleased, ending)
    assert shop.bid("3g") == {}
    again = shop.bid("3g")["3g"]
    assert again.devices == left.devices
    assert again.epoch > max(ending.epoch, right.epoch)


def test_a_slice_waits_only_for_who_is_on_its_slots() -> None:
    """Where leaving devices are sold, a slice beside a leaving one stands at once."""
    shop = Shop(pending_ms=4000)
    shop.bid("4g")
    ending = shop.release(shop.bid("2g")["2g"])
    shop.feed.close()
    free = shop.bid("1g")["1g"]
    assert (free.state, [one.name for one in free.devices]) == ("awarded", ["gpu-0-1g-6"])
    waits = shop.bid("2g")["2g"]
    assert waits.state == "pending"
    (_, stands) = shop.report(reports.LeaseReleased, ending)
    assert (stands.lease_id, stands.state) == (waits.lease_id, "awarded")


def test_a_bought_slice_keeps_its_slots() -> None:
    """After a sale between agents the buyer has the seller's slots, and no more."""
    shop = Shop()
    sold = shop.bid("3g")["3g"]
    shop.seq += 2
    whose: dict[str, Any] = {"tenant": "t", "market": "m", "source": 0, "price_micros": 5}
    offer: dict[str, Any] = {"offer_id": "o", "lease_id": sold.lease_id, **whose}
    shop.feed.give(
        orders.OfferMade(
            agent="a", to="t/b", bid_id=sold.bid_id, command_id="c", seq=shop.seq - 1, **offer
        )
    )
    shop.feed.give(orders.OfferAccepted(agent="b", bid_id="t/b/k/1/0", seq=shop.seq, **offer))
    ending = shop.last(LeaseChanged)
    assert ending.bought_from == sold.lease_id
    assert names(shop.bid("4g")) == {"4g": ["gpu-0-4g-0"]}
    assert shop.bid("1g") == {}
