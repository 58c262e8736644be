"""The devices of a mixed node that are no plain GPUs: a static MIG GPU, a shared one, FPGAs.

Decides how a driver publishes them: static MIG devices without shared counters, a shared GPU with a
capacity that says what a request takes at least. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

FPGA_DRIVER = "fpga.bidplane.io"
FPGAS = 2
STATIC_GPU = 6
SHARED_GPU = 7
STATIC_PROFILE = "1g.10gb"
STATIC_SLICES = 7
SHARE = "8Gi"

Object = dict[str, Any]
# From the device's kind and name to its uuid.
Named = Callable[[str, str], str]


def gpu(index: int, memory: str, placed: Mapping[str, Any], uuid: Named) -> Iterator[Object]:
    """What stands in a mixed node's slices for one of its two unusual GPUs."""
    if index == STATIC_GPU:
        for at in range(STATIC_SLICES):
            yield _static(f"gpu-{index}", at, placed, uuid)
    else:
        yield _shared(f"gpu-{index}", memory, placed, uuid)


def _static(parent: str, at: int, placed: Mapping[str, Any], uuid: Named) -> Object:
    name = f"{parent}-mig-{at}"
    return {
        "name": name,
        "attributes": {
            "type": {"string": "mig"},
            "uuid": {"string": uuid("MIG", name)},
            "parentUUID": {"string": uuid("GPU", parent)},
            "profile": {"string": STATIC_PROFILE},
            **placed,
        },
        "capacity": {"memory": {"value": "10Gi"}},
    }


def _shared(name: str, memory: str, placed: Mapping[str, Any], uuid: Named) -> Object:
    policy = {"default": SHARE, "validRange": {"min": SHARE, "step": "1Gi"}}
    return {
        "name": name,
        "attributes": {
            "type": {"string": "gpu"},
            "uuid": {"string": uuid("GPU", name)},
            **placed,
        },
        "allowMultipleAllocations": True,
        "capacity": {"memory": {"value": memory, "requestPolicy": policy}},
    }


def fpga(index: int, uuid: Named) -> Object:
    """An accelerator of another class."""
    name = f"fpga-{index}"
    return {
        "name": name,
        "attributes": {
            "type": {"string": "fpga"},
            "uuid": {"string": uuid("FPGA", name)},
            "productName": {"string": "Alveo U55C"},
        },
        "capacity": {"memory": {"value": "16Gi"}},
    }
