"""What of a node's devices is sold, and how: static MIG, shares, bundles, other classes."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_streams.sources import inventory, sellable
from bidplane_streams.sources.sellable import Choice
from bidplane_topics.supply import WHOLE, Device, NodeOffered

Object = dict[str, Any]

NIC = "nic.bidplane.io"
FPGA = "fpga.example.com"
BUNDLES = Choice(companion=NIC)
NODE = inventory.project_node(
    {
        "metadata": {"name": "n1", "resourceVersion": "1"},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
)


def device(name: str, kind: str, root: str = "", **more: Any) -> Object:
    """A device as its driver lists it."""
    attributes: Object = {"type": {"string": kind}, "uuid": {"string": f"U-{name}"}}
    if root:
        attributes["resource.kubernetes.io/pcieRoot"] = {"string": root}
    extra = {key: {"string": text} for key, text in more.pop("facts", {}).items()}
    return {"name": name, "attributes": attributes | extra} | more


def static(name: str, profile: str = "1g.10gb", parent: str = "U-gpu-0", **more: Any) -> Object:
    """A MIG device that exists: its slice has no counters."""
    return device(name, "mig", facts={"profile": profile, "parentUUID": parent}, **more)


def shared(**capacity: tuple[str, str]) -> Object:
    """gpu-0, which several claims may have; capacity: (value, default)."""
    listed = {
        key: {"value": value} | ({"requestPolicy": {"default": each}} if each else {})
        for key, (value, each) in capacity.items()
    }
    return device("gpu-0", "gpu", allowMultipleAllocations=True, capacity=listed)


def sold(
    *found: Object, choice: Choice = inventory.PLAIN, foreign: tuple[str, ...] = ()
) -> list[Device]:
    """What is offered of these devices; ``foreign`` names those that somebody else has."""
    drivers = {"gpu": "gpu.nvidia.com", "mig": "gpu.nvidia.com", "nic": NIC, "fpga": FPGA}
    by_driver: dict[str, list[Object]] = {}
    for one in found:
        by_driver.setdefault(drivers[one["attributes"]["type"]["string"]], []).append(one)
    slices = [
        inventory.project_slice(
            {
                "metadata": {"name": driver, "resourceVersion": "1"},
                "spec": {
                    "driver": driver, "nodeName": "n1", "devices": devices,
                    "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1},
                },
            }
        )
        for driver, devices in by_driver.items()
    ]  # fmt: skip
    theirs = frozenset((driver, "n1", name) for driver in drivers.values() for name in foreign)
    said = inventory.offers("m", [NODE], slices, theirs, choice)["n1"]
    return list(said.devices) if isinstance(said, NodeOffered) else []


def names(found: list[Device]) -> list[str]:
    """Each with its companions."""
    return ["+".join([one.name, *(other.name for other in one.companions)]) for one in found]


# -- static MIG ----------------------------------------------------------------------------------


def test_a_mig_device_without_counters_is_sold_by_its_profile() -> None:
    """It has the class of slices, its profile, and its sevenths of a GPU's part of the node."""
    small, large = sold(static("a"), static("b", "3g.40gb"))
    assert (small.device_class, small.profile) == ("mig.nvidia.com", "1g.10gb")
    assert (small.nature, small.sliceable) == ({"profile": "1g.10gb"}, False)
    assert (small.carries, large.carries) == (WHOLE // 7, 3 * WHOLE // 7)


def test_a_gpu_that_is_cut_is_not_sold_whole_beside_its_slices() -> None:
    """A driver that lists both would have the market sell the same silicon twice."""
    assert names(sold(device("gpu-0", "gpu"), static("a"), device("gpu-1", "gpu"))) == [
        "a", "gpu-1",
    ]  # fmt: skip


def test_slices_of_a_gpu_that_somebody_else_has_are_not_sold() -> None:
    """The whole is allocated to another, and they are in it."""
    assert not sold(device("gpu-0", "gpu"), static("a"), foreign=("gpu-0",))


def test_a_slice_without_a_profile_is_never_taken_for_a_gpu() -> None:
    """It has a pool of its own."""
    (one,) = sold(device("a", "mig"))
    assert one.nature == {"profile": "unknown"}


@pytest.mark.parametrize(
    "one",
    [static("a", taints=[{"key": "ecc", "effect": "NoExecute"}]),
     device("a", "mig", facts={"profile": "1g"}, consumesCounters=[{"counterSet": "c"}])],
)  # fmt: skip
def test_a_tainted_slice_or_one_that_could_only_be_cut_is_not_sold(one: Object) -> None:
    """With counters it is a possibility, not a device."""
    assert not sold(one)


# -- shares --------------------------------------------------------------------------------------


def test_a_shared_device_is_sold_in_as_many_shares_as_its_policy_lets_in() -> None:
    """Each names its number, what it consumes and that nothing keeps it apart from the others."""
    found = sold(shared(memory=("80Gi", "8Gi")))
    assert [one.share.index for one in found if one.share] == list(range(10))
    one = found[3].share
    assert one is not None
    assert (one.of, one.consumes) == (10, {"memory": "8Gi"})
    assert one.isolation == "none: time-sliced"
    assert {one.device_class for one in found} == {"shared.gpu.nvidia.com"}
    assert {one.carries for one in found} == {WHOLE // 10}
    assert found[0].nature == {"isolation": "none: time-sliced", "shares": 10}


def test_the_scarcest_capacity_says_how_many_shares_there_are() -> None:
    """Every share takes its default of each, and there are never more than 64."""
    assert len(sold(shared(memory=("80Gi", "8Gi"), cores=("100", "30")))) == 3
    assert len(sold(shared(memory=("80Gi", "1Mi")))) == sellable.SHARES_MOST


@pytest.mark.parametrize(
    "capacity",
    [{}, {"memory": ("80Gi", "")}, {"memory": ("80Gi", "8Gi"), "cores": ("100", "")},
     {"memory": ("80Gi", "79Gi")}, {"memory": ("80Gi", "0")}, {"memory": ("80Gi", "-8Gi")}],
)  # fmt: skip
def test_a_shared_device_that_does_not_say_how_many_it_holds_is_not_sold(
    capacity: dict[str, tuple[str, str]],
) -> None:
    """No capacity, none with a default, one that each request takes whole: no shares, no whole."""
    assert not sold(shared(**capacity))


def test_a_foreign_share_takes_the_whole_device_off_sale() -> None:
    """What others consume of it is not ours to count."""
    assert not sold(shared(memory=("80Gi", "8Gi")), foreign=("gpu-0",))


def test_a_driver_may_say_what_isolates_its_shares() -> None:
    """Its own word stands in the place of ours."""
    one = shared(memory=("80Gi", "8Gi"))
    one["attributes"]["isolation"] = {"string": "memory"}
    assert sold(one)[0].nature["isolation"] == "memory"


# -- bundles -------------------------------------------------------------------------------------


def test_a_gpu_and_the_nic_on_its_root_are_one_thing() -> None:
    """The NIC is not sold beside it, the bundle is never cut, and its pool says what it holds."""
    parts = mig_cuts()
    (one,) = sold(
        device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0"), *parts, choice=BUNDLES
    )
    assert names([one]) == ["gpu-0+nic-0"]
    assert (one.nature, one.partitions, one.sliceable) == ({"companions": NIC}, (), False)


def mig_cuts() -> list[Object]:
    """Cuts of gpu-0 that counters would allow."""
    uses = [{"counterSet": "c", "counters": {"memory-slice-0": {"value": "1"}}}]
    facts = {"profile": "1g", "parentUUID": "U-gpu-0"}
    return [device("cut", "mig", facts=facts, consumesCounters=uses)]


def test_without_the_setting_gpus_and_nics_are_sold_apart() -> None:
    """As before."""
    assert names(sold(device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0"))) == [
        "gpu-0", "nic-0",
    ]  # fmt: skip


TAINT = [{"key": "link-down", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("found", "foreign"),
    [
        ([device("gpu-0", "gpu", "r0")], ()),
        ([device("gpu-0", "gpu"), device("nic-0", "nic")], ("nic-0",)),
        ([device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0", taints=TAINT)], ()),
        ([device("gpu-0", "gpu", "r0", taints=TAINT), device("nic-0", "nic", "r0")], ()),
        ([device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0")], ("nic-0",)),
        ([device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0")], ("gpu-0",)),
    ],
)
def test_half_a_bundle_is_not_sold(found: list[Object], foreign: tuple[str, ...]) -> None:
    """A part that is missing, tainted, on no root or another's takes the rest off sale too."""
    assert not sold(*found, choice=BUNDLES, foreign=foreign)


def test_two_gpus_and_one_nic_on_a_root_are_one_bundle() -> None:
    """The first GPU has the NIC whatever becomes of it; a taint never gives it to the second."""
    both = [device("gpu-10", "gpu", "r0"), device("gpu-2", "gpu", "r0")]
    assert names(sold(*both, device("nic-0", "nic", "r0"), choice=BUNDLES)) == ["gpu-2+nic-0"]
    both[1]["taints"] = TAINT
    assert not sold(*both, device("nic-0", "nic", "r0"), choice=BUNDLES)


def test_a_nic_without_a_gpu_on_its_root_is_sold_alone() -> None:
    """So is the second of two NICs beside one GPU."""
    found = [device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0"),
             device("nic-1", "nic", "r0"), device("nic-2", "nic", "r1")]  # fmt: skip
    assert names(sold(*found, choice=BUNDLES)) == ["gpu-0+nic-0", "nic-1", "nic-2"]


def test_what_is_shared_is_in_no_bundle() -> None:
    """The shared GPU is sold in shares and the NIC on its root alone."""
    one = shared(memory=("80Gi", "40Gi"))
    one["attributes"]["resource.kubernetes.io/pcieRoot"] = {"string": "r0"}
    found = sold(one, device("nic-0", "nic", "r0"), choice=BUNDLES)
    assert names(found) == ["gpu-0", "gpu-0", "nic-0"]


# -- other classes -------------------------------------------------------------------------------


def test_a_driver_that_nobody_named_is_not_sold() -> None:
    """Others could allocate its devices: no admission policy guards them."""
    assert not sold(device("card", "fpga"))


def test_a_driver_that_the_operator_named_is_sold_under_its_class() -> None:
    """With a whole device's part of the node, as a GPU has it; a NIC carries none."""
    choice = Choice(classes={FPGA: "accelerator.example.com"})
    found = sold(device("card", "fpga"), device("gpu-0", "gpu"), device("nic-0", "nic"),
                 choice=choice)  # fmt: skip
    assert [(one.device_class, one.carries) for one in found] == [
        ("accelerator.example.com", WHOLE), ("gpu.nvidia.com", WHOLE), (NIC, 0),
    ]  # fmt: skip


def test_a_node_that_lists_a_device_twice_is_withdrawn() -> None:
    """Sold once under each listing, it would have two holders; other nodes stay on sale."""
    assert not sold(device("gpu-0", "gpu"), device("gpu-0", "gpu"))


def test_the_contract_refuses_what_could_be_sold_twice() -> None:
    """No device stands as itself and as a companion, or whole and as a share."""
    gpu, nic = sold(device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0"))
    (bundle,) = sold(device("gpu-0", "gpu", "r0"), device("nic-0", "nic", "r0"), choice=BUNDLES)
    parts = sold(shared(memory=("80Gi", "40Gi")))
    for found in ((bundle, nic), (gpu, parts[0]), (parts[0], parts[0]), (bundle, bundle)):
        with pytest.raises(ValueError, match="named twice"):
            NodeOffered(market="m", node="n1", devices=found)
    NodeOffered(market="m", node="n1", devices=tuple(parts))
