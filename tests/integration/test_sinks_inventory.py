"""The inventory source on real servers: what slices and nodes say becomes supply, once."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator

import pytest

import sinks_world
from bidplane_topics import registry
from bidplane_topics.supply import NodeOffered, NodeWithdrawn
from sinks_world import MARKET, Process, World, until


@pytest.fixture(scope="module")
def world() -> World:
    """The servers of this test run."""
    return sinks_world.shared()


@pytest.fixture
def start(world: World, tmp_path: pathlib.Path) -> Iterator[Callable[[], Process]]:
    """Starts inventory sources; none outlives the test."""
    started: list[Process] = []
    call = f"source_inventory({world.kafka!r}, {world.sink!r}, {MARKET!r})"

    def begin() -> Process:
        started.append(Process(tmp_path / "inventory.log", call))
        return started[-1]

    yield begin
    for process in started:
        process.end()


def supply(world: World) -> dict[str, NodeOffered | NodeWithdrawn]:
    """The last word on every node."""
    return {event.node: event for event in world.read(registry.SUPPLY, 0.3)}


def is_offered(world: World, node: str) -> bool:
    """Whether the node may be sold."""
    return isinstance(supply(world).get(node), NodeOffered)


def test_every_node_is_offered_whole_and_a_restart_is_silent(
    world: World, start: Callable[[], Process]
) -> None:
    """Eight GPUs with thirteen slices each and eight NICs a node; nothing is said twice."""
    source = start()
    until("all nodes", lambda: sum(is_offered(world, node) for node in supply(world)) == 5)
    offer = supply(world)["node-001"]
    assert isinstance(offer, NodeOffered)
    gpus = [device for device in offer.devices if device.device_class == "gpu.nvidia.com"]
    assert [device.name for device in gpus] == [f"gpu-{number}" for number in range(8)]
    assert {len(device.partitions) for device in gpus} == {13}
    assert gpus[0].attributes["productName"] == "NVIDIA A100-SXM4-80GB"
    assert gpus[0].attributes["memory"] == "80Gi"
    assert gpus[0].attributes["domain"] == "rack-00"
    assert sum(device.device_class == "nic.bidplane.io" for device in offer.devices) == 8
    assert (offer.cpu_millis, offer.memory_mib) == (128_000, 2 * 1024 * 1024)
    cordon(world)
    before = len(world.read(registry.SUPPLY))
    assert source.stop() == 0
    start()
    cordon(world)
    assert len(world.read(registry.SUPPLY)) == before + 2


def cordon(world: World) -> None:
    """Take a node off sale and put it back, as an operator would."""
    world.kubectl("cordon", "node-002")
    until("withdrawn", lambda: not is_offered(world, "node-002"))
    world.kubectl("uncordon", "node-002")
    until("offered again", lambda: is_offered(world, "node-002"))


def test_a_foreign_allocation_takes_the_device_out_of_supply(
    world: World, start: Callable[[], Process]
) -> None:
    """What somebody else holds is not sold, not even as slices, until they give it back."""
    start()
    until("offered", lambda: is_offered(world, "node-003"))
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "theirs", "namespace": "default"},
        "spec": {"devices": {"requests": [{"name": "d", "exactly": {"deviceClassName": "other"}}]}},
    }
    result = {
        "request": "d", "driver": "gpu.nvidia.com", "pool": "node-003", "device": "gpu-6-mig-1g-0",
    }  # fmt: skip
    allocation = {
        "allocationTimestamp": "2026-01-01T00:00:00Z",
        "devices": {"results": [result]},
    }
    status = {"status": {"allocation": allocation}}
    world.kubectl("create", "-f", "-", config=world.sink, stdin=json.dumps(claim))
    patch = ("patch", "resourceclaim", "theirs", "--subresource=status", "--type=merge", "-p")
    world.kubectl(*patch, json.dumps(status), config=world.sink)

    def sold() -> set[str]:
        offer = supply(world)["node-003"]
        assert isinstance(offer, NodeOffered)
        return {device.name for device in offer.devices}

    until("taken out", lambda: "gpu-6" not in sold())
    assert "gpu-5" in sold()
    world.kubectl("delete", "resourceclaim", "theirs", config=world.sink)
    until("back on sale", lambda: "gpu-6" in sold())
