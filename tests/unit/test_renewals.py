"""Another term for a lease: when it is decided, who competes, what it costs and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

import builders
from bidplane_streams.market import invariants
from bidplane_streams.market.effects import Effect
from bidplane_streams.market.market import MarketState
from bidplane_topics import ids, orders, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection

TERM_MS = 4000
Market = builders.Feed[MarketState]


class Scene:
    """A market with one node of eight whose devices are sold while they are in use."""

    def __init__(self, **rules: Any) -> None:
        """Nothing is leased yet."""
        self.feed: Market = builders.Feed(MarketState(0))
        self.feed.give(builders.market(**({"pending_ms": 4000, "reserve_micros": 3} | rules)))
        self.feed.give(builders.node())
        self.seq = 0
        self.close()

    def close(self, after_ms: int = 1000) -> list[Effect]:
        """A window closes, with a sink that works."""
        self.feed.give(reports.SinkAlive(market="m", sink="s"))
        effects = self.feed.close(after_ms)
        invariants.audit_market(self.feed.state)
        return effects

    def order(self, value: int, shape: str = "8", duration_ms: int = TERM_MS, **more: Any) -> str:
        """An order of t/a; its bid id."""
        self.seq += 1
        bid_id = f"t/{more.get('agent', 'a')}/k/{self.seq}/0"
        way = builders.alternative(shape, duration_ms)
        self.feed.give(builders.order(bid_id, value, way, seq=self.seq, **more))
        return bid_id

    def leased(self, shape: str = "8", value: int = 10**6, **more: Any) -> LeaseChanged:
        """A lease that was won and is bound."""
        bid_id = self.order(value, shape, **more)
        self.close()
        lease = self.lease(ids.lease_id("m", bid_id))
        self.report(reports.LeaseBound, lease, 300)
        return self.lease(lease.lease_id)

    def lease(self, lease_id: str) -> LeaseChanged:
        """A lease as it is now."""
        return self.feed.state.leases[lease_id].lease

    def report(self, kind: type, lease: LeaseChanged, after_ms: int = 0) -> list[Effect]:
        """The sink's word on a lease."""
        event = kind(market="m", lease_id=lease.lease_id, epoch=lease.epoch)
        return self.feed.give(event, after_ms)

    def release(self, lease: LeaseChanged) -> list[Effect]:
        """The holder gives a lease back."""
        self.seq += 1
        return self.feed.give(
            orders.ReleaseRequested(
                lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent=lease.agent,
                market="m", source=0, seq=self.seq,
            )
        )  # fmt: skip

    def deal(self, kind: type, lease: LeaseChanged, **more: Any) -> list[Effect]:
        """An offer of the lease to t/c for 70, or its acceptance."""
        self.seq += 1
        fields = {"tenant": "t", "agent": "a", "market": "m", "source": 0, "seq": self.seq}
        return self.feed.give(
            kind(offer_id="o", lease_id=lease.lease_id, price_micros=70, **(fields | more))
        )

    def told(self, bid_id: str) -> list[OutcomeReported]:
        """What was told of a bid."""
        return [one for one in builders.outcomes(self.feed.out) if one.bid_id == bid_id]


def test_a_renewal_keeps_the_lease_and_adds_a_term() -> None:
    """Same id, epoch and devices; the new term begins where the old one ends, and is paid for."""
    scene = Scene()
    lease = scene.leased()
    bid_id = scene.order(5000, renews=lease.lease_id, duration_ms=6000)
    for _ in range(2):
        assert not builders.events(scene.close(), LeaseChanged), "too early"
        assert scene.told(bid_id) == []
    effects = scene.close()
    (after,) = builders.events(effects, LeaseChanged)
    assert (after.lease_id, after.epoch, after.devices) == (
        lease.lease_id, lease.epoch, lease.devices
    )  # fmt: skip
    assert (after.state, after.term, after.renewed_by) == ("bound", 1, bid_id)
    assert after.ends_at_ms == lease.ends_at_ms + 6000
    assert after.price_micros == 3 * 56 * 6
    (paid,) = builders.events(effects, Settled)
    assert (paid.bid_id, paid.cause, paid.lease_id) == (bid_id, "won", lease.lease_id)
    (told,) = scene.told(bid_id)
    assert (told.kind, told.ends_at_ms, told.lease_id) == ("won", after.ends_at_ms, lease.lease_id)


def test_a_lease_can_be_renewed_again_and_again() -> None:
    """Every term ends with the next closing's word, and the claims never change hands."""
    scene = Scene()
    lease = scene.leased()
    for term in range(1, 4):
        scene.order(5000, renews=lease.lease_id)
        while scene.lease(lease.lease_id).term < term:
            scene.close()
    assert scene.lease(lease.lease_id).ends_at_ms == lease.ends_at_ms + 3 * TERM_MS
    assert scene.lease(lease.lease_id).epoch == lease.epoch


def test_who_bids_more_waits_for_the_incumbent() -> None:
    """The renewal loses with the price it met; the winner stands once the incumbent has left."""
    scene = Scene(grace_ms=500)
    lease = scene.leased()
    renewal = scene.order(5000, renews=lease.lease_id)
    scene.close()
    scene.close()
    rival = scene.order(50_000, agent="b")
    effects = scene.close()
    (won,) = builders.events(effects, LeaseChanged)
    assert (won.state, won.bid_id, won.devices) == ("pending", rival, lease.devices)
    assert won.pending_until_ms == lease.ends_at_ms + 500 + 4000
    assert won.epoch == lease.epoch + 2
    (lost,) = scene.told(renewal)
    assert (lost.kind, lost.reason) == ("lost", Rejection.OUTBID)
    assert lost.evidence["price_micros_per_unit_slot"] == won.price_micros // (56 * 4)
    (noticed,) = builders.events(scene.close(), LeaseChanged)
    assert (noticed.lease_id, noticed.state) == (lease.lease_id, "notice")
    (ending,) = builders.events(scene.close(), LeaseChanged)
    assert (ending.state, ending.epoch) == ("ending", lease.epoch + 1)
    _, stands = builders.events(scene.report(reports.LeaseReleased, ending), LeaseChanged)
    assert (stands.lease_id, stands.state) == (won.lease_id, "awarded")


def test_the_winner_is_refunded_when_the_incumbent_never_leaves() -> None:
    """Past its patience the pending winner is voided and gets everything back."""
    scene = Scene(grace_ms=500)
    lease = scene.leased()
    scene.order(5000, renews=lease.lease_id)
    scene.close()
    scene.close()
    rival = scene.order(50_000, agent="b")
    (won,) = builders.events(scene.close(), LeaseChanged)
    settled: list[Settled] = []
    for _ in range(8):
        settled += builders.events(scene.close(), Settled)
    (voided,) = [one for one in settled if one.bid_id == rival]
    assert (voided.cause, voided.refund_micros) == ("voided", won.price_micros)


def test_time_measured_from_award_to_bound_keeps_an_incumbent() -> None:
    """What binding took, at the pool's last price, lets a holder outbid a slightly dearer one."""
    scene = Scene(slot_ms=100)
    first = scene.leased(value=10**7)  # alone, at the reserve of 3; bound 300 ms after the award
    scene.order(7000, renews=first.lease_id)
    scene.close()
    scene.close()
    stranger = scene.order(7400, agent="b")
    (renewed,) = builders.events(scene.close(), LeaseChanged)
    assert renewed.lease_id == first.lease_id
    boost = 3 * 56 * 3  # three slots of eight devices
    assert renewed.price_micros in (7400 - boost, 7401 - boost)
    assert [one.kind for one in scene.told(stranger)] == ["lost"]


def test_a_trifle_bought_dear_speaks_for_no_other_lease() -> None:
    """Whatever its pool last sold for, a lease that cost nothing has no switching cost."""
    scene = Scene(slot_ms=100, reserve_micros=0)
    cheap = scene.leased("4")
    scene.order(700, "4", renews=cheap.lease_id)
    scene.order(4_000_000, "4", agent="b", duration_ms=60_000)
    dear = scene.leased("4", 5_000_000, agent="b", duration_ms=60_000)
    assert (cheap.price_micros, dear.price_micros > 3_990_000) == (0, True)
    scene.close()
    stranger = scene.order(701, "4", agent="c")
    (won,) = builders.events(scene.close(), LeaseChanged)
    assert (won.bid_id, won.state) == (stranger, "pending")


def test_a_switching_cost_is_frozen_when_the_window_opens() -> None:
    """What a window's own reports say of binding times counts from the next window on."""
    scene = Scene(slot_ms=100)
    lease = scene.leased("4", value=10**7)
    market = scene.feed.state.only()
    assert market is not None
    assert (market.binding_ms, market.switching_ms) == (300, 0)
    scene.close()
    market = scene.feed.state.only()
    assert market is not None
    assert (market.binding_ms, market.switching_ms) == (300, 300)
    scene.leased("4", value=10**7)
    market = scene.feed.state.only()
    assert market is not None
    assert lease.state == "bound"
    assert market.binding_ms == 300


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"renews": "lnone"}, Rejection.UNKNOWN_LEASE),
        ({"agent": "b"}, Rejection.UNKNOWN_LEASE),
        ({"shape": "4"}, Rejection.NOT_RENEWABLE),
        ({"shape": "1g"}, Rejection.NOT_RENEWABLE),
    ],
)
def test_what_cannot_be_renewed_is_refused_at_once(what: Any, reason: Rejection) -> None:
    """Another's lease, none at all, and other shapes than the lease's get their reason."""
    scene = Scene()
    lease = scene.leased()
    bid_id = scene.order(5000, **({"renews": lease.lease_id} | what))
    (told,) = scene.told(bid_id)
    assert (told.kind, told.reason) == ("refused", reason)


def test_a_gang_is_not_renewed() -> None:
    """A lease over several nodes ends with its term."""
    scene = Scene()
    scene.feed.give(builders.node("n1"))
    scene.close()
    lease = scene.leased("16")
    (told,) = scene.told(scene.order(5000, "16", renews=lease.lease_id))
    assert told.reason == Rejection.NOT_RENEWABLE


def test_a_market_that_sells_only_what_is_free_renews_nothing() -> None:
    """Without pending_ms nobody could take over, so nobody competes for another term."""
    scene = Scene(pending_ms=0)
    lease = scene.leased()
    (told,) = scene.told(scene.order(5000, renews=lease.lease_id))
    assert told.reason == Rejection.RENEWAL_CLOSED


def test_a_lease_has_one_open_renewal() -> None:
    """A second one is refused while the first is in the book, and welcome when it is cancelled."""
    scene = Scene()
    lease = scene.leased()
    first = scene.order(5000, renews=lease.lease_id)
    (told,) = scene.told(scene.order(6000, renews=lease.lease_id))
    assert told.reason == Rejection.RENEWAL_OPEN
    scene.seq += 1
    scene.feed.give(
        orders.CancelRequested(
            bid_id=first, tenant="t", agent="a", market="m", source=0, seq=scene.seq
        )
    )
    assert scene.told(scene.order(7000, renews=lease.lease_id)) == []


def test_only_a_lease_that_stands_is_renewed() -> None:
    """Before it is bound a lease has no end, and after its end it has no next term."""
    scene = Scene()
    bid_id = scene.order(10**6)
    scene.close()
    lease = scene.lease(ids.lease_id("m", bid_id))
    (early,) = scene.told(scene.order(5000, renews=lease.lease_id))
    assert early.reason == Rejection.LEASE_NOT_BOUND
    scene.report(reports.LeaseBound, lease)
    waiting = scene.order(5000, renews=lease.lease_id)
    scene.release(lease)
    (late,) = scene.told(scene.order(5000, renews=lease.lease_id))
    assert late.reason == Rejection.LEASE_ENDED
    for _ in range(4):
        scene.close()
    (ended,) = scene.told(waiting)
    assert (ended.kind, ended.reason) == ("refused", Rejection.LEASE_ENDED)


def test_a_node_that_is_withdrawn_renews_nothing() -> None:
    """On a node that sells nothing more, running leases go on to their end and no further."""
    scene = Scene()
    lease = scene.leased()
    renewal = scene.order(5000, renews=lease.lease_id)
    scene.feed.give(builders.node(gpus=4))
    for _ in range(3):
        scene.close()
    (told,) = scene.told(renewal)
    assert (told.kind, told.reason) == ("refused", Rejection.RENEWAL_CLOSED)


def test_early_release_between_two_terms_gives_back_the_whole_new_one() -> None:
    """Each term is refunded by its own price: all of the new one, and what is left of the old."""
    scene = Scene(slot_ms=100)
    lease = scene.leased(value=10**7)
    scene.order(10**6, renews=lease.lease_id)
    while not scene.lease(lease.lease_id).term:
        scene.close()
    renewed = scene.lease(lease.lease_id)
    left = (lease.ends_at_ms - scene.feed.now_ms) // 100
    (settled,) = builders.events(scene.release(renewed), Settled)
    assert settled.refund_micros == renewed.price_micros + lease.price_micros * left // 40


def test_an_incumbent_that_lost_cannot_be_sold() -> None:
    """Others have won what comes after its end, and wait for this lease alone."""
    scene = Scene()
    lease = scene.leased()
    scene.order(5000, renews=lease.lease_id)
    scene.close()
    scene.close()
    scene.order(50_000, agent="b")
    scene.close()
    assert scene.feed.state.is_awaited(scene.lease(lease.lease_id))
    scene.deal(orders.OfferMade, lease, command_id="c", to="t/c", bid_id=lease.bid_id)
    effects = scene.deal(orders.OfferAccepted, lease, agent="c", bid_id="t/c/k/1/0")
    (declined,) = builders.outcomes(effects, "declined")
    assert declined.reason == Rejection.LEASE_ENDED


def test_a_renewal_ends_an_offer() -> None:
    """What was offered was less than what the lease is now, so the old price holds no more."""
    scene = Scene()
    lease = scene.leased()
    scene.deal(orders.OfferMade, lease, command_id="c", to="t/c", bid_id=lease.bid_id)
    scene.order(5000, renews=lease.lease_id)
    while not scene.lease(lease.lease_id).term:
        scene.close()
    effects = scene.deal(orders.OfferAccepted, lease, agent="c", bid_id="t/c/k/1/0")
    (declined,) = builders.outcomes(effects, "declined")
    assert declined.reason == Rejection.UNKNOWN_OFFER


def test_a_renewed_lease_is_sold_once_its_newest_term_runs() -> None:
    """Two terms have two prices, so between them a sale is declined, and afterwards it is not."""
    scene = Scene()
    lease = scene.leased()
    scene.order(10**6, renews=lease.lease_id)
    while not scene.lease(lease.lease_id).term:
        scene.close()
    scene.deal(orders.OfferMade, lease, command_id="c", to="t/c", bid_id=lease.bid_id)
    scene.deal(orders.OfferAccepted, lease, agent="c", bid_id="t/c/k/1/0")
    assert [one.reason for one in scene.told("t/c/k/1/0")] == [Rejection.LEASE_NOT_BOUND]
    scene.close(lease.ends_at_ms - scene.feed.now_ms)
    effects = scene.deal(orders.OfferAccepted, lease, agent="c", bid_id="t/c/k/2/0")
    _, bought = builders.events(effects, LeaseChanged)
    assert bought.bought_from == lease.lease_id


def test_slices_share_the_devices_that_a_renewal_left() -> None:
    """Whole devices and slices that come beside a kept lease never take its devices."""
    scene = Scene()
    scene.feed.give(builders.node(gpus=4, mig=True))
    scene.close()
    lease = scene.leased("2")
    scene.order(5000, "2", renews=lease.lease_id)
    scene.close()
    scene.close()
    for shape in ("1", "3g", "3g"):
        scene.order(60_000, shape, agent="b")
    changed = builders.events(scene.close(), LeaseChanged)
    kept = {device.name for device in lease.devices}
    others = [one for one in changed if one.lease_id != lease.lease_id]
    assert len(others) == 3
    assert scene.lease(lease.lease_id).term == 1
    for one in others:
        assert not kept & {device.parent or device.name for device in one.devices}
