"""What is no plain device, on real servers: shares, static MIG, other classes and bundles."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

import sinks_world
from bidplane_streams.embedded.unusual import FPGA_DRIVER
from bidplane_streams.sinks import claims_objects, names
from bidplane_topics import registry, reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.supply import Device, NodeOffered, Share
from sinks_world import MARKET, Process, Refused, World, until

MIXED = "node-004"
SHARES = 10
CLASSES = {FPGA_DRIVER: FPGA_DRIVER}


@pytest.fixture(scope="module")
def world() -> World:
    """The servers of this test run."""
    return sinks_world.shared()


@pytest.fixture
def start(world: World, tmp_path: pathlib.Path) -> Iterator[Callable[[str], Process]]:
    """Starts sinks and sources; whatever happens, none outlives the test."""
    started: list[Process] = []

    def begin(call: str) -> Process:
        started.append(Process(tmp_path / "log", call))
        return started[-1]

    yield begin
    for process in started:
        process.end()


@pytest.fixture
def sink(world: World, start: Callable[[str], Process]) -> Process:
    """A claims sink that sells FPGAs too."""
    return start(f"sink_claims({world.kafka!r}, {world.sink!r}, {MARKET!r}, classes={CLASSES!r})")


def share(world: World, index: int, agent: str = "tuner") -> LeaseChanged:
    """An award of one share of the mixed node's shared GPU."""
    lease = world.award((MIXED, "gpu-7"), agent=agent)
    part = Share(index=index, of=SHARES, consumes={"memory": "8Gi"}, isolation="none: time-sliced")
    return replace(lease, devices=(replace(lease.devices[0], share=part),))


def allocation(world: World, lease: LeaseChanged) -> tuple[list[Any], list[Any]]:
    """(requests, results) of the lease's first claim."""
    (claim,) = world.objects("resourceclaims", "-A", "-l", f"{names.LEASE}={lease.lease_id}")
    results = claim["status"]["allocation"]["devices"]["results"]
    return claim["spec"]["devices"]["requests"], results


def test_shares_of_one_device_stand_side_by_side_each_with_its_own_id(
    world: World, sink: Process
) -> None:
    """The API server takes both: the id and the capacity of each stand in its own claim."""
    one, other = world.bound(share(world, 0)), world.bound(share(world, 1, "other"))
    found = []
    for lease in (one, other):
        (asked,), (given,) = allocation(world, lease)
        assert asked["exactly"]["deviceClassName"] == "shared.gpu.nvidia.com"
        assert asked["exactly"]["capacity"]["requests"] == {"memory": "8Gi"}
        assert (given["device"], given["consumedCapacity"]) == ("gpu-7", {"memory": "8Gi"})
        found.append(given["shareID"])
    assert len(set(found)) == 2
    world.ended(one)
    assert allocation(world, other)[1][0]["shareID"] == found[1]
    world.ended(other)


def test_a_share_is_not_claimed_again_before_it_is_given_back(world: World, sink: Process) -> None:
    """A second lease of the same share waits; another share does not."""
    first = world.bound(share(world, 2))
    again, beside = share(world, 2, "again"), share(world, 3, "beside")
    world.lease(again)
    world.bound(beside)
    assert not world.reported(again, reports.LeaseBound)
    assert not world.objects("resourceclaims", "-A", "-l", f"{names.LEASE}={again.lease_id}")
    world.ended(first)
    until("bound after it", lambda: world.reported(again, reports.LeaseBound))
    world.ended(replace(again, state="bound"))
    world.ended(beside)


def test_a_shared_device_is_never_claimed_whole(world: World, sink: Process) -> None:
    """A lease that names it without a share fails with the reason."""
    lease = world.award((MIXED, "gpu-7"))
    world.lease(lease)
    failed = until("failed", lambda: world.reported(lease, reports.LeaseFailed))
    assert "open to several claims" in failed[0].reason
    world.ended(lease)


def test_a_static_slice_is_claimed_by_its_own_uuid(world: World, sink: Process) -> None:
    """It has no counters, and stands under the class of slices."""
    lease = world.bound(world.award((MIXED, "gpu-6-mig-3")))
    (asked,), (given,) = allocation(world, lease)
    assert asked["exactly"]["deviceClassName"] == names.MIG_CLASS
    assert given["device"] == "gpu-6-mig-3"
    world.ended(lease)


def test_a_class_that_the_operator_names_is_claimed_and_guarded(
    world: World, sink: Process
) -> None:
    """The sink makes the class, binds its devices, and nobody else may claim them."""
    lease = world.bound(world.award((MIXED, "fpga-0")))
    (asked,), (given,) = allocation(world, lease)
    assert (asked["exactly"]["deviceClassName"], given["driver"]) == (FPGA_DRIVER, FPGA_DRIVER)
    exactly = {"requests": [{"name": "d", "exactly": {"deviceClassName": FPGA_DRIVER}}]}
    claim = {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "theirs", "namespace": "default"}, "spec": {"devices": exactly},
    }  # fmt: skip
    with pytest.raises(Refused, match="sold by bidplane"):
        world.kubectl("create", "-f", "-", stdin=json.dumps(claim))
    world.ended(lease)


def test_one_claim_holds_a_gpu_and_its_nic(world: World, sink: Process) -> None:
    """Both are requests of the lease's one claim, and both come back at the end."""
    lease = world.award((MIXED, "gpu-0"), (MIXED, "nic-0"))
    gpu, nic = lease.devices
    lease = replace(lease, shape="1", devices=(gpu, replace(nic, companion_of="gpu-0")))
    lease = world.bound(lease)
    _, given = allocation(world, lease)
    assert [one["device"] for one in given] == ["gpu-0", "nic-0"]
    assert claims_objects.device_class(lease.devices[1]) == names.NIC_CLASS
    world.ended(lease)
    assert not world.objects("resourceclaims", "-A", "-l", f"{names.LEASE}={lease.lease_id}")


def test_the_source_offers_every_kind(world: World, start: Callable[[str], Process]) -> None:
    """From real slices: bundles, static slices, shares and FPGAs, each once and nothing twice."""
    more = f"classes={CLASSES!r}, companion={names.NIC_CLASS!r}"
    start(f"source_inventory({world.kafka!r}, {world.admin!r}, {MARKET!r}, {more})")

    def offered() -> dict[str, list[Device]]:
        found: dict[str, list[Device]] = {}
        said = [one for one in world.read(registry.SUPPLY) if one.node == MIXED]
        devices = said[-1].devices if said and isinstance(said[-1], NodeOffered) else ()
        for device in devices:
            found.setdefault(device.device_class, []).append(device)
        return found

    until("bundles", lambda: any(one.companions for one in offered().get(names.GPU_CLASS, ())))
    found = offered()
    assert {name: len(devices) for name, devices in found.items()} == {
        names.GPU_CLASS: 6, names.MIG_CLASS: 7, f"shared.{names.GPU_CLASS}": SHARES,
        names.NIC_CLASS: 2, FPGA_DRIVER: 2,
    }  # fmt: skip
    assert [one.companions[0].name for one in found[names.GPU_CLASS]] == [
        f"nic-{number}" for number in range(6)
    ]
    assert {one.profile for one in found[names.MIG_CLASS]} == {"1g.10gb"}
    assert [one.name for one in found[names.NIC_CLASS]] == ["nic-6", "nic-7"]
