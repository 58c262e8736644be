"""Pools: which devices are alike, and what a selector finds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import builders
from bidplane_streams.market import pools
from bidplane_streams.market.pools import DeviceUse, Pool, Sellable
from bidplane_streams.market.rows import Rows
from bidplane_topics import bids, supply

LISTED = ("productName", "memory")
CLASS = "gpu.nvidia.com"


def built(
    *nodes: supply.NodeOffered, held: tuple[str, ...] = (), opened: bool = True
) -> dict[str, Pool]:
    """Pools of those nodes; ``held`` names leased devices."""
    offered: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
    uses: Rows[DeviceUse] = Rows("use", DeviceUse)
    sellable: Rows[Sellable] = Rows("sellable", Sellable)
    for node in nodes:
        offered.put(node.node, node)
        if opened:
            sellable.put(node.node, pools.free_now(node, uses))
    for key in held:
        uses.put(key, DeviceUse(1, ("lease",)))
    return pools.build(offered, uses, sellable, LISTED)


def test_every_device_is_in_one_pool() -> None:
    """Devices are told apart by listed attributes and partitions alone, never by identity."""
    found = built(
        builders.node("n0", 8), builders.node("n1", 4, serial="unlisted"),
        builders.node("n2", 2, memory=80), builders.node("n3", 2, mig=True),
    )  # fmt: skip
    assert sorted(pool.totals for pool in found.values()) == [(2,), (2,), (8, 4)]
    assert {name.rsplit("-", 1)[0] for name in found} == {"h100", "h100-80"}


def test_free_is_what_was_free_at_the_opening_and_still_is() -> None:
    """A leased device and one that came since the opening are counted but not for sale."""
    (pool,) = built(builders.node("n0", 3), held=("gpu.nvidia.com/n0/gpu-1",)).values()
    assert [device.name for device in pool.free[0]] == ["gpu-0", "gpu-2"]
    (new,) = built(builders.node("n0", 3), opened=False).values()
    assert (new.totals, new.free) == ((3,), ((),))


def test_a_device_that_two_nodes_offer_is_for_sale_once() -> None:
    """Moved or misread, it counts at the first node by name and nowhere else."""
    moved = msgspec.structs.replace(builders.node("n0", 2), node="n1")
    (pool,) = built(builders.node("n0", 2), moved).values()
    assert (pool.nodes, pool.totals) == (("n0",), (2,))


def test_devices_stand_in_natural_order() -> None:
    """gpu-2 comes before gpu-10."""
    (pool,) = built(builders.node("n0", 12)).values()
    assert [device.name for device in pool.free[0]] == [f"gpu-{n}" for n in range(12)]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({}, True),
        ({"productName": "H100"}, True),
        ({"productName": "A100"}, False),
        ({"productName": bids.Condition(one_of=("A100", "H100"))}, True),
        ({"memory": bids.Condition(at_least=80)}, True),
        ({"memory": bids.Condition(at_least=81)}, False),
        ({"productName": bids.Condition(at_least=1)}, False),
        ({"colour": "red"}, False),
        ({"device_class": CLASS}, True),
        ({"device_class": "nic.example.com"}, False),
    ],
)
def test_a_selector_is_a_conjunction(selector: dict[str, Any], *, found: bool) -> None:
    """Every condition must hold, and an attribute that is not there fulfils none."""
    (pool,) = built(builders.node("n0", 2, memory=80)).values()
    assert pools.matches(pool, selector, CLASS) == found


def test_a_bid_without_a_class_means_the_markets() -> None:
    """A bid for just any device does not win one of another class."""
    (pool,) = built(builders.node("n0", 2)).values()
    assert not pools.matches(pool, {}, "nic.example.com")
    assert pools.matches(pool, {"pool": pool.name}, "nic.example.com")


@pytest.mark.parametrize(
    ("shape", "sold"),
    [("1", True), ("4", True), ("8", True), ("16", True), ("32", False), ("1g", False)],
)
def test_a_pool_sells_what_it_could_hold_empty(shape: str, *, sold: bool) -> None:
    """A shape is sold where the pool's totals hold it, whatever is free now."""
    (pool,) = built(builders.node("n0", 8), builders.node("n1", 9), opened=False).values()
    assert pools.sells(pool, shape) == sold


def test_slices_are_sold_where_devices_are_partitioned() -> None:
    """MIG shapes need devices that publish partitions."""
    (pool,) = built(builders.node("n0", 1, mig=True)).values()
    assert all(pools.sells(pool, shape) for shape in pools.MIG_SHAPES)


def test_a_lease_carries_its_share_of_the_node() -> None:
    """CPU and memory go in proportion to the devices, never beyond the node."""
    node = builders.node("n0", 8)
    assert pools.share(node, CLASS, 840).cpu_millis == 16_000
    assert pools.share(node, CLASS, 120).cpu_millis == 2285
    assert pools.share(node, CLASS, 8 * 840).memory_mib == 1_000_000
    assert pools.share(node, CLASS, 99_999).memory_mib == 1_000_000
    assert pools.share(node, "nic.example.com", 0).cpu_millis == 0
