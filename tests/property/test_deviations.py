"""Brute force: in every small auction of a grid, no bid does better than by telling the truth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bidplane_streams.market import clearing, critical, pricing
from bidplane_streams.market.greedy import Auction, Outcome
from bidplane_topics.bids import Shape
from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
)

# Values around the least that a device may be sold for (7 units at 1), and far from it.
VALUES = (0, 6, 7, 20)
# What a bid may ask for, and which of these would serve it just as well: the ways of its wish
# fewer, or larger shapes that hold what it needs.
WISHES: dict[str, tuple[tuple[str, Shape], ...]] = {
    "slice": (("p", "3g"),),
    "one": (("p", "1"),),
    "two": (("p", "2"),),
    "either": (("p", "1"), ("q", "1")),
    "levels": (("p", "1"),),
}
SERVED_BY = {
    "slice": ("slice", "one", "two"),
    "one": ("one", "two"),
    "two": ("two",),
    "either": ("either", "one", "two"),
    "levels": ("levels", "one"),
}
# Free devices by node in p and in q, and the reserve of both.
OFFERS = (((2,), (1,), 0), ((2, 1), (), 1))
AGENTS = 3
Said = tuple[str, int]  # a wish and a value
Table = dict[tuple[Said, ...], dict[str, Award]]


class Gain(NamedTuple):
    """A bid that did better by a lie."""

    truth: tuple[Said, ...]
    who: int
    lie: Said


def _bid(number: int, said: Said) -> InstanceBid:
    wish, value = said
    return InstanceBid(
        bid_id=f"b{number}", agent=f"a{number}", value_micros=value,
        mode="elastic" if wish == "levels" else "rigid", level_max=2 if wish == "levels" else 1,
        boost_micros=2 * (number == 1),
        alternatives=tuple(
            InstanceAlternative(pool=pool, shape=shape, slots=1)
            for pool, shape in WISHES[wish]
        ),
    )  # fmt: skip


def every_auction(offer: int, rule: str = "greedy") -> Table:
    """The awards of every combination of wishes and values."""
    nodes, others, reserve = OFFERS[offer]
    pools = tuple(
        InstancePool(name=name, device_class="gpu", nodes=free, reserve_micros=reserve)
        for name, free in (("p", nodes), ("q", others))
    )
    found = {}
    for said in itertools.product(itertools.product(WISHES, VALUES), repeat=AGENTS):
        bids = tuple(_bid(number, one) for number, one in enumerate(said))
        instance = Instance(market="m", window=1, beacon="9f", slot_ms=1000, pools=pools, bids=bids)
        found[said] = clearing.clear(instance, rule).awards
    return found


def utility(table: Table, said: tuple[Said, ...], who: int, truth: Said) -> int:
    """What the awards are worth to someone who needs ``truth``, less what it pays."""
    award = table[said].get(f"b{who}")
    return 0 if award is None else truth[1] * award.level - award.price_micros


def gains(table: Table) -> Iterator[Gain]:
    """Every lie of one bid, with all others as they are, that is worth more than the truth."""
    for said in table:
        for who in range(AGENTS):
            wish, _ = truth = said[who]
            honest = utility(table, said, who, truth)
            if honest < 0:  # it paid more than it bid: staying away is worth more
                yield Gain(said, who, truth)
            for other in itertools.product(SERVED_BY[wish], VALUES):
                lied = (*said[:who], other, *said[who + 1 :])
                if utility(table, lied, who, truth) > honest:
                    yield Gain(said, who, other)


TRUE_TABLES = [every_auction(offer) for offer in range(len(OFFERS))]


def test_no_lie_gains() -> None:
    """Another value, fewer ways or levels, a larger shape, or any two at once: nothing gains."""
    for table in TRUE_TABLES:
        assert next(gains(table), None) is None


@pytest.mark.parametrize("rule", ["pay-as-bid", "uniform"])
def test_other_rules_reward_lies(rule: str) -> None:
    """The grid is worth something: under rules that claim no truthfulness it finds who gains."""
    found = [next(gains(every_auction(offer, rule)), None) for offer in range(len(OFFERS))]
    assert any(found)


def _first_way_alone(auction: Auction, outcome: Outcome) -> dict[str, int]:
    """A mutant: who named several ways pays for the one it won, not for the cheapest."""
    paid = {}
    for bid_id, win in outcome.wins.items():
        alone = Auction.__new__(Auction)
        alone.__dict__ = dict(auction.__dict__)
        alone.pairs = [
            pair for pair in auction.pairs
            if pair.bid_id != bid_id or pair.alternative == win.alternative
        ]  # fmt: skip
        paid[bid_id] = critical.values(alone, alone.run())[bid_id]
    return paid


def _a_level_too_many(auction: Auction, outcome: Outcome) -> dict[str, int]:
    """A mutant: every level at the price of the last."""
    paid = critical.values(auction, outcome)
    for bid_id, win in outcome.wins.items():
        if win.level > 1:
            last = paid[bid_id] - auction.bids[bid_id].level_min
            paid[bid_id] = max(paid[bid_id], last * win.level)
    return paid


def _half_way_to_the_bid(auction: Auction, outcome: Outcome) -> dict[str, int]:
    """A mutant: halfway between the critical value and the bid."""
    full = pricing.pay_as_bid(auction, outcome)
    return {one: (paid + full[one]) // 2 for one, paid in critical.values(auction, outcome).items()}


@pytest.mark.parametrize("mutant", [_first_way_alone, _a_level_too_many, _half_way_to_the_bid])
def test_mutants_reward_lies(mutant: pricing.Pricing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payment that is off by one of these rules makes some lie of the grid worth telling."""
    monkeypatch.setitem(pricing.PRICING, "greedy", mutant)
    assert any(next(gains(every_auction(offer)), None) for offer in range(len(OFFERS)))


def test_prices_lie_between_reserve_and_value() -> None:
    """In every auction of the grid winners pay from reserve to value, and losers have no price."""
    units = {"slice": 3, "one": 7, "two": 14, "either": 7, "levels": 7}
    for (_, _, reserve), table in zip(OFFERS, TRUE_TABLES, strict=True):
        for said, awards in table.items():
            for who, (wish, value) in enumerate(said):
                if (award := awards.get(f"b{who}")) is not None:
                    least = reserve * units[wish] * award.level
                    assert least <= award.price_micros <= value * award.level
