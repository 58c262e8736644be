"""What a simulated device node looks like: its Node, its ResourceSlices, the devices in them.

Decides names, attributes, MIG placements and shared counters, as NVIDIA's DRA driver has them.
Pure: a node's number in, Kubernetes objects (plain dicts) out; the same number gives the same
devices for ever, so a restart changes nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Iterator
from typing import Any

from bidplane_streams.embedded import unusual

GPU_DRIVER = "gpu.nvidia.com"
NIC_DRIVER = "nic.bidplane.io"
PCIE_ROOT = "resource.kubernetes.io/pcieRoot"
GENERATION = 1
"""The generation of every pool: raise it whenever this module changes what a node publishes."""
GPUS = 8
GPUS_PER_SLICE = 4
"""A GPU and its partitions are 14 devices, and a slice with counters holds at most 64."""
MEMORY_SLICES = 8
NODES_PER_RACK = 4
CAPACITY = {"cpu": "128", "memory": "2Ti", "ephemeral-storage": "4Ti", "pods": "110"}

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """A GPU model: its names, its memory, its streaming multiprocessors (whole and per profile)."""

    product: str
    architecture: str
    instance: str
    memory_gi: int
    multiprocessors: int
    per_profile: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """A MIG profile: memory slices it takes, and where they may start."""

    memory_slices: int
    starts: tuple[int, ...]


H100 = Model(
    "NVIDIA H100 80GB HBM3", "Hopper", "hgx-h100", 80, 132, {"1g": 16, "2g": 32, "3g": 60, "4g": 64}
)
A100 = Model(
    "NVIDIA A100-SXM4-80GB", "Ampere", "hgx-a100", 80, 108, {"1g": 14, "2g": 28, "3g": 42, "4g": 56}
)
PROFILES = {
    "1g": Profile(1, (0, 1, 2, 3, 4, 5, 6)),
    "2g": Profile(2, (0, 2, 4)),
    "3g": Profile(4, (0, 4)),
    "4g": Profile(4, (0,)),
}


def node_name(number: int) -> str:
    """The name of a node: ``node-000`` and so on."""
    return f"node-{number:03d}"


def model_of(number: int) -> Model:
    """Even nodes have H100s, odd ones A100s."""
    return A100 if number % 2 else H100


def host_ip(number: int) -> str:
    """The node's address, which nothing answers at."""
    return f"10.64.{number // 250}.{number % 250 + 1}"


def node(number: int) -> Object:
    """The Node object of a number, without its status."""
    name = node_name(number)
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": model_of(number).instance,
        "bidplane.io/rack": f"rack-{number // NODES_PER_RACK:02d}",
        "bidplane.io/simulated": "true",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def plain_gpus(*, mixed: bool) -> int:
    """How many whole GPUs a node has."""
    return unusual.STATIC_GPU if mixed else GPUS


def gpus(count: int, mixed: int) -> int:
    """How many whole GPUs so many nodes have, of which so many are mixed."""
    return (count - mixed) * plain_gpus(mixed=False) + mixed * plain_gpus(mixed=True)


def slices(number: int, owner_uid: str, *, mixed: bool = False) -> list[Object]:
    """The ResourceSlices of a node: one of GPU counters, two of GPUs, one of NICs.

    Since resource.k8s.io/v1 counters and the devices that consume them live in separate slices.
    A mixed node has a static MIG GPU and a shared one in place of two plain ones, and FPGAs.
    """
    halves = range(0, GPUS, GPUS_PER_SLICE)
    plain = plain_gpus(mixed=mixed)
    gpu = [{"sharedCounters": [_counters(number, index) for index in range(plain)]}]
    gpu += [
        {
            "devices": [
                each
                for index in range(at, at + GPUS_PER_SLICE)
                for each in (_gpu(number, index) if index < plain else _unusual(number, index))
            ]
        }
        for at in halves
    ]
    nic = [{"devices": [_nic(number, index) for index in range(GPUS)]}]
    return [
        *_pool(number, owner_uid, GPU_DRIVER, gpu),
        *_pool(number, owner_uid, NIC_DRIVER, nic),
        *(_pool(number, owner_uid, unusual.FPGA_DRIVER, _fpgas(number)) if mixed else ()),
    ]


def _unusual(number: int, index: int) -> Iterator[Object]:
    memory = f"{model_of(number).memory_gi}Gi"
    named = functools.partial(_uuid, number=number)
    return unusual.gpu(index, memory, _placed(number, index), named)


def _fpgas(number: int) -> list[Object]:
    named = functools.partial(_uuid, number=number)
    return [{"devices": [unusual.fpga(index, named) for index in range(unusual.FPGAS)]}]


def _pool(number: int, owner_uid: str, driver: str, parts: list[Object]) -> Iterator[Object]:
    name = node_name(number)
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner_uid, "controller": True}
    pool = {"name": name, "generation": GENERATION, "resourceSliceCount": len(parts)}
    for at, part in enumerate(parts):
        yield {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{name}-{driver}-{at}", "ownerReferences": [owner]},
            "spec": {"driver": driver, "nodeName": name, "pool": pool, **part},
        }


def _counters(number: int, index: int) -> Object:
    counters = {f"memory-slice-{at}": {"value": "1"} for at in range(MEMORY_SLICES)}
    counters["multiprocessors"] = {"value": str(model_of(number).multiprocessors)}
    return {"name": _counter_set(index), "counters": counters}


def _counter_set(index: int) -> str:
    return f"gpu-{index}-counters"


def _consumes(index: int, starts_at: int, memory_slices: int, multiprocessors: int) -> list[Object]:
    taken = range(starts_at, starts_at + memory_slices)
    counters = {f"memory-slice-{at}": {"value": "1"} for at in taken}
    counters["multiprocessors"] = {"value": str(multiprocessors)}
    return [{"counterSet": _counter_set(index), "counters": counters}]


def _gpu(number: int, index: int) -> Iterator[Object]:
    """A whole GPU and each partition it could be cut into."""
    model = model_of(number)
    yield {
        "name": f"gpu-{index}",
        "attributes": {
            "type": {"string": "gpu"},
            "uuid": {"string": _uuid("GPU", f"gpu-{index}", number=number)},
            "index": {"int": index},
            **_placed(number, index),
        },
        "capacity": {"memory": {"value": f"{model.memory_gi}Gi"}},
        "consumesCounters": _consumes(index, 0, MEMORY_SLICES, model.multiprocessors),
    }
    for profile, shape in PROFILES.items():
        for start in shape.starts:
            yield _partition(number, index, profile, start)


def _partition(number: int, index: int, profile: str, start: int) -> Object:
    model, shape = model_of(number), PROFILES[profile]
    name = f"gpu-{index}-mig-{profile}-{start}"
    memory_gi = model.memory_gi * shape.memory_slices // MEMORY_SLICES
    return {
        "name": name,
        "attributes": {
            "type": {"string": "mig"},
            "uuid": {"string": _uuid("MIG", name, number=number)},
            "parentUUID": {"string": _uuid("GPU", f"gpu-{index}", number=number)},
            "parentIndex": {"int": index},
            "profile": {"string": profile},
            "placementStart": {"int": start},
            **_placed(number, index),
        },
        "capacity": {"memory": {"value": f"{memory_gi}Gi"}},
        "consumesCounters": _consumes(
            index, start, shape.memory_slices, model.per_profile[profile]
        ),
    }


def _placed(number: int, index: int) -> Object:
    """The attributes that a GPU shares with its partitions."""
    model = model_of(number)
    return {
        "productName": {"string": model.product},
        "architecture": {"string": model.architecture},
        "driverVersion": {"version": "570.86.15"},
        PCIE_ROOT: {"string": _pcie_root(index)},
        "numaNode": {"int": index * 2 // GPUS},
    }


def _nic(number: int, index: int) -> Object:
    name = f"nic-{index}"
    return {
        "name": name,
        "attributes": {
            "type": {"string": "nic"},
            "uuid": {"string": _uuid("NIC", name, number=number)},
            "index": {"int": index},
            "productName": {"string": "ConnectX-7"},
            PCIE_ROOT: {"string": _pcie_root(index)},
            "numaNode": {"int": index * 2 // GPUS},
        },
        "capacity": {"bandwidth": {"value": "400G"}},
    }


def _pcie_root(index: int) -> str:
    return f"pci0000:{(index + 1) * 16:02x}"


def _uuid(prefix: str, device: str, *, number: int) -> str:
    seed = f"{device}.{node_name(number)}.bidplane.io"
    return f"{prefix}-{uuid.uuid5(uuid.NAMESPACE_DNS, seed)}"
