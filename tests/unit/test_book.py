"""The book: which pools an order reaches, and why an order reaches none."""

from __future__ import annotations

from typing import Any

import pytest

import builders
from bidplane_streams.market import book, pools
from bidplane_streams.market.pools import DeviceUse, Sellable
from bidplane_streams.market.rows import Rows
from bidplane_topics import supply
from bidplane_topics.rejections import Rejection

WAY = builders.alternative


def offered(taken: int = 0) -> dict[str, pools.Pool]:
    """H100 on two nodes, A100 on one, of which ``taken`` devices are leased."""
    nodes: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
    uses: Rows[DeviceUse] = Rows("use", DeviceUse)
    sellable: Rows[Sellable] = Rows("sellable", Sellable)
    for node in (
        builders.node("n0", 8), builders.node("n1", 8),
        builders.node("n2", 4, productName="A100"),
    ):  # fmt: skip
        nodes.put(node.node, node)
        sellable.put(node.node, pools.free_now(node, uses))
    for number in range(taken):
        uses.put(f"gpu.nvidia.com/n{number // 8}/gpu-{number % 8}", DeviceUse(1, ("l",)))
    return pools.build(nodes, uses, sellable, ("productName",))


@pytest.mark.parametrize(
    ("ways", "value", "reason"),
    [
        ((WAY(),), 2**42, Rejection.VALUE_TOO_LARGE),
        ((WAY(duration_ms=60_001),), 10**6, Rejection.TOO_LONG),
        ((WAY(productName="T4"),), 10**6, Rejection.NO_MATCHING_POOL),
        ((WAY("8", productName="A100"),), 10**6, Rejection.SHAPE_NOT_SOLD),
        ((WAY("2", 2500),), 2 * 7 * 3 * 5 - 1, Rejection.BELOW_RESERVE),
        ((WAY(duration_ms=60_001), WAY(productName="T4")), 10**6, Rejection.NO_MATCHING_POOL),
        ((WAY(productName="T4"), WAY("2", 2500)), 1, Rejection.BELOW_RESERVE),
    ],
)
def test_an_order_that_reaches_nothing_is_told_why(
    ways: tuple[Any, ...], value: int, reason: Rejection
) -> None:
    """The reason of the alternative that came furthest is told."""
    rules = builders.market(reserve_micros=5, max_duration_ms=60_000)
    assert book.reach(builders.order("b", value, *ways), rules, offered()) == reason


def test_a_rigid_order_reaches_every_pool_that_holds_it() -> None:
    """An alternative becomes one per pool, durations round up, and reserves drop some."""
    pool_of = {pool.attributes["productName"]: name for name, pool in offered().items()}
    rules = builders.market(reserves={pool_of["H100"]: 100})
    order = builders.order("b", 2 * 7 * 3 * 100 - 1, WAY("2", 2500), WAY("1", 1))
    found = book.reach(order, rules, offered())
    assert isinstance(found, list)
    assert [(one.index, one.alternative.pool, one.alternative.slots) for one in found] == [
        (0, pool_of["A100"], 3), (1, pool_of["A100"], 1), (1, pool_of["H100"], 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("taken", "model"), [(0, "H100"), (12, "A100"), (13, "A100")])
def test_an_elastic_order_reaches_one_pool(taken: int, model: str) -> None:
    """The pool with the most free devices is taken, and of equal ones the first by name."""
    order = builders.order("b", 10**6, WAY("1"), mode="elastic", level_min=1, level_max=3)
    found = book.reach(order, builders.market(), offered(taken))
    assert isinstance(found, list)
    assert len(found) == 1
    assert offered()[found[0].alternative.pool].attributes["productName"] == model


def test_the_instance_holds_bids_in_id_order() -> None:
    """Two orders of arrival make the same instance."""
    pools_now = offered()
    rules = builders.market()
    entrants = {}
    for bid_id in ("b", "c", "a"):
        order = builders.order(bid_id)
        reached = book.reach(order, rules, pools_now)
        assert isinstance(reached, list)
        entrants[bid_id] = (order, reached)
    made = book.instance(rules, 3, "00", pools_now, entrants)
    assert [bid.bid_id for bid in made.bids] == ["a", "b", "c"]
    assert {pool.name: pool.nodes for pool in made.pools} == {
        name: tuple(map(len, pool.free)) for name, pool in pools_now.items()
    }
