"""The auditor's own telling of single rules, held against the rule's words."""

from __future__ import annotations

import msgspec
import pytest

from bidplane_agents.audit import admission, awards, inventory
from bidplane_agents.audit.inventory import Pool
from bidplane_agents.audit.occupancy import SLOTS, Occupancy, address
from bidplane_topics import bids
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.supply import Device, NodeOffered, Partition

PARTS = tuple(
    Partition(name=f"p{profile}{start}", uuid=f"u{profile}{start}", profile=profile, start=start)  # type: ignore[arg-type]
    for profile, start in (("3g", 0), ("3g", 4), ("4g", 0), ("1g", 0), ("1g", 6))
)


def _device(node: str, name: str, parts: tuple[Partition, ...] = ()) -> Device:
    return Device(
        name=name, driver="d", pool=node, uuid=f"uuid-{name}", device_class="gpu",
        attributes={"productName": "H100"}, partitions=parts,
    )  # fmt: skip


def _pool(*counts: int, parts: tuple[Partition, ...] = ()) -> Pool:
    nodes = {
        f"n{i}": NodeOffered(
            market="m", node=f"n{i}",
            devices=tuple(_device(f"n{i}", f"g{j}", parts) for j in range(count)),
            cpu_millis=1400, memory_mib=700, ephemeral_mib=7,
        )
        for i, count in enumerate(counts)
    }  # fmt: skip
    sale = {
        name: dict.fromkeys(map(address, node.devices), SLOTS) for name, node in nodes.items()
    }  # fmt: skip
    pools = inventory.pools(nodes, sale, Occupancy(), frozenset(), ("productName",))
    (pool,) = pools.values()
    return pool


def _leased(node: str, name: str, part: Partition | None = None) -> LeasedDevice:
    return LeasedDevice(
        node=node, name=part.name if part else name, driver="d", pool=node,
        uuid=part.uuid if part else f"uuid-{name}", device_class="gpu",
        profile=part.profile if part else "", parent=name if part else "",
    )  # fmt: skip


def _problem(pool: Pool, shape: str, level: int, *devices: LeasedDevice) -> str:
    return awards.problem(pool, shape, level, devices, set())


def _place(value: int, low: int = 1, high: int = 1) -> bids.Place:
    one = bids.Alternative(shape="1", duration_ms=1)
    mode = "elastic" if high > 1 else "rigid"
    return bids.Place(
        market="m", mode=mode, value_micros=value, level_min=low, level_max=high,  # type: ignore[arg-type]
        alternatives=(one,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "money", "covered"),
    [
        (_place(10), 10, (10, 1)),
        (_place(10), 7, (7, 1)),
        (_place(10), 0, None),
        (_place(10, 1, 4), 40, (10, 4)),
        (_place(10, 1, 4), 29, (10, 2)),
        (_place(10, 3, 4), 29, (9, 3)),
        (_place(10, 3, 4), 2, None),
    ],
)
def test_levels_shrink_before_the_value_does(
    place: bids.Place, money: int, covered: tuple[int, int] | None
) -> None:
    """An elastic bid beyond the money loses levels first, then value; at nothing it is refused."""
    assert admission.admitted(place, money) == covered


def test_an_award_is_whole_and_on_one_node() -> None:
    """The right number of devices is not enough: a shape stands on one node."""
    pool = _pool(2, 2)
    together = (_leased("n0", "g0"), _leased("n0", "g1"))
    apart = (_leased("n0", "g0"), _leased("n1", "g1"))
    assert _problem(pool, "2", 1, *together) == ""
    assert "split" in _problem(pool, "2", 1, *apart)
    assert _problem(pool, "1", 2, *apart) == ""
    assert "are not" in _problem(pool, "2", 1, together[0])


def test_an_award_names_devices_that_were_for_sale() -> None:
    """A device of another node, another uuid or sold before is no award."""
    pool = _pool(1)
    assert "not for sale" in _problem(pool, "1", 1, _leased("n0", "g5"))
    ghost = msgspec.structs.replace(_leased("n0", "g0"), uuid="other")
    assert "does not exist" in _problem(pool, "1", 1, ghost)
    taken: set[tuple[str, int]] = set()
    one = (_leased("n0", "g0"),)
    assert awards.problem(pool, "1", 1, one, taken) == ""
    assert "twice" in awards.problem(pool, "1", 1, one, taken)


def test_slices_of_a_device_may_not_overlap() -> None:
    """Two halves live side by side; a half and its own first seventh do not."""
    pool = _pool(1, parts=PARTS)
    left, right, _, first, last = (_leased("n0", "g0", part) for part in PARTS)
    assert _problem(pool, "3g", 2, left, right) == ""
    taken: set[tuple[str, int]] = set()
    assert awards.problem(pool, "3g", 1, (left,), taken) == ""
    assert "twice" in awards.problem(pool, "1g", 1, (first,), taken)
    assert awards.problem(pool, "1g", 1, (last,), taken) == ""


def test_a_selector_without_class_means_the_markets_own() -> None:
    """A bid for a device must not win a network card."""
    pool = _pool(1)
    assert inventory.matches(pool, {}, "gpu")
    assert not inventory.matches(pool, {}, "nic")
    assert inventory.matches(pool, {"device_class": "gpu"}, "nic")
    assert inventory.matches(pool, {"productName": bids.Condition(one_of=("H100",))}, "gpu")
    assert not inventory.matches(pool, {"memory": bids.Condition(at_least=1)}, "gpu")
