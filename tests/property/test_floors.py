"""Floors: never more than is missing, and nothing to gain by naming less, more or other values.

Instances are made by the book from orders, as a market makes them, so a changed order changes its
own tiers and those of its tenant's later orders exactly as it would in a market.
"""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import builders
from bidplane_agents.audit import floors as auditors
from bidplane_agents.audit import inventory, mechanism, occupancy
from bidplane_streams.market import asks, book, clearing, floors, pools
from bidplane_streams.market.pools import DeviceUse, Sellable
from bidplane_streams.market.rows import Rows
from bidplane_topics import markets, orders, supply
from bidplane_topics.bids import Alternative
from bidplane_topics.instances import Award, Instance, Result
from clearing_instances import instances

FAST = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
SHAPES = ("1g", "2g", "3g", "4g", "1", "2", "4", "8", "16")
TENANTS = ("t", "u", "v")
# What a market sells: two pools of its own devices, one of network cards.
NODES = (
    builders.node("n0", 3, mig=True), builders.node("n1", 2, mig=True),
    builders.node("n2", 8, productName="A100"), builders.node("n3", 8, productName="A100"),
)  # fmt: skip
NODE_OF = {node.node: node for node in NODES}
SELECTORS: tuple[dict[str, str], ...] = (
    {}, {}, {"productName": "H100"}, {"productName": "A100"}, {"device_class": "nic"},
)  # fmt: skip


class Window(msgspec.Struct, frozen=True):
    """A window to be: rules, what tenants had at its opening, orders."""

    rules: markets.MarketDeclared
    opened: dict[str, int]
    orders: tuple[orders.OrderPlaced, ...]


def supplied() -> dict[str, pools.Pool]:
    """All of it is on sale."""
    nodes: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
    uses: Rows[DeviceUse] = Rows("use", DeviceUse)
    sellable: Rows[Sellable] = Rows("sellable", Sellable)
    card = supply.Device(
        name="nic-0", driver="nic", pool="n4", uuid="nic-0", device_class="nic"
    )  # fmt: skip
    for node in (*NODES, msgspec.structs.replace(builders.node("n4", 0), devices=(card,))):
        nodes.put(node.node, node)
        sellable.put(node.node, pools.free_now(node, uses))
    return pools.build(nodes, uses, sellable, ("productName",))


OFFERED = supplied()


@st.composite
def placed(draw: st.DrawFn, number: int) -> orders.OrderPlaced:
    """An order of some tenant: rigid with up to three alternatives, or elastic."""
    elastic = draw(st.sampled_from((False, False, False, True)))
    ways = tuple(
        builders.alternative(
            draw(st.sampled_from(SHAPES)), draw(st.sampled_from((1000, 2500, 90_000))),
            **draw(st.sampled_from(SELECTORS)),
        )
        for _ in range(1 if elastic else draw(st.integers(1, 3)))
    )  # fmt: skip
    low = draw(st.integers(1, 2)) if elastic else 1
    value = draw(st.one_of(st.integers(1, 12).map(lambda n: n * 70), st.integers(1, 3000)))
    return builders.order(
        f"b{number}", value, *ways, seq=number, tenant=draw(st.sampled_from(TENANTS)),
        agent=f"a{number}", mode="elastic" if elastic else "rigid", level_min=low,
        level_max=low + draw(st.integers(0, 3)) if elastic else 1,
    )  # fmt: skip


@st.composite
def windows(draw: st.DrawFn, most: int = 10) -> Window:
    """A small market with floors for some tenants."""
    entitled = st.dictionaries(st.sampled_from(TENANTS), st.integers(1, 80), max_size=3)
    rules = builders.market(
        reserve_micros=draw(st.sampled_from((0, 0, 3))), max_duration_ms=60_000,
        entitlements=draw(entitled), fingerprint=("productName",),
    )  # fmt: skip
    opened = draw(st.dictionaries(st.sampled_from(TENANTS), st.integers(0, 40), max_size=3))
    count = draw(st.integers(0, most))
    return Window(rules, opened, tuple(draw(placed(number)) for number in range(count)))


def made(window: Window) -> Instance:
    """The clearing instance, as the book makes it."""
    entrants = {}
    for order in window.orders:
        reached = book.reach(order, window.rules, OFFERED)
        if isinstance(reached, list):
            entrants[order.bid_id] = (order, reached)
    covered = floors.floors(
        window.rules, window.opened, OFFERED, (order for order, _ in entrants.values())
    )
    return book.instance(window.rules, 1, "9f", OFFERED, entrants, covered)


def changed(window: Window, index: int, **fields: object) -> Window:
    """The window with one order told otherwise."""
    other = msgspec.structs.replace(window.orders[index], **fields)
    told = (*window.orders[:index], other, *window.orders[index + 1 :])
    return msgspec.structs.replace(window, orders=told)


def tiers(instance: Instance) -> dict[str, list[int]]:
    """The tier of every alternative."""
    return {bid.bid_id: [bid.tier_of(n) for n in range(len(bid.alternatives))]
            for bid in instance.bids}  # fmt: skip


def plain(result: Result) -> Result:
    """The result without positions."""
    awards = {bid: msgspec.structs.replace(won, devices=()) for bid, won in result.awards.items()}
    return msgspec.structs.replace(result, awards=awards)


def last_of_its_tenant(window: Window, index: int) -> bool:
    """Whether no later order shares the floor with this one."""
    mine = window.orders[index].tenant
    return all(order.tenant != mine for order in window.orders[index + 1 :])


def gain(value: int, award: Award | None) -> int:
    """What a rigid bidder has of an award: true value less payment."""
    return 0 if award is None else value - award.price_micros


@FAST
@given(instances(), st.data())
def test_the_market_equals_the_definition_with_tiers(
    instance: Instance, data: st.DataObject
) -> None:
    """Alternatives with tiers of their own clear, pay, and ask as the definition says."""
    tier = st.sampled_from((None, None, 0, 1))
    bids = tuple(
        msgspec.structs.replace(
            bid, alternatives=tuple(
                msgspec.structs.replace(one, tier=data.draw(tier)) for one in bid.alternatives
            ),
        )
        for bid in instance.bids
    )  # fmt: skip
    instance = msgspec.structs.replace(instance, bids=bids)
    for rule in ("greedy", "uniform", "pay-as-bid"):
        result = clearing.clear(instance, rule)
        assert plain(result) == mechanism.clear(instance, rule)
    for pool in instance.pools:
        told = asks.asks(instance, result, bidders_least=0)[pool.name]
        assert told == mechanism.asks(instance, result, pool)


@FAST
@given(windows())
def test_the_auditor_covers_the_same(window: Window) -> None:
    """Two tellings of the rule agree on every alternative."""
    known = {
        node.node: dict.fromkeys(map(occupancy.address, node.devices), occupancy.SLOTS)
        for node in NODES
    }  # fmt: skip
    nobody = occupancy.Occupancy()
    seen = inventory.pools(NODE_OF, known, nobody, frozenset(), ("productName",))
    told = floors.floors(window.rules, window.opened, OFFERED, window.orders)
    found = auditors.covered(window.rules, window.opened, seen, window.orders)
    assert found == {(bid, index) for bid, covered in told.items() for index in covered}


@FAST
@given(windows())
def test_no_floor_gives_more_than_is_missing(window: Window) -> None:
    """What a tenant wins in the first tier never exceeds what it lacked at the opening."""
    instance = made(window)
    won: dict[str, int] = {}
    result, bids = clearing.clear(instance), {bid.bid_id: bid for bid in instance.bids}
    for bid_id, award in result.awards.items():
        bid, tenant = bids[bid_id], bids[bid_id].agent.partition("/")[0]
        if bid.tier_of(award.alternative) == floors.FIRST:
            assert award.level == 1
            chosen = bid.alternatives[award.alternative]
            assert OFFERED[chosen.pool].device_class == window.rules.device_class
            won[tenant] = won.get(tenant, 0) + mechanism.UNITS[chosen.shape]
    for tenant, units in won.items():
        assert units <= window.rules.entitlements[tenant] - window.opened.get(tenant, 0)


@FAST
@given(windows(), st.randoms(use_true_random=False))
def test_the_order_in_which_orders_lie_is_nothing(window: Window, shuffle: object) -> None:
    """The same orders in another order make the same instance."""
    told = list(window.orders)
    shuffle.shuffle(told)  # type: ignore[attr-defined]
    assert made(msgspec.structs.replace(window, orders=tuple(told))) == made(window)


@FAST
@given(windows(), st.integers(0, 9), st.integers(1, 3000))
def test_no_value_moves_a_tier(window: Window, index: int, value: int) -> None:
    """Another value leaves the tiers of all orders that take part either way as they were."""
    if index >= len(window.orders):
        return
    before, after = tiers(made(window)), tiers(made(changed(window, index, value_micros=value)))
    mine = window.orders[index].bid_id
    if mine in before and mine in after:
        assert {bid: found for bid, found in before.items() if bid != mine} == {
            bid: found for bid, found in after.items() if bid != mine
        }


@FAST
@given(windows(8), st.integers(0, 7), st.integers(1, 3000))
def test_no_value_gains(window: Window, index: int, lie: int) -> None:
    """Naming another value never gains, whatever floors there are."""
    if index >= len(window.orders) or window.orders[index].mode == "elastic":
        return
    order = window.orders[index]
    honest = clearing.clear(made(window)).awards.get(order.bid_id)
    other = clearing.clear(made(changed(window, index, value_micros=lie))).awards.get(order.bid_id)
    assert gain(order.value_micros, other) <= gain(order.value_micros, honest)


@FAST
@given(windows(8), st.integers(0, 7), st.data())
def test_hiding_and_enlarging_never_gain(window: Window, index: int, data: st.DataObject) -> None:
    """Fewer alternatives or a larger shape gain nothing for the last order that shares a floor."""
    if index >= len(window.orders) or not last_of_its_tenant(window, index):
        return
    order = window.orders[index]
    if order.mode == "elastic":
        return
    ways = list(order.alternatives)
    position = data.draw(st.integers(0, len(ways) - 1))
    if len(ways) > 1 and data.draw(st.booleans()):
        del ways[position]
    else:
        larger = data.draw(st.sampled_from(SHAPES[SHAPES.index(ways[position].shape) :]))
        ways[position] = msgspec.structs.replace(ways[position], shape=larger)
    told: tuple[Alternative, ...] = tuple(ways)
    honest = clearing.clear(made(window)).awards.get(order.bid_id)
    other = clearing.clear(made(changed(window, index, alternatives=told))).awards.get(order.bid_id)
    assert gain(order.value_micros, other) <= gain(order.value_micros, honest)
