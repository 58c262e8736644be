"""A lease goes from agent to agent: who is asked, who is told, and who pays whom when."""

from __future__ import annotations

import pytest

from bazaar import BUYER, DURATION_MS, MONEY, SELLER, Bazaar
from bidplane_streams.market import ledger
from bidplane_topics import bids, ids, markets, offers, reports
from bidplane_topics.rejections import Rejection

PRICE = 70_000


def bound(**rules: int) -> tuple[Bazaar, str]:
    """A bazaar whose seller has held a lease for two of its ten slots; the lease's id."""
    world = Bazaar(**rules)
    lease = world.won()
    world.sink()
    world.later(2000)
    return world, lease.lease_id


def sold(price: int = PRICE, **rules: int) -> tuple[Bazaar, str, str]:
    """An offer just accepted: the seller's lease, the buyer's."""
    world, lease_id = bound(**rules)
    command = world.accept(world.offer(lease_id, price))
    return world, lease_id, ids.lease_id("m", command)


def last(world: Bazaar) -> tuple[str, Rejection | None]:
    """The last word told."""
    return world.told[-1].kind, world.told[-1].reason


def test_a_sale_moves_the_devices_and_the_price() -> None:
    """The buyer gets the rest of the time on the same devices, and the seller the agreed price."""
    world, old, new = sold()
    before, after = world.lease(old), world.lease(new)
    assert (before.state, before.cause) == ("ending", "transferred")
    assert (after.state, after.bought_from) == ("pending", old)
    assert (after.devices, after.nodes, after.shape) == (before.devices, before.nodes, "2")
    assert after.duration_ms == DURATION_MS - 2000
    assert after.price_micros == before.price_micros * 8 // 10
    assert after.epoch == before.epoch + 1
    assert world.balance(BUYER) == (MONEY - PRICE, PRICE)
    world.sink()
    world.deliver()
    assert world.lease(new).state == "bound"
    assert world.balance(BUYER) == (MONEY - PRICE, 0)
    assert world.balance(SELLER) == (MONEY - before.price_micros + PRICE, 0)
    assert world.system(ledger.TRANSIT) == 0
    world.rest()


def test_both_sides_are_told() -> None:
    """The seller hears offered and transferred, the buyer held, won and bound; both settled."""
    world, old, new = sold()
    world.sink()
    world.deliver()
    heard = {
        who: [one.kind for one in world.told if (one.tenant, one.agent) == who]
        for who in (SELLER, BUYER)
    }
    assert heard[SELLER][-4:] == ["offered", "transferred", "ended", "settled"]
    assert heard[BUYER][-4:] == ["held", "won", "bound", "settled"]
    offered, transferred, won = (
        next(one for one in world.told if one.kind == kind and one.offer_id)
        for kind in ("offered", "transferred", "won")
    )
    assert offered.offer_id == transferred.offer_id == won.offer_id
    assert (transferred.lease_id, won.lease_id) == (old, new)
    assert offered.amount_micros == transferred.amount_micros == won.amount_micros == PRICE


def test_later_refunds_are_the_present_holders() -> None:
    """The platform's fault gives the buyer what was left of the seller's price."""
    world, _, new = sold()
    world.sink()
    world.later(1)
    world.give(reports.NodeLost(market="m", node="n0", reason="power"))
    world.deliver()
    price = world.lease(new).price_micros
    assert world.balance(BUYER) == (MONEY - PRICE + price * 7 // 8, 0)
    world.rest()


def test_a_buyer_that_never_stands_costs_nobody() -> None:
    """If the buyer's lease is not bound in time, its hold is freed and the seller refunded."""
    world, old, new = sold(release_fee_micros=9)
    price = world.lease(old).price_micros
    unused = world.lease(new).price_micros
    world.close(5000)
    world.deliver()
    assert world.balance(BUYER) == (MONEY, 0)
    assert world.balance(SELLER) == (MONEY - price + unused, 0)
    reasons = {one.reason for one in world.told if one.kind == "voided"}
    assert reasons == {Rejection.PENDING_TIMEOUT, Rejection.SALE_FAILED}
    world.rest()


def test_a_buyer_may_give_back_what_it_does_not_have_yet() -> None:
    """A pending lease that was bought can be released, and nobody pays."""
    world, _, new = sold()
    world.release(BUYER, new)
    world.deliver()
    assert world.balance(BUYER) == (MONEY, 0)
    world.rest()


def test_a_bought_lease_can_be_sold_on() -> None:
    """The buyer is the holder: it may offer the lease, back to the seller too."""
    world, _, new = sold()
    world.sink()
    world.deliver()
    world.later(1000)
    name = ids.agent_id(*SELLER)
    world.say(BUYER, bids.Offer(lease_id=new, to=name, price_micros=1))
    back = world.say(SELLER, bids.Accept(offer_id=offers.offer_id(offers.Terms("m", new, name, 1))))
    world.sink()
    world.deliver()
    assert world.lease(ids.lease_id("m", back)).bought_from == new
    world.rest()


def test_a_gift_is_an_offer_for_nothing() -> None:
    """At a price of 0 the lease changes hands and no money does."""
    world, _, new = sold(0)
    world.sink()
    world.deliver()
    assert world.lease(new).state == "bound"
    assert world.balance(BUYER) == (MONEY, 0)
    world.rest()


def test_a_newer_offer_takes_the_place_of_an_older_one() -> None:
    """The older id is worth nothing any more, and its price comes back."""
    world, lease_id = bound()
    old = world.offer(lease_id, PRICE)
    new = world.offer(lease_id, PRICE + 1)
    world.accept(old)
    assert last(world) == ("declined", Rejection.UNKNOWN_OFFER)
    world.deliver()
    assert world.balance(BUYER) == (MONEY, 0)
    world.accept(new)
    assert world.lease(lease_id).cause == "transferred"


@pytest.mark.parametrize("first", ["release", "expiry", "node", "sale"])
def test_the_first_that_is_applied_wins(first: str) -> None:
    """After a release, an end or another sale an acceptance is too late, and its price is free."""
    world, lease_id = bound()
    offer = world.offer(lease_id, PRICE)
    if first == "release":
        world.release(SELLER, lease_id)
    elif first == "expiry":
        world.later(DURATION_MS)
        world.alive()
    elif first == "node":
        world.give(reports.NodeLost(market="m", node="n0", reason="power"))
    else:
        world.accept(offer)
    world.deliver()
    before = world.balance(BUYER)
    world.accept(offer)
    declined = [one for one in world.told if one.kind == "declined"]
    assert [one.reason for one in declined] == [Rejection.LEASE_ENDED]
    world.deliver()
    assert world.balance(BUYER) == before
    world.rest()


def test_a_release_after_a_sale_is_too_late() -> None:
    """The seller cannot take back what it sold, nor offer it again."""
    world, lease_id, _ = sold()
    world.release(SELLER, lease_id)
    world.offer(lease_id, 1)
    declined = [one.reason for one in world.told if one.kind == "declined"]
    assert declined == [Rejection.LEASE_ENDED, Rejection.LEASE_ENDED]


def test_a_lease_that_is_not_bound_cannot_change_hands_yet() -> None:
    """An offer may stand before the claims do; it can be taken when they do."""
    world = Bazaar()
    lease = world.won()
    offer = world.offer(lease.lease_id, PRICE)
    world.accept(offer)
    assert [one.reason for one in world.told if one.reason] == [Rejection.LEASE_NOT_BOUND]
    world.deliver()
    world.sink()
    world.accept(offer)
    assert world.lease(lease.lease_id).cause == "transferred"


def test_nothing_changes_hands_while_the_sink_is_silent() -> None:
    """No lease is torn down for a sale that nobody could carry out."""
    world, lease_id = bound(stale_after_ms=2500)
    world.accept(world.offer(lease_id, PRICE))
    assert Rejection.SUPPLY_STALE in {one.reason for one in world.told}
    assert world.lease(lease_id).state == "bound"


def test_a_removed_market_makes_no_deals() -> None:
    """Its leases run to their end; offers and acceptances are declined, with the price back."""
    world, lease_id = bound()
    offer = world.offer(lease_id, PRICE)
    world.give(markets.MarketRemoved(market="m"))
    world.accept(offer)
    world.offer(lease_id, 1)
    declined = [one.reason for one in world.told if one.kind == "declined"]
    assert declined == [Rejection.MARKET_REMOVED, Rejection.MARKET_REMOVED]
    world.deliver()
    assert world.balance(BUYER) == (MONEY, 0)


@pytest.mark.parametrize(
    ("price", "spoil", "reason"),
    [
        (PRICE, lambda text: text[:-1] + "x", Rejection.UNKNOWN_OFFER),
        (PRICE, lambda _: "nonsense", Rejection.UNKNOWN_OFFER),
        (PRICE, lambda text: text.replace("70000", "1"), Rejection.UNKNOWN_OFFER),
        (MONEY + 1, str, Rejection.NO_FUNDS),
    ],
)
def test_an_acceptance_without_a_meaning_or_cover_is_declined(
    price: int, spoil: object, reason: Rejection
) -> None:
    """Malformed ids and prices beyond the money hold nothing."""
    world, lease_id = bound()
    offer = world.offer(lease_id, price)
    assert callable(spoil)
    world.accept(spoil(offer))
    assert last(world) == ("declined", reason)
    assert world.balance(BUYER) == (MONEY, 0)


def test_an_offer_to_another_is_declined() -> None:
    """Only the agent that an offer names may take it."""
    world, lease_id = bound()
    world.accept(world.offer(lease_id, PRICE, to=("u", "c")))
    assert last(world) == ("declined", Rejection.UNKNOWN_OFFER)


def test_an_offer_that_nobody_made_is_declined_by_the_market() -> None:
    """An id can be forged; the market frees the money and says that no such offer stands."""
    world, lease_id = bound()
    forged = offers.offer_id(offers.Terms("m", lease_id, ids.agent_id(*BUYER), 1))
    world.accept(forged)
    assert Rejection.UNKNOWN_OFFER in {one.reason for one in world.told}
    world.deliver()
    assert world.balance(BUYER) == (MONEY, 0)


def test_an_offer_names_an_agent_and_a_lease_of_ones_own() -> None:
    """Nobody can offer what it does not hold, nor to what is no agent."""
    world, lease_id = bound()
    world.say(BUYER, bids.Offer(lease_id=lease_id, to="t/a", price_micros=1))
    assert last(world) == ("declined", Rejection.UNKNOWN_LEASE)
    world.say(SELLER, bids.Offer(lease_id=lease_id, to="nobody", price_micros=1))
    assert last(world) == ("declined", Rejection.UNKNOWN_AGENT)
