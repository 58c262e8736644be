"""What the core remembers between windows is never more than a faster answer."""

from __future__ import annotations

import builders
from bidplane_streams.market import pools
from bidplane_streams.market.pools import DeviceUse, Sellable
from bidplane_streams.market.rows import Rows
from bidplane_streams.market.ways import Ways
from bidplane_topics import supply

LISTED = ("productName",)


def built(*offers: supply.NodeOffered, listed: tuple[str, ...] = LISTED) -> dict[str, pools.Pool]:
    """The pools of these nodes, all of whose devices are free."""
    nodes: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
    uses: Rows[DeviceUse] = Rows("use", DeviceUse)
    sellable: Rows[Sellable] = Rows("sellable", Sellable)
    for node in offers:
        nodes.put(node.node, node)
        sellable.put(node.node, pools.free_now(node, uses))
    return pools.build(nodes, uses, sellable, listed)


def test_a_node_offered_anew_is_looked_at_anew() -> None:
    """A later offer of the same node, and another list of attributes, give other pools."""
    first, later = builders.node("n0", 8), builders.node("n0", 3, productName="A100")
    (h100,) = built(first).values()
    (a100,) = built(later).values()
    assert (len(h100.free[0]), len(a100.free[0])) == (8, 3)
    assert a100.attributes == {"productName": "A100"}
    (plain,) = built(later, listed=()).values()
    assert plain.attributes == {}
    assert built(first) == {h100.name: h100}


def test_orders_that_ask_for_the_same_reach_the_same() -> None:
    """What was found for one order serves its like, whatever its value, and nobody else."""
    rules = builders.market(max_duration_ms=60_000)
    offered = built(builders.node("n0", 8), builders.node("n1", 4, productName="A100"))
    remembered = Ways(rules, offered)
    wanted = [
        (builders.alternative(),),
        (builders.alternative("2", 2500),),
        (builders.alternative(productName="A100"),),
        (builders.alternative(), builders.alternative(productName="A100")),
        (builders.alternative(duration_ms=60_001),),
        (builders.alternative("8", productName="A100"),),
    ]
    for number, ways in enumerate(wanted * 2):
        order = builders.order(f"b{number}", 100 + number, *ways)
        assert remembered.of(order) == Ways(rules, offered).of(order)
    assert len({remembered.of(builders.order(f"b{n}", 1)) for n in range(6)}) == 6


def test_the_first_row_is_that_of_the_least_key() -> None:
    """However many rows a table has, and whatever order they came in."""
    rows: Rows[int] = Rows("number", int)
    assert rows.first() is None
    rows.put("b", 2)
    assert rows.first() == 2
    rows.put("a", 1)
    assert rows.first() == 1
