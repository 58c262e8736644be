"""The market's clearing against the auditor's, which was written from the definition alone."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import subprocess
import sys

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bidplane_agents.audit import mechanism
from bidplane_streams.market import clearing, critical, feasibility
from bidplane_streams.market.greedy import Auction
from bidplane_streams.market.shapes import GANGS, MIG
from bidplane_topics import errors
from bidplane_topics import instances as wire
from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
)
from clearing_instances import SHAPES, corpus, instances, partly_used

FAST = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def plain(result: Result) -> Result:
    """The result without positions, which the definition leaves open."""
    awards = {
        bid: msgspec.structs.replace(award, devices=()) for bid, award in result.awards.items()
    }
    return msgspec.structs.replace(result, awards=awards)


@FAST
@given(instances(), st.sampled_from(("greedy", "uniform", "pay-as-bid")))
def test_market_equals_definition(instance: Instance, rule: str) -> None:
    """Awards, prices, welfare and root are what the definition gives, for every rule."""
    assert plain(clearing.clear(instance, rule)) == mechanism.clear(instance, rule)


@FAST
@given(instances(), st.randoms(use_true_random=False))
def test_order_of_input_is_nothing(instance: Instance, shuffle: random.Random) -> None:
    """Permuted bids give the same result, byte for byte."""
    bids = list(instance.bids)
    shuffle.shuffle(bids)
    other = clearing.clear(msgspec.structs.replace(instance, bids=tuple(bids)))
    assert msgspec.json.encode(other) == msgspec.json.encode(clearing.clear(instance))


def test_processes_agree() -> None:
    """Two processes with different hash seeds clear the corpus alike, byte for byte."""
    program = (
        "import sys, hashlib, msgspec; sys.path.insert(0, sys.argv[1])\n"
        "from clearing_instances import corpus\n"
        "from bidplane_streams.market import clearing\n"
        "raw = b''.join(msgspec.json.encode(clearing.clear(one)) for one in corpus(20))\n"
        "print(hashlib.sha256(raw).hexdigest())"
    )
    tests = str(pathlib.Path(__file__).parents[1])
    said = {
        subprocess.run(
            [sys.executable, "-c", program, tests],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1


def devices_of(instance: Instance, result: Result) -> list[tuple[str, int, object]]:
    """Every slot of every device that the positions take, whole devices as all seven slots.

    Slices on partly used devices lie on slots that were free.
    """
    widths = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
    stocks = {pool.name: pool for pool in instance.pools}
    bids = {bid.bid_id: bid for bid in instance.bids}
    taken: list[tuple[str, int, object]] = []
    free = {pool.name: list(pool.nodes) for pool in instance.pools}
    shared: set[tuple[str, int, str]] = set()
    for bid_id, award in result.awards.items():
        pool = bids[bid_id].alternatives[award.alternative].pool
        for node, position in award.devices:
            if isinstance(position, int):
                free[pool][node] -= position
                continue
            ordinal, _, rest = position.partition(":")
            profile, _, start = rest.partition("@")
            stop = min(int(start) + widths[profile], 8)
            taken += [(pool, node, (ordinal, slot)) for slot in range(int(start), stop)]
            if (beyond := int(ordinal) - stocks[pool].nodes[node]) < 0:
                shared.add((pool, node, ordinal))
                continue
            partial = [slots for at, slots in stocks[pool].partly_used if at == node][beyond]
            assert {*range(int(start), min(stop, 7))} <= set(partial)
    for pool, node, _ in shared:
        free[pool][node] -= 1
    assert all(room >= 0 for rooms in free.values() for room in rooms)
    return taken


@FAST
@given(instances())
def test_positions_are_disjoint(instance: Instance) -> None:
    """Every award has places for all its copies, and no two places overlap."""
    result = clearing.clear(instance)
    taken = devices_of(instance, result)
    assert len(taken) == len(set(taken))
    bids = {bid.bid_id: bid for bid in instance.bids}
    for bid_id, award in result.awards.items():
        shape = bids[bid_id].alternatives[award.alternative].shape
        if shape in MIG:
            assert len(award.devices) == award.level
        else:
            assert sum(int(count) for _, count in award.devices) == award.level * int(shape)
        if shape in GANGS:
            assert all(int(count) % 8 == 0 for _, count in award.devices)


@FAST
@given(instances())
def test_prices_are_critical(instance: Instance) -> None:
    """A rigid winner wins at its price, loses below it, and pays the same however high it bids."""
    result = clearing.clear(instance)
    for bid in instance.bids:
        award = result.awards.get(bid.bid_id)
        if award is None or bid.mode == "elastic":
            continue
        assert 0 <= award.price_micros <= bid.value_micros
        assert mechanism.level_at(instance, bid.bid_id, award.price_micros) == 1
        if award.price_micros:
            assert mechanism.level_at(instance, bid.bid_id, award.price_micros - 1) == 0
        higher = with_value(instance, bid.bid_id, bid.value_micros + 1000)
        assert clearing.clear(higher).awards[bid.bid_id].price_micros == award.price_micros


def with_value(instance: Instance, bid_id: str, value_micros: int) -> Instance:
    """The instance with one bid's value changed."""
    bids = tuple(
        msgspec.structs.replace(bid, value_micros=value_micros) if bid.bid_id == bid_id else bid
        for bid in instance.bids
    )
    return msgspec.structs.replace(instance, bids=bids)


def gain(bid: InstanceBid, award: Award | None) -> int:
    """What the bidder has of an award: true value less payment."""
    return 0 if award is None else bid.value_micros * award.level - award.price_micros


@FAST
@given(instances(most=8), st.integers(0, 7), st.integers(0, 2000))
def test_no_deviation_gains(instance: Instance, index: int, lie: int) -> None:
    """Naming another value never gains, and a higher value never lowers the level."""
    if index >= len(instance.bids):
        return
    bid = instance.bids[index]
    honest = clearing.clear(instance).awards.get(bid.bid_id)
    other = clearing.clear(with_value(instance, bid.bid_id, lie)).awards.get(bid.bid_id)

    assert gain(bid, other) <= gain(bid, honest)
    levels = (0 if honest is None else honest.level, 0 if other is None else other.level)
    assert (levels[1] >= levels[0]) if lie > bid.value_micros else (levels[1] <= levels[0])


@FAST
@given(instances(most=8), st.integers(0, 7))
def test_hiding_an_alternative_never_gains(instance: Instance, index: int) -> None:
    """A rigid bid with one alternative fewer pays no less, or loses."""
    if index >= len(instance.bids) or len(instance.bids[index].alternatives) < 2:
        return
    bid = instance.bids[index]
    honest = clearing.clear(instance).awards.get(bid.bid_id)
    for hidden in range(len(bid.alternatives)):
        left = bid.alternatives[:hidden] + bid.alternatives[hidden + 1 :]
        bids = tuple(
            msgspec.structs.replace(one, alternatives=left) if one is bid else one
            for one in instance.bids
        )
        other = clearing.clear(msgspec.structs.replace(instance, bids=bids)).awards.get(bid.bid_id)
        if other is not None:
            assert honest is not None
            assert honest.price_micros <= other.price_micros


@FAST
@given(instances())
def test_nothing_is_wasted(instance: Instance) -> None:
    """No admitted loser fits what is left."""
    auction = Auction(instance)
    outcome = auction.run()
    counters = auction.empty()
    for win in outcome.wins.values():
        pair = auction.pairs[win.position]
        counters[pair.pool].add(pair.shape, win.level)
    for pair in auction.pairs:
        if pair.bid_id not in outcome.wins:
            assert not auction.level(counters[pair.pool], pair)


@FAST
@given(instances())
def test_incumbents_keep(instance: Instance) -> None:
    """Raising a winner's boost never makes it lose."""
    for bid_id in clearing.clear(instance).awards:
        bids = tuple(
            msgspec.structs.replace(bid, boost_micros=bid.boost_micros + 77)
            if bid.bid_id == bid_id
            else bid
            for bid in instance.bids
        )
        assert bid_id in clearing.clear(msgspec.structs.replace(instance, bids=bids)).awards


@FAST
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.data(),
    st.lists(st.sampled_from(("1g", "2g", "3g", "4g", "1", "2", "4", "8", "16")), max_size=14),
)
def test_counters_equal_packing(nodes: list[int], data: st.DataObject, shapes: list[str]) -> None:
    """What the counters accept packs, and what they refuse does not."""
    partial = data.draw(partly_used(len(nodes)))
    pool = InstancePool(name="p", device_class="c", nodes=tuple(nodes), partial=partial)
    counters, stock = feasibility.Counters.of(pool), mechanism.stock_of(pool)
    sold: mechanism.Sold = ()
    for shape in shapes:
        more = mechanism.with_more(sold, shape, 1)
        fits = counters.fits(shape)
        assert fits == mechanism.packs(stock, more)
        if fits:
            counters.add(shape)
            sold = more


@given(st.integers(2**42 - 70, 2**42 - 1), st.integers(1, 2**32))
@example(2**42 - 1, 1)
@FAST
def test_boundary_magnitudes(value: int, slots: int) -> None:
    """At the largest values and durations the market still equals the definition."""
    one = InstanceAlternative(pool="p", shape="8", slots=slots)
    instance = Instance(
        market="m", window=1, beacon="00", slot_ms=1,
        pools=(InstancePool(name="p", device_class="d", nodes=(8,), scarcity_permille=1_000_000),),
        bids=tuple(
            InstanceBid(bid_id=f"b{index}", agent="a", value_micros=value - index,
                        alternatives=(one,))
            for index in range(3)
        ),
    )  # fmt: skip
    assert plain(clearing.clear(instance)) == mechanism.clear(instance)


def test_elastic_over_pools_is_not_monotone() -> None:
    """MECHANISM's counterexample is why an elastic bid has one pool: the contract refuses two."""
    raw = b"""{"market":"m","window":1,"beacon":"00","slot_ms":1,
      "pools":[{"name":"a","device_class":"d","nodes":[1]},
      {"name":"b","device_class":"d","nodes":[4]}],
      "bids":[{"bid_id":"x","agent":"a","mode":"elastic","value_micros":60,"level_max":4,
      "alternatives":[{"pool":"a","shape":"1","slots":1},{"pool":"b","shape":"1","slots":1}]}]}"""
    with pytest.raises(errors.ContractError, match="exactly one"):
        wire.decode_instance(raw)


def test_market_equals_definition_when_contested() -> None:
    """On larger, contested windows, too, the market gives what the definition gives."""
    for instance in corpus(150):
        assert plain(clearing.clear(instance)) == mechanism.clear(instance)


def test_shared_replays_equal_plain_ones() -> None:
    """Sharing a replay among winners changes no payment, and is used."""
    shared_some = 0
    for instance in corpus(150, sizes=(30, 80, 150)):
        auction = Auction(instance)
        outcome = auction.run()
        alone = critical.values(auction, outcome, shared=False)
        assert critical.values(auction, outcome) == alone
        early = [
            win
            for win in outcome.wins.values()
            if win.position < outcome.refused.get(auction.pairs[win.position].pool, 0)
        ]
        shared_some += len(early) > 1
    assert shared_some > 50


@FAST
@given(instances())
def test_elastic_prices_are_critical(instance: Instance) -> None:
    """An elastic winner gets its levels and pays from reserve to value, not by how it bid."""
    result = clearing.clear(instance)
    reserves = {pool.name: pool.reserve_micros for pool in instance.pools}
    for bid in instance.bids:
        award = result.awards.get(bid.bid_id)
        if award is None or bid.mode == "rigid":
            continue
        assert bid.level_min <= award.level <= bid.level_max
        chosen = bid.alternatives[0]
        least = reserves[chosen.pool] * mechanism.UNITS[chosen.shape] * chosen.slots
        assert least * award.level <= award.price_micros <= bid.value_micros * award.level
        higher = clearing.clear(with_value(instance, bid.bid_id, bid.value_micros + 1000))
        if higher.awards[bid.bid_id].level == award.level:
            assert higher.awards[bid.bid_id].price_micros == award.price_micros


@FAST
@given(instances(most=8), st.integers(0, 7), st.data())
def test_asking_for_more_never_gains(instance: Instance, index: int, data: st.DataObject) -> None:
    """Asking for a larger shape than is needed never makes a rigid bid cheaper."""
    if index >= len(instance.bids) or instance.bids[index].mode == "elastic":
        return
    bid = instance.bids[index]
    position = data.draw(st.integers(0, len(bid.alternatives) - 1))
    small = bid.alternatives[position]
    larger = data.draw(st.sampled_from(SHAPES[SHAPES.index(small.shape) :]))
    swapped = msgspec.structs.replace(small, shape=larger)
    alternatives = (*bid.alternatives[:position], swapped, *bid.alternatives[position + 1 :])
    bids = tuple(
        msgspec.structs.replace(one, alternatives=alternatives) if one is bid else one
        for one in instance.bids
    )
    honest = clearing.clear(instance).awards.get(bid.bid_id)
    other = clearing.clear(msgspec.structs.replace(instance, bids=bids)).awards.get(bid.bid_id)
    assert gain(bid, other) <= gain(bid, honest)


def test_ties_follow_the_beacon() -> None:
    """Of two equal bids for one device the one whose hash with the beacon is smaller wins."""
    chosen = set()
    for number in range(16):
        bids = tuple(
            InstanceBid(
                bid_id=name, agent="a", value_micros=700,
                alternatives=(InstanceAlternative(pool="p", shape="1", slots=1),),
            )
            for name in ("x", "y")
        )  # fmt: skip
        instance = Instance(
            market="m", window=1, beacon=f"{number:02x}", slot_ms=1, bids=bids,
            pools=(InstancePool(name="p", device_class="d", nodes=(1,)),),
        )  # fmt: skip
        (winner,) = clearing.clear(instance).awards
        first = min(("x", "y"), key=lambda name: sha(bytes([number]) + name.encode()))
        assert winner == first
        chosen.add(winner)
    assert chosen == {"x", "y"}


def sha(raw: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(raw).digest()


@FAST
@given(instances(most=8), st.integers(0, 7))
def test_any_change_of_input_changes_the_root(instance: Instance, index: int) -> None:
    """The digest binds every bid: raising one value by one changes it, whoever wins."""
    if index >= len(instance.bids):
        return
    bid = instance.bids[index]
    other = with_value(instance, bid.bid_id, bid.value_micros + 1)
    assert clearing.clear(other).root != clearing.clear(instance).root
