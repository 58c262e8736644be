"""What a simulated cluster offers the market, and what a job asks of it.

Decides the fingerprint: one pool per kind of host, so that a bid can name the kinds whose share of
CPU and memory suffices. Refuses to know values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from bidplane_loadtest.simulator.cluster import WHOLE, Node
from bidplane_loadtest.simulator.work import Job
from bidplane_streams.market.shapes import MIG, UNITS
from bidplane_streams.market.shapes import WHOLE as WHOLE_SHAPES
from bidplane_topics import supply
from bidplane_topics.bids import Alternative, Condition, Shape
from bidplane_topics.leases import LeaseChanged

MARKET: Final = "simulated"
HOST: Final = "hostKind"
DRIVER: Final = "gpu.nvidia.com"
SHAPES: Final[tuple[Shape, ...]] = tuple(
    shape for shape in get_args(Shape) if shape in (*MIG, *WHOLE_SHAPES)
)


class HostKind(NamedTuple):
    """Alike nodes: what one of them shares out."""

    name: str
    model: str
    gpus: int
    cpu_milli: int
    memory_mib: int


def host_kind(node: Node) -> HostKind:
    """The kind of a node."""
    name = f"{node.model}-{node.gpus}x-{node.cpu_milli}m-{node.memory_mib}Mi"
    return HostKind(name, node.model, node.gpus, node.cpu_milli, node.memory_mib)


def host_kinds(nodes: Sequence[Node]) -> tuple[HostKind, ...]:
    """All kinds with a GPU, by name."""
    return tuple(sorted({host_kind(node) for node in nodes if node.gpus}))


def offered(node: Node) -> supply.NodeOffered:
    """The node as the inventory source would publish it, every device sliceable."""
    return supply.NodeOffered(
        market=MARKET, node=node.name, cpu_millis=node.cpu_milli, memory_mib=node.memory_mib,
        devices=tuple(_device(node, f"gpu-{number}") for number in range(node.gpus)),
    )  # fmt: skip


def _device(node: Node, name: str) -> supply.Device:
    return supply.Device(
        name=name, driver=DRIVER, pool=node.name, uuid=f"{node.name}-{name}",
        device_class=DRIVER, attributes={HOST: host_kind(node).name},
        partitions=tuple(
            supply.Partition(
                name=f"{name}-{profile}-{start}", uuid=f"{node.name}-{name}-{profile}-{start}",
                profile=profile, start=start,
            )
            for profile, start in sorted(supply.PLACEMENTS)
        ),
    )  # fmt: skip


def alternatives(job: Job, kinds: Sequence[HostKind]) -> tuple[Alternative, ...]:
    """The least shape of every kind of host that holds the job; kinds with one shape together."""
    by_shape: dict[Shape, list[str]] = {}
    for kind in kinds:
        shape = least_shape(job, kind)
        if shape is not None:
            by_shape.setdefault(shape, []).append(kind.name)
    return tuple(
        Alternative(
            selector={HOST: Condition(one_of=tuple(by_shape[shape]))}, shape=shape,
            duration_ms=job.duration_ms,
        )
        for shape in SHAPES
        if shape in by_shape
    )  # fmt: skip


def least_shape(job: Job, kind: HostKind) -> Shape | None:
    """The least shape whose share of the host holds the job's pod; None: the host cannot."""
    request = job.request
    if request.models and kind.model not in request.models:
        return None
    for shape in SHAPES:
        units, whole = UNITS[shape], kind.gpus * UNITS["1"]
        devices = 1 if shape in MIG else int(shape)
        if devices > kind.gpus or devices < request.gpus:
            continue
        if shape in MIG and request.milli * UNITS["1"] > units * WHOLE:
            continue
        cpu, memory = kind.cpu_milli * units // whole, kind.memory_mib * units // whole
        if cpu >= request.cpu_milli and memory >= request.memory_mib:
            return shape
    return None


def slots(lease: LeaseChanged) -> list[tuple[str, int]]:
    """(device, seventh) for every seventh that a lease holds: no two leases may share one."""
    found = []
    for device in lease.devices:
        if not device.profile:
            found += [(f"{device.node}/{device.name}", slot) for slot in range(UNITS["1"])]
            continue
        start = int(device.name.rsplit("-", 1)[1])
        units = range(start, start + UNITS[device.profile])
        found += [(f"{device.node}/{device.parent}", slot) for slot in units]
    return found
