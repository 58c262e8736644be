"""What a lease looks like in its agent's own cluster: a Node, slices, and classes to ask by. Pure.

The Node has no GPU capacity: devices are advertised through DRA alone, so ``nvidia.com/gpu`` is
never counted twice. Full devices and slices of each size have classes and extended names of their
own.
"""

from __future__ import annotations

from typing import Any, Final

from bidplane_streams import quantities
from bidplane_streams.sinks import claims_objects, names
from bidplane_topics.leases import LeaseChanged, LeasedDevice, LeasedNode

Object = dict[str, Any]

ENDING_TAINT: Final = {"key": f"{names.DOMAIN}/lease-ending", "effect": "NoSchedule"}
GRACE_UNTIL: Final = f"{names.DOMAIN}/grace-until"
PODS: Final = "110"
PROFILES: Final = ("1g", "2g", "3g", "4g")


def classes() -> list[Object]:
    """The DeviceClasses of an agent's cluster."""
    driver = names.GPU_DRIVER
    kind = f'device.driver == "{driver}" && device.attributes["{driver}"].type == '
    found = [
        _class(names.GPU_CLASS, f'{kind}"gpu"', "nvidia.com/gpu"),
        _class(names.MIG_CLASS, f'{kind}"mig"', ""),
        _class(names.NIC_CLASS, f'device.driver == "{names.NIC_CLASS}"', ""),
        _class(names.SHARED + names.GPU_CLASS, f'{kind}"shared"', "nvidia.com/gpu.shared"),
    ]
    for profile in PROFILES:
        expression = f'{kind}"mig" && device.attributes["{driver}"].profile == "{profile}"'
        found.append(_class(f"mig-{profile}.nvidia.com", expression, f"nvidia.com/mig-{profile}"))
    return found


def further_classes(lease: LeaseChanged, host: LeasedNode) -> list[Object]:
    """The classes of a lease's devices that its agent's cluster has not had from the start."""
    known = {one["metadata"]["name"] for one in classes()}
    found = {device.device_class: device for device in names.devices(lease, host.node)}
    return [
        _class(
            name,
            f'device.driver == "{one.driver}" && '
            f'device.attributes["{one.driver}"].type == "{_kind(one)}"',
            "",
        )
        for name, one in sorted(found.items())
        if name not in known
    ]


def _class(name: str, expression: str, extended: str) -> Object:
    spec: Object = {"selectors": [{"cel": {"expression": expression}}]}
    if extended:
        spec["extendedResourceName"] = extended
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": spec,
    }


def node(lease: LeaseChanged, number: int, host: LeasedNode) -> Object:
    """The Node of the lease's ``number``-th host node, without its status."""
    name = names.piece(lease.lease_id, number)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                names.LEASE: lease.lease_id,
                names.MARKET: lease.market,
                names.HOST_NODE: names.label(host.node),
            },
            "annotations": notes(lease),
        },
        "spec": {"taints": taints(lease)},
    }


def notes(lease: LeaseChanged) -> dict[str, str]:
    """What an agent reads on its node: until when it may be used."""
    grace = claims_objects.timestamp(lease.grace_until_ms) if lease.grace_until_ms else ""
    return {names.EXPIRES: claims_objects.expires(lease), GRACE_UNTIL: grace}


def taints(lease: LeaseChanged) -> list[Object]:
    """After the notice nothing new starts."""
    return [dict(ENDING_TAINT)] if lease.state == "notice" else []


def is_closed(node: Object) -> bool:
    """Whether nothing new starts on a node of ours."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(one["key"] == ENDING_TAINT["key"] for one in taints)


def room(host: LeasedNode) -> dict[str, str]:
    """The lease's share of the host node, as capacity."""
    return {
        "cpu": f"{host.cpu_millis}m",
        "memory": f"{host.memory_mib}Mi",
        "ephemeral-storage": f"{host.ephemeral_mib}Mi",
        "pods": PODS,
    }


def status(host: LeasedNode, at: str) -> Object:
    """The Node's status: ready, with the lease's share. ``at`` is a timestamp."""
    return {
        "capacity": room(host),
        "allocatable": room(host),
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "LeaseBound",
                "message": "the lease is bound in the host cluster",
                "lastHeartbeatTime": at,
                "lastTransitionTime": at,
            }
        ],
        "nodeInfo": {
            "architecture": "amd64",
            "bootID": "",
            "containerRuntimeVersion": "",
            "kernelVersion": "",
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.0-bidplane",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "bidplane",
            "systemUUID": "",
        },
    }


def node_stands(found: Object | None, lease: LeaseChanged, host: LeasedNode) -> bool:
    """Whether the Node is ready, of the right size, and tainted as the lease's state asks."""
    if found is None:
        return False
    seen = found.get("status") or {}
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in seen.get("conditions") or ()
    )
    sized = {name: seen.get("capacity", {}).get(name) for name in room(host)}
    keys = {(one["key"], one["effect"]) for one in (found.get("spec") or {}).get("taints") or ()}
    wanted = {(one["key"], one["effect"]) for one in taints(lease)}
    kept = found["metadata"].get("annotations") or {}
    noted = all(kept.get(name, "") == text for name, text in notes(lease).items())
    return ready and noted and keys == wanted and _same_room(sized, room(host))


def _same_room(found: dict[str, Any], wanted: dict[str, str]) -> bool:
    # The server writes 2000m as 2: compare amounts, not words.

    return all(
        quantities.number(found[name], 1000) == quantities.number(wanted[name], 1000)
        for name in wanted
    )


def slices(lease: LeaseChanged, number: int, host: LeasedNode) -> list[Object]:
    """One ResourceSlice per driver, whose devices are called as the host claim's requests."""
    by_driver: dict[str, list[Object]] = {}
    for index, device in enumerate(names.devices(lease, host.node)):
        by_driver.setdefault(device.driver, []).append(_device(index, device))
    name = names.piece(lease.lease_id, number)
    return [
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{name}-{driver}", "labels": {names.LEASE: lease.lease_id}},
            "spec": {
                "driver": driver,
                "nodeName": name,
                "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
                "devices": devices,
            },
        }
        for driver, devices in sorted(by_driver.items())
    ]


def _device(index: int, device: LeasedDevice) -> Object:
    attributes = {"type": {"string": _kind(device)}, "hostDevice": {"string": device.name}}
    if device.uuid:
        attributes["uuid"] = {"string": device.uuid}
    if device.profile:
        attributes["profile"] = {"string": device.profile.partition(".")[0]}
    if device.share is not None:
        attributes["isolation"] = {"string": device.share.isolation[:64]}
    return {"name": names.request(index), "attributes": attributes}


def _kind(device: LeasedDevice) -> str:
    if device.share is not None:
        return "shared"
    if device.profile:
        return "mig"
    if device.driver == names.GPU_DRIVER:
        return "gpu"
    return "nic" if device.device_class == names.NIC_CLASS else "device"


def slice_stands(found: Object | None, wanted: Object) -> bool:
    """Whether the slice lists just these devices."""
    if found is None:
        return False
    spec = found["spec"]
    return all(
        spec.get(field) == wanted["spec"][field] for field in ("driver", "nodeName", "devices")
    )
