"""From positions to devices that exist."""

from __future__ import annotations

import pytest

import builders
from bidplane_streams.market import clearing, naming, pools
from bidplane_streams.market.pools import DeviceUse, Sellable
from bidplane_streams.market.rows import Rows
from bidplane_topics import supply
from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
)


def offered(held: tuple[int, ...] = ()) -> dict[str, pools.Pool]:
    """One node of twelve partitioned devices, some of them leased."""
    nodes: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
    uses: Rows[DeviceUse] = Rows("use", DeviceUse)
    sellable: Rows[Sellable] = Rows("sellable", Sellable)
    node = nodes.put("n0", builders.node("n0", 12, mig=True))
    sellable.put("n0", pools.free_now(node, uses))
    for number in held:
        uses.put(f"gpu.nvidia.com/n0/gpu-{number}", DeviceUse(1, ("l",)))
    return pools.build(nodes, uses, sellable, ())


def instance(shapes: dict[str, str], offer: dict[str, pools.Pool]) -> Instance:
    """A bid for every shape, worth its letter's place."""
    (pool,) = offer.values()
    return Instance(
        market="m", window=1, beacon="00", slot_ms=1000,
        pools=(InstancePool(name=pool.name, device_class="c", nodes=(len(pool.free[0]),)),),
        bids=tuple(
            InstanceBid(
                bid_id=bid_id, agent="t/a", value_micros=1000,
                alternatives=(InstanceAlternative(pool=pool.name, shape=shape, slots=1),),  # type: ignore[arg-type]
            )
            for bid_id, shape in shapes.items()
        ),
    )  # fmt: skip


def named(shapes: dict[str, str], held: tuple[int, ...] = ()) -> dict[str, list[str]]:
    """The names that every bid gets."""
    offer = offered(held)
    made = instance(shapes, offer)
    found = naming.named(made, clearing.clear(made), offer)
    return {
        bid_id: [one.device.name if one.part is None else one.part.name for one in devices]
        for bid_id, devices in found.items()
    }


def test_whole_devices_are_the_lowest_that_are_free() -> None:
    """Held devices are passed over and names follow the bids' order."""
    assert named({"b": "2", "a": "1"}, held=(0, 2)) == {"a": ["gpu-1"], "b": ["gpu-3", "gpu-4"]}


def test_slices_and_whole_devices_never_meet() -> None:
    """A device that is sliced is nobody's whole device."""
    shapes = {"a": "8", "b": "2", "c": "1", "d": "3g", "e": "4g"}
    found = named(shapes)
    whole = {name for bid in "abc" for name in found[bid]}
    sliced = {name.rsplit("-", 2)[0] for bid in "de" for name in found[bid]}
    assert len(whole) == 11
    assert sliced == {"gpu-11"}
    assert {found["d"][0], found["e"][0]} == {"gpu-11-3g-4", "gpu-11-4g-0"}


@pytest.mark.parametrize("position", ["0:5g@0", "x", "0:3g@9"])
def test_a_position_that_does_not_exist_stops_the_round(position: str) -> None:
    """A slice that no device publishes is a bug, not an award."""
    offer = offered()
    made = instance({"a": "3g"}, offer)
    award = Award(alternative=0, level=1, price_micros=0, devices=((0, position),))
    result = Result(
        market="m", window=1, rule="greedy", awards={"a": award}, prices={}, welfare_micros=0,
        revenue_micros=0,
    )  # fmt: skip
    with pytest.raises(AssertionError):
        naming.named(made, result, offer)
