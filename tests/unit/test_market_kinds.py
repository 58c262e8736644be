"""The market with other things than plain GPUs: who may win them, what they count and carry."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import bids, reports, selectors
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.rounds import RoundClosed
from bidplane_topics.supply import WHOLE, Companion, Device, NodeOffered, Share

NIC, FPGA = "nic.bidplane.io", "fpga.example.com"
GPU_CLASS = "gpu.nvidia.com"


def card(name: str, driver: str, carries: int = 0) -> Device:
    """A device of another class."""
    return Device(
        name=name, driver=driver, pool="n0", uuid=name, device_class=driver, carries=carries
    )


def node() -> NodeOffered:
    """One of each: a GPU, a bundle, two static slices, two shares, an FPGA and a lone NIC."""
    gpus = [replace(builders.gpu(f"gpu-{n}"), carries=WHOLE) for n in range(4)]
    nic = Companion(name="nic-1", driver=NIC, pool="n0", uuid="nic-1", device_class=NIC)
    slices = [
        replace(
            gpus[2], name=f"mig-{n}", device_class="mig.nvidia.com", profile="1g.10gb",
            carries=WHOLE // 7,
        )
        for n in range(2)
    ]  # fmt: skip
    shares = [
        replace(
            gpus[3], device_class=f"shared.{GPU_CLASS}", carries=WHOLE // 2,
            share=Share(index=n, of=2, isolation="none: time-sliced"),
        )
        for n in range(2)
    ]  # fmt: skip
    found = (
        gpus[0], replace(gpus[1], companions=(nic,)), *slices, *shares,
        card("card-0", FPGA, WHOLE), card("nic-9", NIC),
    )  # fmt: skip
    return NodeOffered(market="m", node="n0", devices=found, cpu_millis=8400, memory_mib=8400)


def market() -> builders.Feed[MarketState]:
    """It sells that node."""
    feed: builders.Feed[MarketState] = builders.Feed(MarketState(0))
    feed.give(builders.market("m"))
    feed.give(node())
    feed.give(reports.SinkAlive(market="m", sink="claims"))
    feed.close()
    return feed


def won(feed: builders.Feed[MarketState], **selector: str) -> LeaseChanged:
    """What the highest bid for one such thing wins."""
    way = bids.Alternative(selector={**selector}, shape="1", duration_ms=10_000)
    feed.give(builders.order("b1", 1000, way, seq=1))
    lease: LeaseChanged = builders.events(feed.close(), LeaseChanged)[0]
    return lease


def test_a_bundle_is_one_device_that_comes_with_another() -> None:
    """The lease names both, and has one GPU's part of the node: a tenth of its weight and more."""
    lease = won(market(), companions=NIC)
    assert [(one.name, one.companion_of) for one in lease.devices] == [
        ("gpu-1", ""), ("nic-1", "gpu-1"),
    ]  # fmt: skip
    whole = WHOLE * 4 + 2 * WHOLE // 7
    assert lease.nodes[0].cpu_millis == 8400 * WHOLE // whole
    assert sum(one.units for one in lease.devices) == 7


def test_parts_of_devices_carry_their_part_of_the_node() -> None:
    """A static slice of one seventh and a share of one half; a NIC nothing."""
    whole = WHOLE * 4 + 2 * WHOLE // 7
    for selector, weight in (
        ({"profile": "1g.10gb"}, WHOLE // 7), ({"isolation": "none: time-sliced"}, WHOLE // 2),
        ({"device_class": FPGA}, WHOLE), ({"device_class": NIC}, 0),
    ):  # fmt: skip
        lease = won(market(), **selector)
        assert lease.nodes[0].cpu_millis == 8400 * weight // whole, selector


def test_a_plain_bid_wins_no_part_of_a_device() -> None:
    """Two whole GPUs are there, one of them with a NIC; a third plain bid goes without."""
    feed = market()
    for number in range(1, 4):
        feed.give(builders.order(f"b{number}", 100 + number, builders.alternative("1"), seq=number))
    leases = builders.events(feed.close(), LeaseChanged)
    assert {lease.devices[0].name for lease in leases} == {"gpu-0", "gpu-1"}


def test_totals_count_whole_devices_of_the_markets_class() -> None:
    """Shares and slices would count one GPU several times; pools say what they hold."""
    feed = market()
    won(feed, isolation="none: time-sliced")
    closed = builders.events(feed.close(), RoundClosed)[0]
    assert (closed.units_total, closed.units_leased) == (14, 0)
    shared = next(pool for pool in closed.pools.values() if "isolation" in pool.facts)
    assert shared.facts["shares"] == 2
    assert (shared.units_offered, shared.units_total) == (7, 14)


def test_two_shares_of_one_device_go_to_two_agents() -> None:
    """Each lease names its own share, and the epochs of one say nothing of the other's."""
    feed = market()
    way = builders.alternative("1", isolation="none: time-sliced")
    for number in (1, 2, 3):
        feed.give(builders.order(f"b{number}", 100 + number, way, seq=number))
    leases = builders.events(feed.close(), LeaseChanged)
    assert [lease.epoch for lease in leases] == [1, 1]
    assert {one.share.index for lease in leases for one in lease.devices if one.share} == {0, 1}


def test_who_names_a_profile_or_an_isolation_names_no_class() -> None:
    """It says what it means; anything else without a class means the market's own."""
    facts: dict[str, str | int] = {
        "profile": "1g.10gb",
        "isolation": "none: time-sliced",
        "memory": 10,
    }

    def meets(**selector: str | int | bids.Condition) -> bool:
        return selectors.meets(facts, "p", "mig.nvidia.com", selector, GPU_CLASS)

    assert meets(profile="1g.10gb")
    assert meets(isolation=bids.Condition(one_of=("none: time-sliced",)))
    assert not meets(memory=10)
    assert not meets(profile="1g.10gb", device_class=GPU_CLASS)


def test_old_offers_read_as_plain_devices() -> None:
    """A record of before has no companions, no share, and the weight of its class."""
    old = b'{"name":"g","driver":"d","pool":"p","uuid":"u","device_class":"c"}'
    device = msgspec.json.decode(old, type=Device)
    assert (device.nature, device.companions, device.share, device.carries) == ({}, (), None, 0)
