"""How things of the market are called in Kubernetes, and the marks by which a sink knows its own.

Decides names, labels, annotations and finalizers. Two different agents, leases or pods never share
a name: where joining with hyphens could be read in two ways, a short hash of the parts follows.
"""

from __future__ import annotations

import re
from typing import Any, Final

from bidplane_topics import ids
from bidplane_topics.leases import LeaseChanged, LeasedDevice, LeasedNode

DOMAIN: Final = "bidplane.io"
LEASE: Final = f"{DOMAIN}/lease"
AGENT: Final = f"{DOMAIN}/agent"
TENANT: Final = f"{DOMAIN}/tenant"
MARKET: Final = f"{DOMAIN}/market"
EPOCH: Final = f"{DOMAIN}/epoch"
EXPIRES: Final = f"{DOMAIN}/expires"
ALLOCATED_AT: Final = f"{DOMAIN}/allocated-at-ms"
HOST_NODE: Final = f"{DOMAIN}/host-node"
VIRTUAL_UID: Final = f"{DOMAIN}/virtual-uid"
VIRTUAL_POD: Final = f"{DOMAIN}/virtual-pod"
VIRTUAL_NAMESPACE: Final = f"{DOMAIN}/virtual-namespace"
SIMULATE: Final = f"{DOMAIN}/simulate-seconds"

DELETE_PROTECTION: Final = "resource.kubernetes.io/delete-protection"
OUR_FINALIZER: Final = f"{DOMAIN}/lease"
FINALIZERS: Final = (DELETE_PROTECTION, OUR_FINALIZER)

GPU_DRIVER: Final = "gpu.nvidia.com"
GPU_CLASS: Final = "gpu.nvidia.com"
MIG_CLASS: Final = "mig.nvidia.com"
NIC_CLASS: Final = "nic.bidplane.io"
# Shares of a device are claimed by a class of their own.
SHARED: Final = "shared."
DRIVERS: Final = (GPU_DRIVER, "nic.bidplane.io")

_LONGEST: Final = 63
_LONGEST_PLANE: Final = 48
_LABEL: Final = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")


def namespace(tenant: str, agent: str) -> str:
    """An agent's one host namespace: claims are namespaced, so a lease's pods share it."""
    plain = f"bp-{tenant}-{agent}"
    # bp-a-b-c could be a/b-c or a-b/c; a name without inner hyphens cannot.
    if "-" not in tenant and "-" not in agent and len(plain) <= _LONGEST:
        return plain
    return _hashed(plain, tenant, agent)


def plane(tenant: str, agent: str) -> str:
    """What an agent's control plane is called: StatefulSet, Service and the stem of its Secrets.

    Shorter than other names: the StatefulSet controller appends 11 characters for a label.
    """
    plain = f"vc-{tenant}-{agent}"
    if "-" not in tenant and "-" not in agent and len(plain) <= _LONGEST_PLANE:
        return plain
    return _hashed(plain, tenant, agent, longest=_LONGEST_PLANE)


def host_pod(pod_namespace: str, pod: str) -> str:
    """The host pod's name: the pod's own in namespace ``default``, else with namespace and hash."""
    if pod_namespace == "default" and len(pod) <= _LONGEST and not _looks_hashed(pod):
        return pod
    return _hashed(f"{pod}-{pod_namespace}", pod_namespace, pod)


def nodes(lease: LeaseChanged) -> list[LeasedNode]:
    """The lease's nodes in the order that numbers its claims."""
    known = {node.node: node for node in lease.nodes}
    used = {device.node for device in lease.devices}
    return [
        known.get(name, LeasedNode(node=name, cpu_millis=0, memory_mib=0, ephemeral_mib=0))
        for name in sorted(used | set(known))
    ]


def devices(lease: LeaseChanged, node: str) -> list[LeasedDevice]:
    """The lease's devices on a node; request ``d0`` is the first."""
    return [device for device in lease.devices if device.node == node]


def piece(lease_id: str, number: int) -> str:
    """The name of a lease's claim on its ``number``-th node, and of the agent's node for it."""
    return f"{lease_id}-{number}"


def request(number: int) -> str:
    """The request, and the device in the agent's cluster, of a piece's ``number``-th device."""
    return f"d{number}"


def label(text: str) -> str:
    """``text`` if it may stand in a label, else a digest of it."""
    return text if _LABEL.match(text) else ids.digest("label", text)[:32]


def lease_of(found: dict[str, Any]) -> str:
    """The lease that an object is marked with, or an empty string."""
    return str((found["metadata"].get("annotations") or {}).get(LEASE, ""))


def annotation(found: dict[str, Any], name: str) -> str:
    """An annotation, or an empty string."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def _hashed(text: str, *parts: str, longest: int = _LONGEST) -> str:
    tail = "-" + ids.digest("name", *parts)[:8]
    return text[: longest - len(tail)].rstrip("-.") + tail


def _looks_hashed(pod: str) -> bool:
    # A plain name of that form could be another namespace's pod with its hash.
    return re.search(r"-[0-9a-f]{8}$", pod) is not None
