"""Bundles, shares and other classes in the host cluster and in an agent's own."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bidplane_agents.errors import BadInput
from bidplane_streams import sold_classes
from bidplane_streams.embedded import devices as simulated
from bidplane_streams.sinks import (
    claims_objects,
    claims_plan,
    claims_seen,
    device_classes,
    hardware,
    hostpods,
    names,
    vnodes,
)
from bidplane_topics.leases import LeaseChanged, LeasedDevice, LeasedNode
from bidplane_topics.supply import Share

Object = dict[str, Any]
FPGA = "fpga.example.com"
HOST = LeasedNode(node="n1", cpu_millis=8000, memory_mib=4096, ephemeral_mib=1024)


def device(name: str, driver: str = names.GPU_DRIVER, **changes: Any) -> LeasedDevice:
    """A leased device of n1."""
    plain = LeasedDevice(
        node="n1", name=name, driver=driver, pool="n1", uuid=f"U-{name}", device_class=driver
    )
    return replace(plain, **changes)


def share(index: int) -> LeasedDevice:
    """A share of gpu-7."""
    part = Share(index=index, of=10, consumes={"memory": "8Gi"}, isolation="none: time-sliced")
    return device("gpu-7", device_class="shared.gpu.nvidia.com", share=part)


def lease(*devices: LeasedDevice, name: str = "l1") -> LeaseChanged:
    """An award of these."""
    return LeaseChanged(
        market="m", lease_id=name, bid_id="b", tenant="t", agent="a", state="awarded", epoch=3,
        window=1, market_pool="p", shape="1", level=1, devices=devices, nodes=(HOST,),
        price_micros=1, duration_ms=1000, awarded_at_ms=1, bind_by_ms=2,
    )  # fmt: skip


def claim(one: LeaseChanged, *, ours: bool = True) -> Object:
    """Its claim, as it stands."""
    found = claims_objects.claim(one, 0, HOST)
    found["status"] = claims_objects.status(one, HOST, "anchor", 1000)
    if not ours:
        found["metadata"]["annotations"] = {}
    return found


def planned(one: LeaseChanged, *others: Object, shared: bool) -> Any:
    """The next step for a lease beside other claims."""
    slots = {
        (each.driver, each.pool, each.name): hardware.Slot(each.uuid, "", shared)
        for each in one.devices
    }
    seen = claims_plan.Observed(
        market="m", partition=-1, leases={one.lease_id: claims_plan.Desired(one, 0)}, held={},
        taken=claims_seen.taken("m", others), hardware=hardware.Hardware(slots, frozenset()),
        missing_since_ms={}, lost_after_ms=1000, said={},
    )  # fmt: skip
    return next(iter(claims_plan.plan(seen, 1000)), None)


def test_shares_bind_beside_each_other_and_never_in_one_place() -> None:
    """Another share is no obstacle; the same one, and a whole device, wait for the other's end."""
    other = claim(lease(share(0), name="l2"))
    whole = claim(lease(device("gpu-7"), name="l3"))
    assert isinstance(planned(lease(share(1)), other, shared=True), claims_plan.Bind)
    assert planned(lease(share(0)), other, shared=True) is None
    assert planned(lease(share(0)), whole, shared=True) is None
    assert planned(lease(device("gpu-7")), other, shared=False) is None


def test_a_foreign_share_is_in_everybodys_way() -> None:
    """What it consumes is not ours to know."""
    theirs = claim(lease(share(5), name="l2"), ours=False)
    assert "allocated by claim" in planned(lease(share(0)), theirs, shared=True).event.reason


@pytest.mark.parametrize(
    ("one", "shared", "words"),
    [(share(0), False, "no longer open"), (device("gpu-7"), True, "is open to several claims")],
)
def test_a_device_that_is_shared_otherwise_than_sold_fails_the_lease(
    one: LeasedDevice, shared: bool, words: str
) -> None:
    """The allocation would not be what the market sold."""
    assert words in planned(lease(one), shared=shared).event.reason


def test_a_claim_stands_only_with_the_share_that_was_sold() -> None:
    """The id of another share, or none, is another allocation."""
    one = lease(share(0))
    found = claim(one) | {"metadata": claim(one)["metadata"]}
    assert claims_objects.stands(found, one, HOST)
    assert not claims_objects.stands(found, lease(share(1)), HOST)
    assert not claims_objects.stands(found, lease(device("gpu-7")), HOST)


def pod(request: str) -> Object:
    """An agent's pod with one device of the lease."""
    use = {"name": "c", "image": "i", "resources": {"claims": [{"name": "x"}]}}
    return {
        "metadata": {"name": "p", "namespace": "default", "uid": "u1"},
        "spec": {
            "containers": [use], "nodeName": "l1-0",
            "resourceClaims": [{"name": "x", "resourceClaimName": request}],
        },
    }  # fmt: skip


def allocated(request: str) -> dict[tuple[str, str], Object]:
    """The agent's claims: one, allocated to that device of its node."""
    result = {"request": "r", "driver": names.GPU_DRIVER, "pool": "l1-0", "device": request}
    status = {"allocation": {"devices": {"results": [result]}}}
    return {("default", "mine"): {"status": status}}


def test_a_container_gets_the_companions_of_its_gpu_and_the_part_of_one_gpu() -> None:
    """Two bundles: one GPU is half of the node's share, whatever comes along with it."""
    nics = [device(f"nic-{n}", names.NIC_CLASS, companion_of=f"gpu-{n}") for n in (0, 1)]
    one = lease(device("gpu-0"), nics[0], device("gpu-1"), nics[1])
    built = hostpods.translate(pod("mine"), hostpods.Place(one, 0, HOST), allocated("d2"), ())
    assert isinstance(built, dict)
    (container,) = built["spec"]["containers"]
    assert [use["request"] for use in container["resources"]["claims"]] == ["d2", "d3"]
    assert container["resources"]["limits"]["cpu"] == "4000m"


def test_an_agent_sees_what_kind_of_device_it_has() -> None:
    """A share says what isolates it, a static slice its size, another class has one of its own."""
    static = device("mig-0", device_class=names.MIG_CLASS, profile="1g.10gb")
    one = lease(share(0), static, device("card", FPGA))
    by_driver = {each["spec"]["driver"]: each["spec"] for each in vnodes.slices(one, 0, HOST)}
    gpus = [each["attributes"] for each in by_driver[names.GPU_DRIVER]["devices"]]
    assert gpus[0]["type"]["string"] == "shared"
    assert gpus[0]["isolation"]["string"] == "none: time-sliced"
    assert (gpus[1]["type"]["string"], gpus[1]["profile"]["string"]) == ("mig", "1g")
    (further,) = vnodes.further_classes(one, HOST)
    assert further["metadata"]["name"] == FPGA


def test_every_class_has_one_of_shares_and_every_driver_is_guarded() -> None:
    """Also those that the operator names."""
    found = device_classes.sold({FPGA: "card.example.com"})
    assert {"card.example.com", "shared.card.example.com", names.MIG_CLASS} <= set(found.classes)
    assert set(found.drivers) == {*names.DRIVERS, FPGA}
    assert len(found.objects) == len(found.classes)


@pytest.mark.parametrize(
    ("words", "told"),
    [(("A_b",), "DNS names"), (("",), "DNS names"), (("a=b", "c=b"), "has a class already"),
     (("a=b=c",), "DNS names")],
)  # fmt: skip
def test_a_class_that_is_no_name_is_bad_input(words: tuple[str, ...], told: str) -> None:
    """One line, before anything starts."""
    with pytest.raises(BadInput, match=told):
        sold_classes.by_driver(words)


def test_a_class_is_called_as_its_driver_unless_one_is_named() -> None:
    """As DRA drivers call themselves."""
    assert sold_classes.by_driver((FPGA, "card=d.example.com")) == {
        FPGA: FPGA,
        "d.example.com": "card",
    }
    with pytest.raises(BadInput, match="--companion"):
        sold_classes.companion("not a name")


def test_a_mixed_node_publishes_every_kind_within_the_limits_of_the_api() -> None:
    """Six plain GPUs, seven static slices without counters, a shared GPU, NICs and FPGAs."""
    slices = simulated.slices(0, "uid", mixed=True)
    found = [one for each in slices for one in each["spec"].get("devices", ())]
    kinds = [one["attributes"]["type"]["string"] for one in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "gpu": 7, "mig": 6 * 13 + 7, "nic": 8, "fpga": 2,
    }  # fmt: skip
    assert sum(bool(one.get("allowMultipleAllocations")) for one in found) == 1
    assert all(len(each["spec"].get("devices", ())) <= 64 for each in slices)
    assert simulated.gpus(4, 1) == 30
