"""What winners pay, on windows small enough to work out by hand."""

from __future__ import annotations

from bidplane_streams.market import clearing
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool


def bid(name: str, value: int, *, shape: Shape = "1", levels: tuple[int, int] | None = None,
        boost: int = 0, weight: int = 1, tier: int = 1, slots: int = 1) -> InstanceBid:  # fmt: skip
    """A bid for pool p."""
    low, high = levels or (1, 1)
    return InstanceBid(
        bid_id=name, agent="a", mode="elastic" if levels else "rigid", value_micros=value,
        boost_micros=boost, weight=weight, tier=tier, level_min=low, level_max=high,
        alternatives=(InstanceAlternative(pool="p", shape=shape, slots=slots),),
    )  # fmt: skip


def cleared(
    *bids: InstanceBid, free: int = 1, reserve: int = 0, rule: str = "greedy"
) -> dict[str, int]:
    """Prices by winner on one node with that many free devices."""
    pool = InstancePool(name="p", device_class="d", nodes=(free,), reserve_micros=reserve)
    instance = Instance(market="m", window=1, beacon="00", slot_ms=1, pools=(pool,), bids=bids)
    result = clearing.clear(instance, rule)
    return {name: award.price_micros for name, award in result.awards.items()}


def test_alone_one_pays_the_reserve() -> None:
    """Without a rival the price is reserve · units · slots."""
    assert cleared(bid("x", 700, slots=2), reserve=3) == {"x": 3 * 7 * 2}


def test_the_winner_pays_what_the_loser_offered() -> None:
    """For one device the winner pays the rival's value, one more where it loses ties."""
    price = cleared(bid("x", 900), bid("y", 700))["x"]
    assert price in (700, 701)
    assert cleared(bid("x", price), bid("y", 700)) == {"x": price}
    assert "x" not in cleared(bid("x", price - 1), bid("y", 700))


def test_below_the_reserve_nobody_wins() -> None:
    """An alternative below its reserve takes no part."""
    assert cleared(bid("x", 20), reserve=3) == {}


def test_a_boost_is_a_discount() -> None:
    """With a boost of 100 the incumbent keeps its device for 100 less than the rival offers."""
    assert cleared(bid("x", 650, boost=100), bid("y", 700))["x"] in (600, 601)


def test_a_weight_scales_the_price() -> None:
    """A bid of double weight holds its device for half of what the rival offers."""
    assert cleared(bid("x", 400, weight=2), bid("y", 700))["x"] in (350, 351)


def test_an_earlier_tier_pays_the_reserve() -> None:
    """A bid of an earlier tier is never displaced by a later one, so it pays the reserve."""
    assert cleared(bid("x", 50, tier=0), bid("y", 700), reserve=1) == {"x": 7}


def test_levels_have_their_own_prices() -> None:
    """Of three levels on four devices the first two displace nobody, the third a rival."""
    prices = cleared(bid("x", 900, levels=(1, 3)), bid("y", 700, levels=(1, 2)), free=4, reserve=1)
    assert prices["x"] - 2 * 7 in (700, 701)
    assert prices["y"] == 7


def test_pay_as_bid_charges_the_value() -> None:
    """The baseline charges every level what it bid."""
    assert cleared(bid("x", 9, levels=(2, 3)), free=4, rule="pay-as-bid") == {"x": 27}


def test_uniform_is_one_price() -> None:
    """All winners of a pool pay the same per unit and slot: the best loser's density."""
    three = [bid("x", 900), bid("y", 800), bid("z", 700)]
    assert cleared(*three, free=2, rule="uniform") == {"x": 700, "y": 700}


def test_uniform_ignores_what_could_never_be_served() -> None:
    """A bid for more than the empty pool holds does not raise anybody's price."""
    vast = bid("z", 700_000, shape="8")
    assert cleared(bid("x", 900), vast, free=2, reserve=1, rule="uniform") == {"x": 7}
