"""Bundles, shares, slices and whole devices of the same silicon, offered and bid for anyhow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from bidplane_streams.market import invariants, pools
from bidplane_streams.market.effects import Effect
from bidplane_streams.market.market import MarketState
from bidplane_topics import bids, reports
from bidplane_topics.leases import LeaseChanged, LeasedDevice
from bidplane_topics.supply import Companion, Device, NodeOffered, Share

GPUS = 3
SHARES = 3
NIC = "nic.bidplane.io"
HOW = ("whole", "bundle", "apart", "shares", "cut", "gone")
WANTS: tuple[tuple[bids.Selector, str], ...] = (
    ({}, "1"), ({}, "2"), ({}, "1g"), ({"companions": NIC}, "1"), ({"companions": NIC}, "2"),
    ({"device_class": NIC}, "1"), ({"isolation": "none"}, "1"), ({"isolation": "none"}, "2"),
)  # fmt: skip

Cell = tuple[str, int]
Step = tuple[str, Any]


def nic(number: int) -> Device:
    """The NIC beside the GPU of that number."""
    name = f"nic-{number}"
    return Device(name=name, driver=NIC, pool="n0", uuid=name, device_class=NIC)


def offered(how: tuple[str, ...]) -> NodeOffered:
    """One node, whose GPU of each number is sold in that way."""
    found: list[Device] = []
    for number, way in enumerate(how):
        gpu = builders.gpu(f"gpu-{number}", mig=way == "cut")
        fields = {name: getattr(gpu, name) for name in gpu.__struct_fields__}
        if way == "bundle":
            beside = {name: getattr(nic(number), name) for name in Companion.__struct_fields__}
            found.append(Device(**(fields | {"companions": (Companion(**beside),)})))
        elif way == "shares":
            for index in range(SHARES):
                share = Share(index=index, of=SHARES, isolation="none")
                more = {"share": share, "device_class": "shared.gpu.nvidia.com"}
                found.append(Device(**(fields | more)))
        elif way != "gone":
            found.append(gpu)
        if way in ("apart", "cut"):
            found.append(nic(number))
    return NodeOffered(market="m", node="n0", devices=tuple(found), cpu_millis=1000)


def cells(device: LeasedDevice) -> set[Cell]:
    """What of the silicon a leased device is: shares, slices by their start, or all of both."""
    if device.share is not None:
        return {(device.name, 100 + device.share.index)}
    if device.parent:
        start = int(device.name.rpartition("-")[2])
        return {(device.parent, start)}
    cuts = [*range(8), *(100 + index for index in range(SHARES))]
    return {(device.name, cut) for cut in cuts}


def clash(one: set[Cell], other: set[Cell]) -> bool:
    """Whether two leases have the same silicon: the same cut, or cuts of different kinds."""
    if one & other:
        return True
    kinds = {(name, cut < 100) for name, cut in one}
    return any((name, cut >= 100) in kinds for name, cut in other)


class Watch(NamedTuple):
    """What the leases topic has said so far."""

    feed: builders.Feed[MarketState]
    leases: dict[str, LeaseChanged]
    epochs: dict[str, tuple[set[Cell], int]]

    def read(self, effects: list[Effect]) -> None:
        """Check every lease against those that stand, and that came before."""
        for lease in builders.events(effects, LeaseChanged):
            mine = {cell for device in lease.devices for cell in cells(device)}
            if lease.lease_id not in self.leases:
                self._begins(lease, mine)
            self.leases[lease.lease_id] = lease
            self.epochs[lease.lease_id] = (mine, lease.epoch)
            if lease.state == "awarded":
                self._alone(lease, mine)
        invariants.check_market(self.feed.state, effects)
        invariants.audit_market(self.feed.state)

    def _begins(self, lease: LeaseChanged, mine: set[Cell]) -> None:
        for theirs, epoch in self.epochs.values():
            assert not clash(mine, theirs) or lease.epoch > epoch, "an epoch stood still"
        gpus = [one for one in lease.devices if not one.companion_of]
        beside = [one for one in lease.devices if one.companion_of]
        assert [one.name[-1] for one in beside] == [one.companion_of[-1] for one in beside]
        bundles = gpus[0].driver != NIC and "nic" in lease.market_pool
        assert len(beside) == (len(gpus) if bundles else 0), "half a bundle"

    def _alone(self, lease: LeaseChanged, mine: set[Cell]) -> None:
        for other in self.leases.values():
            if other.lease_id == lease.lease_id or other.state in ("pending", "ended"):
                continue
            if other.bind_by_ms:
                theirs = {cell for device in other.devices for cell in cells(device)}
                assert not clash(mine, theirs), f"{lease.lease_id} and {other.lease_id}"

    def report(self, kind: str, number: int) -> list[Effect]:
        """Tell the market of one of the leases."""
        known = sorted(self.leases)
        if not known:
            return []
        lease = self.leases[known[number % len(known)]]
        fields: dict[str, Any] = {
            "market": "m", "lease_id": lease.lease_id, "epoch": lease.epoch
        }  # fmt: skip
        if kind == "fails":
            return self.feed.give(reports.LeaseFailed(reason="so", **fields))
        made = reports.LeaseBound if kind == "binds" else reports.LeaseReleased
        return self.feed.give(made(**fields))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.tuples(*[st.sampled_from(HOW)] * GPUS)),
        st.tuples(st.just("bid"), st.sampled_from(WANTS)),
        st.tuples(st.just("close"), st.integers(500, 4000)),
        st.tuples(st.sampled_from(("binds", "fails", "gives back")), st.integers(0, 20)),
    ),
    min_size=10, max_size=60,
)  # fmt: skip


@given(steps=STEPS, pending_ms=st.sampled_from((0, 5000)))
def test_no_silicon_is_sold_twice_however_it_is_offered(steps: list[Step], pending_ms: int) -> None:
    """Bundled, apart, cut or shared, and offered anew meanwhile: one holder, growing epochs."""
    feed: builders.Feed[MarketState] = builders.Feed(MarketState(0))
    watch = Watch(feed, {}, {})
    feed.give(builders.market("m", pending_ms=pending_ms, grace_ms=0))
    feed.give(offered(("whole",) * GPUS))
    numbers = itertools.count(1)
    for what, given_ in steps:
        feed.give(reports.SinkAlive(market="m", sink="claims"))
        if what == "offer":
            watch.read(feed.give(offered(given_)))
        elif what == "bid":
            selector, shape = given_
            number = next(numbers)
            way = builders.alternative(shape, 1500, **selector)
            watch.read(feed.give(builders.order(f"b{number}", 900 + number, way, seq=number)))
        elif what == "close":
            watch.read(feed.close(given_))
            _every_device_is_in_one_pool(feed.state)
        else:
            watch.read(watch.report(what, given_))


@pytest.mark.parametrize("pending_ms", [0, 5000])
@pytest.mark.parametrize(("held", "then"), list(itertools.product(HOW, HOW)))
def test_what_is_held_in_one_cut_is_not_sold_in_another(
    held: str, then: str, pending_ms: int
) -> None:
    """For every two ways to sell a GPU, while leases of the first stand, end and are gone."""
    feed: builders.Feed[MarketState] = builders.Feed(MarketState(0))
    watch = Watch(feed, {}, {})
    feed.give(builders.market("m", pending_ms=pending_ms, grace_ms=1000))
    seq = itertools.count(1)
    for how, duration_ms in ((held, 3000), (then, 2000), (held, 2000)):
        watch.read(feed.give(offered((how,))))
        for _ in range(6):
            _ask_for_all(watch, seq, duration_ms)
            for number in range(2 * len(watch.leases)):
                watch.read(watch.report("binds" if number % 2 else "gives back", number // 2))
    sold = [one for one in watch.leases.values() if one.bound_at_ms]
    assert sold or (held, then) == ("gone", "gone")


def _ask_for_all(watch: Watch, seq: Iterator[int], duration_ms: int) -> None:
    """A window in which somebody bids for each thing of each pool."""
    feed = watch.feed
    feed.give(reports.SinkAlive(market="m", sink="claims"))
    for selector, shape in WANTS:
        for number in itertools.islice(seq, 2):
            way = builders.alternative(shape, duration_ms, **selector)
            watch.read(feed.give(builders.order(f"b{number}", 900 + number, way, seq=number)))
    watch.read(feed.close(1000))


def _every_device_is_in_one_pool(state: MarketState) -> None:
    market = state.only()
    assert market is not None
    found = pools.build(state.nodes, state.uses, state.sellable, market.rules.fingerprint)
    there = sum(len(node.devices) for node in state.nodes.values())
    assert sum(sum(pool.totals) for pool in found.values()) == there
    free = [pools.device_key(one) for pool in found.values() for row in pool.free for one in row]
    assert len(free) == len(set(free))
