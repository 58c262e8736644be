"""What may be sold: the pure half of the inventory source."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_streams.sources import inventory, sellable
from bidplane_topics.supply import NodeOffered, NodeWithdrawn

Object = dict[str, Any]


def node(**spec: Any) -> Object:
    """A ready node."""
    return inventory.project_node(
        {
            "metadata": {"name": "n1", "resourceVersion": "1", "labels": {sellable.RACK: "r1"}},
            "spec": spec,
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "1Gi"},
            },
        }
    )


def gpu(name: str = "gpu-0", **more: Any) -> Object:
    """A whole device."""
    attributes = {
        "type": {"string": "gpu"}, "uuid": {"string": f"U-{name}"}, "numaNode": {"int": 1},
        "productName": {"string": "H"}, "resource.kubernetes.io/pcieRoot": {"string": "pci0"},
    }  # fmt: skip
    return {
        "name": name,
        "attributes": attributes,
        "capacity": {"memory": {"value": "80Gi"}},
    } | more


def mig(profile: str, start: int, size: int, parent: str = "gpu-0") -> Object:
    """A slice whose counters say where it is."""
    counters = {f"memory-slice-{at}": {"value": "1"} for at in range(start, start + size)}
    attributes = {
        "type": {"string": "mig"}, "uuid": {"string": f"M-{profile}-{start}"},
        "profile": {"string": profile}, "parentUUID": {"string": f"U-{parent}"},
    }  # fmt: skip
    return {
        "name": f"{parent}-mig-{profile}-{start}",
        "attributes": attributes,
        "consumesCounters": [{"counterSet": "c", "counters": counters}],
    }


def slices(*devices: Object, count: int = 1, generation: int = 1) -> Object:
    """One slice of a pool."""
    pool = {"name": "n1", "generation": generation, "resourceSliceCount": count}
    spec = {"driver": "gpu.nvidia.com", "nodeName": "n1", "pool": pool, "devices": list(devices)}
    return inventory.project_slice(
        {"metadata": {"name": "s", "resourceVersion": "1"}, "spec": spec}
    )


def offer(
    one: Object, *found: Object, foreign: frozenset[sellable.Address] = frozenset()
) -> NodeOffered | NodeWithdrawn:
    """What is said about the node."""
    return inventory.offers("m", [one], found, foreign)["n1"]


def test_an_offer_holds_devices_their_facts_and_what_goes_with_them() -> None:
    """Attributes lose their domains; capacity and rack are attributes too; devices are in order."""
    said = offer(node(), slices(gpu("gpu-10"), gpu("gpu-2")))
    assert isinstance(said, NodeOffered)
    assert [device.name for device in said.devices] == ["gpu-2", "gpu-10"]
    assert said.devices[0].attributes == {
        "productName": "H", "memory": "80Gi", "pcieRoot": "pci0", "numaNode": 1, "domain": "r1",
    }  # fmt: skip
    assert (said.cpu_millis, said.memory_mib, said.ephemeral_mib) == (4000, 8192, 1024)


def test_only_plain_slices_are_sold_at_the_places_their_counters_name() -> None:
    """A slice with media engines, double memory or the whole device is no plain slice."""
    parts = [mig("1g.10gb", 3, 1), mig("3g.40gb", 4, 4), mig("1g.10gb+me", 0, 1)]
    parts += [mig("1g.20gb", 0, 2), mig("7g.80gb", 0, 8)]
    said = offer(node(), slices(gpu(), *parts))
    assert isinstance(said, NodeOffered)
    sold = [(part.profile, part.start) for part in said.devices[0].partitions]
    assert sold == [("1g", 3), ("3g", 4)]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (node(unschedulable=True), "cordoned"),
        (node(taints=[{"key": "repair", "effect": "NoSchedule"}]), "tainted: repair"),
        (node() | {"ready": False}, "not ready"),
    ],
)
def test_a_node_that_takes_no_pods_is_withdrawn_with_the_reason(one: Object, words: str) -> None:
    """Cordoned, tainted, not ready."""
    said = offer(one, slices(gpu()))
    assert isinstance(said, NodeWithdrawn)
    assert words in said.reason


def test_half_a_generation_is_not_sold() -> None:
    """Until every slice of the newest generation is there, nothing of the node is."""
    old, new = slices(gpu("gpu-0")), slices(gpu("gpu-1"), count=2, generation=2)
    assert isinstance(offer(node(), old, new), NodeWithdrawn)
    rest = slices(gpu("gpu-2"), count=2, generation=2)
    said = offer(node(), old, new, rest)
    assert isinstance(said, NodeOffered)
    assert [device.name for device in said.devices] == ["gpu-1", "gpu-2"]


def test_a_foreign_slice_makes_the_whole_device_foreign() -> None:
    """It shares the device's counters; the other devices stay on sale."""
    found = slices(gpu("gpu-0"), mig("1g", 0, 1), gpu("gpu-1"))
    theirs = frozenset({("gpu.nvidia.com", "n1", "gpu-0-mig-1g-0")})
    said = offer(node(), found, foreign=theirs)
    assert isinstance(said, NodeOffered)
    assert [device.name for device in said.devices] == ["gpu-1"]


def test_a_tainted_device_is_not_sold() -> None:
    """Its neighbours are."""
    broken = gpu("gpu-0", taints=[{"key": "ecc", "effect": "NoSchedule"}])
    said = offer(node(), slices(broken, gpu("gpu-1")))
    assert isinstance(said, NodeOffered)
    assert [device.name for device in said.devices] == ["gpu-1"]


def test_only_differences_are_published() -> None:
    """The same again is silence; a node that vanished is withdrawn once; an unknown one never."""
    said = offer(node(), slices(gpu()))
    now = {"n1": said}
    assert inventory.changes("m", now, {}) == [said]
    assert inventory.changes("m", now, now) == []
    gone = inventory.changes("m", {}, now)
    assert gone == [NodeWithdrawn(market="m", node="n1", reason="gone")]
    assert inventory.changes("m", {}, {"n1": gone[0]}) == []
    assert inventory.changes("m", {"n1": gone[0]}, {}) == []
