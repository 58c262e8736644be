"""The objects that a lease becomes in the host cluster, and when they stand as they should. Pure.

One ResourceClaim per node of the lease; one request per device, selected by its uuid; an allocation
that we write; an anchor in ``reservedFor`` without which the scheduler might move an unused
allocation.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

from bidplane_streams.sinks import names
from bidplane_topics import ids
from bidplane_topics.leases import LeaseChanged, LeasedDevice, LeasedNode

Object = dict[str, Any]
# (request, driver, pool, device, shareID); the last is empty where a device is allocated whole.
Place = tuple[str, str, str, str, str]


def timestamp(at_ms: int) -> str:
    """Milliseconds as Kubernetes writes time."""
    moment = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def namespace_of(lease: LeaseChanged) -> str:
    """The host namespace in which the lease's claims live."""
    return names.namespace(lease.tenant, lease.agent)


def namespace(lease: LeaseChanged) -> Object:
    """The agent's namespace: no privileged pods."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace_of(lease),
            "labels": {
                names.TENANT: lease.tenant,
                names.AGENT: lease.agent,
                "pod-security.kubernetes.io/enforce": "baseline",
            },
        },
    }


def silence(lease: LeaseChanged) -> Object:
    """A NetworkPolicy that lets nobody else talk to the agent's pods."""
    own: list[Object] = [{"podSelector": {}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "bidplane-default", "namespace": namespace_of(lease)},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": own}]},
    }


def anchor(lease: LeaseChanged) -> Object:
    """The DeviceLease that reserves the lease's claims."""
    return {
        "apiVersion": "bidplane.io/v1",
        "kind": "DeviceLease",
        "metadata": {
            "name": lease.lease_id,
            "namespace": namespace_of(lease),
            "labels": {names.LEASE: lease.lease_id},
            "annotations": marks(lease),
        },
        "spec": {
            "market": lease.market,
            "agent": ids.agent_id(lease.tenant, lease.agent),
            "shape": lease.shape,
            "devices": len(lease.devices),
        },
    }


def marks(lease: LeaseChanged) -> dict[str, str]:
    """The marks by which a sink knows its own objects and their fencing epoch."""
    return {
        names.LEASE: lease.lease_id,
        names.AGENT: ids.agent_id(lease.tenant, lease.agent),
        names.MARKET: lease.market,
        names.EPOCH: str(lease.epoch),
        names.EXPIRES: expires(lease),
    }


def expires(lease: LeaseChanged) -> str:
    """When the lease ends, as it is written on its claims; empty until it is bound."""
    return timestamp(lease.ends_at_ms) if lease.ends_at_ms else ""


def claim(lease: LeaseChanged, number: int, node: LeasedNode) -> Object:
    """The claim of the lease's ``number``-th node, not yet allocated."""
    devices = names.devices(lease, node.node)
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": names.piece(lease.lease_id, number),
            "namespace": namespace_of(lease),
            "labels": {names.LEASE: lease.lease_id},
            "annotations": marks(lease),
            "finalizers": list(names.FINALIZERS),
        },
        "spec": {"devices": {"requests": [_request(i, one) for i, one in enumerate(devices)]}},
    }


def _request(number: int, device: LeasedDevice) -> Object:
    exactly: Object = {"deviceClassName": device_class(device)}
    if device.uuid:
        driver, uuid = json.dumps(device.driver), json.dumps(device.uuid)
        expression = f"device.driver == {driver} && device.attributes[{driver}].uuid == {uuid}"
        exactly["selectors"] = [{"cel": {"expression": expression}}]
    if device.share is not None and device.share.consumes:
        exactly["capacity"] = {"requests": dict(device.share.consumes)}
    return {"name": names.request(number), "exactly": exactly}


def device_class(device: LeasedDevice) -> str:
    """The class to claim it by: a slice is sold under its parent's, but claimed under its own."""
    is_slice = bool(device.profile) and device.device_class == names.GPU_CLASS
    return names.MIG_CLASS if is_slice else device.device_class


def results(lease: LeaseChanged, node: LeasedNode) -> list[Object]:
    """The devices of the allocation, request by request."""
    found = []
    for number, device in enumerate(names.devices(lease, node.node)):
        one: Object = {
            "request": names.request(number),
            "driver": device.driver,
            "pool": device.pool,
            "device": device.name,
        }
        if device.share is not None:
            one |= {"shareID": share_id(device), "consumedCapacity": dict(device.share.consumes)}
        found.append(one)
    return found


def share_id(device: LeasedDevice) -> str:
    """What tells a share's allocation from the others on its device; empty for a whole device.

    It follows from the share, so the same share can never stand twice.
    """
    if device.share is None:
        return ""
    words = (device.driver, device.pool, device.name, str(device.share.index))
    return str(uuid.UUID(ids.digest("share", *words)[:32], version=4))


def status(lease: LeaseChanged, node: LeasedNode, anchor_uid: str, at_ms: int) -> Object:
    """The claim's status: allocated, and reserved by the anchor.

    Without ``allocationTimestamp`` a pod's PreBind fails.
    """
    field = {"key": "metadata.name", "operator": "In", "values": [node.node]}
    return {
        "allocation": {
            "allocationTimestamp": timestamp(at_ms),
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]},
            "devices": {"results": results(lease, node)},
        },
        "reservedFor": [
            {
                "apiGroup": "bidplane.io",
                "resource": "deviceleases",
                "name": lease.lease_id,
                "uid": anchor_uid,
            }
        ],
    }


def is_ours(found: Object, market: str) -> bool:
    """Whether this market's sink made the claim: by two marks, since one may be an accident."""
    meta = found["metadata"]
    return (
        bool(names.lease_of(found))
        and names.annotation(found, names.MARKET) == market
        and names.OUR_FINALIZER in (meta.get("finalizers") or ())
    )


def allocated_places(found: Object) -> list[Place]:
    """What an allocation holds; empty where there is none."""
    allocation = (found.get("status") or {}).get("allocation") or {}
    return [
        (one["request"], one["driver"], one["pool"], one["device"], one.get("shareID") or "")
        for one in (allocation.get("devices") or {}).get("results") or ()
    ]


def allocated(found: Object) -> list[tuple[str, str, str, str]]:
    """(request, driver, pool, device) of an allocation; empty where there is none."""
    return [place[:4] for place in allocated_places(found)]


def places(lease: LeaseChanged, node: LeasedNode) -> list[Place]:
    """What the claim of one of the lease's nodes shall hold."""
    return [
        (names.request(number), one.driver, one.pool, one.name, share_id(one))
        for number, one in enumerate(names.devices(lease, node.node))
    ]


def stands(found: Object | None, lease: LeaseChanged, node: LeasedNode) -> bool:
    """Whether the claim is allocated to the lease's devices, anchored, and of the lease's epoch."""
    return stands_on(found, str(lease.epoch), places(lease, node))


def stands_on(found: Object | None, epoch: str, wanted: list[Place]) -> bool:
    """Whether the claim is allocated to these places, anchored, and of this epoch."""
    if found is None or names.annotation(found, names.EPOCH) != epoch:
        return False
    reserved = (found.get("status") or {}).get("reservedFor") or ()
    anchored = any(one.get("resource") == "deviceleases" for one in reserved)
    return anchored and allocated_places(found) == wanted
