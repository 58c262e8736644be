"""Bids pinned to one node, as renewals are: the clearing against its definition.

Decides which bids are pinned. Refuses to know leases: to the clearing an incumbent is a bid with
one place and a boost.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidplane_agents.audit import mechanism
from bidplane_streams.fast import clearing as fast
from bidplane_streams.market import clearing, critical
from bidplane_streams.market.greedy import Auction
from bidplane_topics import errors
from bidplane_topics.bids import Shape
from bidplane_topics.instances import (
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
    decode_instance,
)
from clearing_instances import instances

FAST = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
replace = msgspec.structs.replace


@st.composite
def pinned_instances(draw: st.DrawFn, most: int = 10) -> Instance:
    """Random windows in which most rigid bids have one alternative, on one node."""
    instance = draw(instances(most=most))
    pools = {pool.name: pool for pool in instance.pools}
    bids = []
    for bid in instance.bids:
        if bid.mode == "elastic" or draw(st.integers(0, 3)) == 0:
            bids.append(bid)
            continue
        pool = pools[bid.alternatives[0].pool]
        way = replace(
            bid.alternatives[0], shape=draw(st.sampled_from(("1", "1", "2", "2", "4", "8"))),
            pinned=draw(st.integers(0, len(pool.nodes) - 1)),
        )  # fmt: skip
        boost = draw(st.sampled_from((0, 0, 40, 700)))
        bids.append(replace(bid, alternatives=(way,), boost_micros=boost))
    return replace(instance, bids=tuple(bids))


def plain(result: Result) -> Result:
    """The result without positions, which the definition leaves open."""
    awards = {bid: replace(award, devices=()) for bid, award in result.awards.items()}
    return replace(result, awards=awards)


def changed(instance: Instance, bid_id: str, **changes: Any) -> Instance:
    """The instance with one bid changed."""
    bids = (replace(bid, **changes) if bid.bid_id == bid_id else bid for bid in instance.bids)
    return replace(instance, bids=tuple(bids))


@FAST
@given(pinned_instances(), st.sampled_from(("greedy", "uniform", "pay-as-bid")))
def test_market_equals_definition(instance: Instance, rule: str) -> None:
    """With pinned bids, too, awards, prices and root are what the definition gives."""
    assert plain(clearing.clear(instance, rule)) == mechanism.clear(instance, rule)


@FAST
@given(pinned_instances(most=14))
def test_shared_replays_equal_plain_ones(instance: Instance) -> None:
    """Winners on different nodes never share a replay that is not theirs."""
    auction = Auction(instance)
    outcome = auction.run()
    alone = critical.values(auction, outcome, shared=False)
    assert critical.values(auction, outcome) == alone


@FAST
@given(pinned_instances(most=8), st.integers(0, 7), st.integers(0, 2500))
def test_no_deviation_gains(instance: Instance, index: int, lie: int) -> None:
    """Nobody gains by naming another value, neither who is pinned nor who competes with them."""
    if index >= len(instance.bids):
        return
    bid = instance.bids[index]
    honest = clearing.clear(instance).awards.get(bid.bid_id)
    other = clearing.clear(changed(instance, bid.bid_id, value_micros=lie)).awards.get(bid.bid_id)
    gains = [
        0 if award is None else bid.value_micros * award.level - award.price_micros
        for award in (honest, other)
    ]
    assert gains[1] <= gains[0]


@FAST
@given(pinned_instances(), st.sampled_from((1, 77, 5000)))
def test_a_higher_switching_cost_never_loses(instance: Instance, more: int) -> None:
    """Whoever stays with a switching cost stays with a higher one, and pays no more."""
    for bid_id, award in clearing.clear(instance).awards.items():
        (bid,) = (one for one in instance.bids if one.bid_id == bid_id)
        if bid.mode == "elastic":
            continue
        raised = changed(instance, bid_id, boost_micros=bid.boost_micros + more)
        again = clearing.clear(raised).awards[bid_id]
        assert again.price_micros <= award.price_micros


@FAST
@given(pinned_instances())
def test_what_is_pinned_keeps_its_node(instance: Instance) -> None:
    """A pinned winner gets its node, and no node gives more than it has."""
    result = clearing.clear(instance)
    left = {pool.name: list(pool.nodes) for pool in instance.pools}
    for bid in instance.bids:
        award = result.awards.get(bid.bid_id)
        if award is None:
            continue
        chosen = bid.alternatives[award.alternative]
        if chosen.pinned is not None:
            assert award.devices == ((chosen.pinned, int(chosen.shape)),)
        for node, count in award.devices:
            if isinstance(count, int):
                left[chosen.pool][node] -= count
    assert all(room >= 0 for rooms in left.values() for room in rooms)


@FAST
@given(pinned_instances(), st.sampled_from(("greedy", "uniform", "pay-as-bid")))
def test_the_kernel_agrees(instance: Instance, rule: str) -> None:
    """A warm kernel gives what the pure path gives, since it leaves pinned bids to it."""
    assert fast.warm()
    assert fast.clear(instance, rule) == clearing.clear(instance, rule)


def two_nodes(*bids: tuple[str, int, Shape, int | None]) -> Instance:
    """MECHANISM's example: two nodes of two devices; each bid has a value, a shape and a node."""
    return Instance(
        market="m", window=1, beacon="00", slot_ms=1,
        pools=(InstancePool(name="p", device_class="d", nodes=(2, 2)),),
        bids=tuple(
            InstanceBid(
                bid_id=name, agent=name, value_micros=value,
                alternatives=(InstanceAlternative(pool="p", shape=shape, slots=1, pinned=node),),
            )
            for name, value, shape, node in bids
        ),
    )  # fmt: skip


def test_two_incumbents_on_two_nodes_leave_no_room_for_a_pair() -> None:
    """Unpinned, two single devices and a pair fit nodes [2,2]; where each stays, they do not."""
    stay = two_nodes(("x", 900, "1", 0), ("y", 800, "1", 1), ("pair", 140, "2", None))
    assert set(clearing.clear(stay).awards) == {"x", "y"}
    move = two_nodes(("x", 900, "1", None), ("y", 800, "1", None), ("pair", 140, "2", None))
    assert set(clearing.clear(move).awards) == {"x", "y", "pair"}


def test_an_incumbent_pays_what_it_displaces() -> None:
    """Without one of two incumbents the pair would win: each of them pays the pair's density."""
    stay = two_nodes(("x", 900, "1", 0), ("y", 800, "1", 1), ("pair", 140, "2", None))
    result = clearing.clear(stay)
    assert {name: award.price_micros for name, award in result.awards.items()} == {"x": 70, "y": 70}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ('"shape":"1","slots":1,"pinned":2', "no index"),
        ('"shape":"1g","slots":1,"pinned":0', "1, 2, 4 or 8"),
        ('"shape":"16","slots":1,"pinned":0', "1, 2, 4 or 8"),
    ],
)
def test_a_pin_that_cannot_be_is_refused(way: str, said: str) -> None:
    """An instance's file says which pin is wrong."""
    raw = f"""{{"market":"m","window":1,"beacon":"00","slot_ms":1,
      "pools":[{{"name":"p","device_class":"d","nodes":[2,2]}}],
      "bids":[{{"bid_id":"x","agent":"a","value_micros":60,
      "alternatives":[{{"pool":"p",{way}}}]}}]}}"""
    with pytest.raises(errors.ContractError, match=said):
        decode_instance(raw.encode())
