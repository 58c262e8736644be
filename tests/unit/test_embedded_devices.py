"""What a simulated node publishes obeys Kubernetes' limits and the physics of MIG."""

import itertools
from typing import Any

from bidplane_streams.embedded import devices

Device = dict[str, Any]


def _published(number: int) -> list[Device]:
    return [
        device
        for each in devices.slices(number, "uid")
        for device in each["spec"].get("devices", ())
    ]


def _memory_slices(device: Device) -> set[str]:
    (consumed,) = device["consumesCounters"]
    return {name for name in consumed["counters"] if name.startswith("memory-slice-")}


def _of_gpu(number: int, index: int) -> list[Device]:
    found = [d for d in _published(number) if d["name"].startswith(f"gpu-{index}")]
    assert len(found) == 14
    return found


def test_a_node_has_eight_gpus_their_partitions_and_eight_nics() -> None:
    """A node offers 8 GPUs, 13 partitions of each, and 8 NICs, every one with its own uuid."""
    published = _published(3)
    kinds = [device["attributes"]["type"]["string"] for device in published]
    assert {kind: kinds.count(kind) for kind in kinds} == {"gpu": 8, "mig": 104, "nic": 8}
    assert len({device["attributes"]["uuid"]["string"] for device in published}) == 120


def test_slices_keep_to_the_limits_of_the_api() -> None:
    """Counters and devices are apart, at most 64 devices a slice, and each pool is complete."""
    slices = devices.slices(0, "uid")
    for each in slices:
        assert ("sharedCounters" in each["spec"]) != ("devices" in each["spec"])
        assert len(each["spec"].get("devices", ())) <= 64
        assert len(each["spec"].get("sharedCounters", ())) <= 8
    for driver in (devices.GPU_DRIVER, devices.NIC_DRIVER):
        pool = [each["spec"]["pool"] for each in slices if each["spec"]["driver"] == driver]
        assert all(one["resourceSliceCount"] == len(pool) for one in pool)


def test_a_whole_gpu_excludes_every_partition() -> None:
    """A GPU consumes all memory slices and all multiprocessors of its counter set."""
    gpu, *partitions = _of_gpu(0, 5)
    assert len(_memory_slices(gpu)) == 8
    assert all(_memory_slices(each) <= _memory_slices(gpu) for each in partitions)


def test_the_four_ways_to_fill_a_gpu_fit_its_multiprocessors() -> None:
    """Partitions that share no memory slice never need more multiprocessors than there are."""
    for number in (0, 1):
        whole = devices.model_of(number).multiprocessors
        _, *partitions = _of_gpu(number, 0)
        for chosen in itertools.combinations(partitions, 2):
            self_exclusive = _memory_slices(chosen[0]) & _memory_slices(chosen[1])
            needed = sum(_multiprocessors(each) for each in chosen)
            assert self_exclusive or needed <= whole
        sevenths = [each for each in partitions if "mig-1g" in each["name"]]
        assert sum(_multiprocessors(each) for each in sevenths) <= whole


def _multiprocessors(device: Device) -> int:
    return int(device["consumesCounters"][0]["counters"]["multiprocessors"]["value"])


def test_partitions_start_where_nvidia_lets_them() -> None:
    """A partition takes as many memory slices as its profile, from its placement on."""
    takes = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
    starts: dict[str, list[int]] = {}
    for each in _of_gpu(0, 2)[1:]:
        profile = each["attributes"]["profile"]["string"]
        start = each["attributes"]["placementStart"]["int"]
        starts.setdefault(profile, []).append(start)
        wanted = {f"memory-slice-{at}" for at in range(start, start + takes[profile])}
        assert _memory_slices(each) == wanted
    assert starts == {"1g": [0, 1, 2, 3, 4, 5, 6], "2g": [0, 2, 4], "3g": [0, 4], "4g": [0]}


def test_the_same_number_gives_the_same_devices() -> None:
    """A restart of the simulator changes nothing, so no lease loses its device."""
    assert devices.slices(7, "uid") == devices.slices(7, "uid")


def test_a_nic_shares_the_pcie_root_of_its_gpu() -> None:
    """GPU n and NIC n hang off one PCIe root and one NUMA node."""
    named = {device["name"]: device["attributes"] for device in _published(0)}
    for index in range(8):
        gpu, nic = named[f"gpu-{index}"], named[f"nic-{index}"]
        assert gpu[devices.PCIE_ROOT] == nic[devices.PCIE_ROOT]
        assert gpu["numaNode"] == nic["numaNode"]
