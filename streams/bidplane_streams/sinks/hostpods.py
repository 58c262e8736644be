"""From a pod of an agent to a pod of the host: built from an allow-list, never copied. Pure.

Decides what of a pod is carried over, which leased devices its containers get, and how much of the
lease's share. Everything that is not listed is refused by name, so an agent learns what is not
supported yet and nothing slips through. The lease is the authority: an agent is admin of its own
cluster and could write any allocation there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from bidplane_streams import quantities
from bidplane_streams.sinks import claims_objects, names, podstatus
from bidplane_topics.leases import LeaseChanged, LeasedNode

Object = dict[str, Any]

CLAIM: Final = "lease"
MOST_CONSUMERS: Final = 250
SPEC_BYTES_MAX: Final = 32 * 1024
EXTENDED: Final = "nvidia.com/"
RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
LEAST: Final = {"cpu": 10, "memory": 16 * quantities.MIB, "ephemeral-storage": 16 * quantities.MIB}

# What the agent's own scheduler and server use, and the host has no use for.
_CONSUMED: Final = frozenset(
    {
        "nodeName", "nodeSelector", "affinity", "tolerations", "schedulerName", "priority",
        "priorityClassName", "preemptionPolicy", "topologySpreadConstraints", "schedulingGates",
        "serviceAccountName", "serviceAccount", "automountServiceAccountToken",
        "enableServiceLinks",
    }
)  # fmt: skip
_CARRIED: Final = ("restartPolicy", "terminationGracePeriodSeconds", "hostname")
_JUDGED: Final = frozenset({"containers", "volumes", "resourceClaims", "dnsPolicy"})
_CONTAINER_CARRIED: Final = ("name", "image", "command", "args", "workingDir", "imagePullPolicy")
_CONTAINER_CONSUMED: Final = frozenset({"terminationMessagePath", "terminationMessagePolicy"})
_CONTAINER_JUDGED: Final = frozenset({"env", "resources", "volumeMounts", "ports"})


class Unsupported(NamedTuple):
    """The pod will not run as it is; why, one sentence each."""

    reasons: tuple[str, ...]


class Waiting(NamedTuple):
    """The pod may run later; why not now."""

    reason: str


class Place(NamedTuple):
    """Where a pod goes: the lease and its ``number``-th host node."""

    lease: LeaseChanged
    number: int
    host: LeasedNode

    @property
    def piece(self) -> str:
        """The name of the host claim, and of the agent's node."""
        return names.piece(self.lease.lease_id, self.number)


def translate(
    pod: Object, place: Place, claims: Mapping[tuple[str, str], Object], others: Iterable[Object]
) -> Object | Unsupported | Waiting:
    """The host pod for a virtual pod, or why there is none.

    ``claims`` are the virtual cluster's ResourceClaims; ``others`` the host pods on the same piece.
    """
    reasons = oversized(pod["spec"]) or unsupported(pod["spec"])
    if reasons:
        return Unsupported(tuple(reasons))
    devices = requests(pod, place, claims)
    if isinstance(devices, (Unsupported, Waiting)):
        return devices
    built = _build(pod, place, devices, limits(pod, place, devices))
    crowded = crowding(built, place, others)
    return Waiting(crowded) if crowded else built


def crowding(built: Object, place: Place, others: Iterable[Object]) -> str:
    """Why a host pod has no room in its piece of the lease beside ``others``; empty if it has."""
    others = list(others)
    if len(others) >= MOST_CONSUMERS:
        return f"{MOST_CONSUMERS} pods use this part of the lease already"
    return _short(built, place, others)


def is_on(host: Object, place: Place) -> bool:
    """Whether a host pod uses this piece of the lease, and has not come to its end."""
    labels = host["metadata"].get("labels") or {}
    return (
        labels.get(names.LEASE) == place.lease.lease_id
        and host["spec"].get("nodeName") == place.host.node
        and (host.get("status") or {}).get("phase", "") not in podstatus.TERMINAL
    )


def oversized(spec: Object) -> list[str]:
    """Why the host's datastore shall not hold it: it is shared, and an agent's own is not."""
    size = len(orjson.dumps(spec))
    if size <= SPEC_BYTES_MAX:
        return []
    return [f"its spec has {size} bytes: at most {SPEC_BYTES_MAX} are carried to the host"]


def unsupported(spec: Object) -> list[str]:
    """What the pod asks for that is not supported yet."""
    known = _CONSUMED | _JUDGED | set(_CARRIED)
    reasons = [
        f"{name} is not supported yet" for name in sorted(spec) if spec[name] and name not in known
    ]
    if spec.get("dnsPolicy", "ClusterFirst") not in {"ClusterFirst", "Default"}:
        reasons.append(f"dnsPolicy {spec['dnsPolicy']} is not supported yet")
    tokens = set()
    for volume in spec.get("volumes") or ():
        if _is_token(volume):
            tokens.add(volume["name"])
        else:
            kind = next((key for key in volume if key != "name"), "emptyDir")
            reasons.append(f"volume {volume['name']} ({kind}) is not supported yet")
    for container in spec["containers"]:
        reasons += _container_reasons(container, tokens)
    return reasons


def _is_token(volume: Object) -> bool:
    # What the ServiceAccount admission adds by itself; the host pod gets no token at all.
    projected = volume.get("projected") or {}
    return volume["name"].startswith("kube-api-access-") and any(
        "serviceAccountToken" in source for source in projected.get("sources") or ()
    )


def _container_reasons(container: Object, tokens: set[str]) -> list[str]:
    where = f"container {container['name']}"
    known = _CONTAINER_CONSUMED | _CONTAINER_JUDGED | set(_CONTAINER_CARRIED)
    reasons = [
        f"{where}: {name} is not supported yet"
        for name in sorted(container)
        if container[name] and name not in known
    ]
    reasons += [
        f"{where}: env {one['name']} from elsewhere is not supported yet"
        for one in container.get("env") or ()
        if one.get("valueFrom")
    ]
    reasons += [
        f"{where}: hostPort is not supported yet"
        for one in container.get("ports") or ()
        if one.get("hostPort")
    ]
    reasons += [
        f"{where}: mount of {one['name']} is not supported yet"
        for one in container.get("volumeMounts") or ()
        if one["name"] not in tokens
    ]
    asked = container.get("resources") or {}
    names_asked = set(asked.get("limits") or {}) | set(asked.get("requests") or {})
    reasons += [
        f"{where}: resource {name} is not supported yet"
        for name in sorted(names_asked)
        if name not in RESOURCES and not name.startswith(EXTENDED)
    ]
    return reasons


def requests(
    pod: Object, place: Place, claims: Mapping[tuple[str, str], Object]
) -> dict[str, list[str]] | Unsupported | Waiting:
    """Per container, the requests of the host claim that its virtual claims were allocated."""
    space = pod["metadata"]["namespace"]
    found: dict[str, list[str]] = {one["name"]: [] for one in pod["spec"]["containers"]}
    for container, claim_name, request in _wants(pod):
        claim = claims.get((space, claim_name))
        results = [] if claim is None else claims_objects.allocated(claim)
        if not results:
            return Waiting(f"claim {claim_name or 'of this pod'} is not allocated yet")
        for asked, driver, pool, device in results:
            if request and asked != request and not asked.startswith(f"{request}/"):
                continue
            leased = _leased(place, driver, pool, device)
            if not leased:
                return Unsupported((f"device {device} of {pool} is not part of this lease",))
            for one in (leased, *_companions(place, leased)):
                if one not in found[container]:
                    found[container].append(one)
    return found


def _companions(place: Place, request: str) -> list[str]:
    """What comes along with a device of a bundle: a container that gets it gets these too."""
    devices = names.devices(place.lease, place.host.node)
    by_request = {names.request(index): device for index, device in enumerate(devices)}
    name = by_request[request].name
    return [one for one, device in by_request.items() if device.companion_of == name]


def _wants(pod: Object) -> list[tuple[str, str, str]]:
    """(container, virtual claim, request or empty for all) of everything a pod's containers use."""
    spec, status = pod["spec"], pod.get("status") or {}
    made = {
        one["name"]: one.get("resourceClaimName", "")
        for one in status.get("resourceClaimStatuses") or ()
    }
    claim_of = {
        one["name"]: one.get("resourceClaimName") or made.get(one["name"], "")
        for one in spec.get("resourceClaims") or ()
    }
    wants = [
        (container["name"], claim_of.get(one["name"], ""), one.get("request", ""))
        for container in spec["containers"]
        for one in (container.get("resources") or {}).get("claims") or ()
    ]
    extended = status.get("extendedResourceClaimStatus") or {}
    mapped = extended.get("requestMappings") or ()
    wants += [
        (one["containerName"], extended["resourceClaimName"], one["requestName"]) for one in mapped
    ]
    covered = {(one["containerName"], one["resourceName"]) for one in mapped}
    wants += [
        (container["name"], "", "")
        for container in spec["containers"]
        for name in (container.get("resources") or {}).get("limits") or ()
        if name.startswith(EXTENDED) and (container["name"], name) not in covered
    ]
    return wants


def _leased(place: Place, driver: str, pool: str, device: str) -> str:
    """The host claim's request for a virtual device; empty where the lease holds no such device."""
    if pool != place.piece:
        return ""
    for index, leased in enumerate(names.devices(place.lease, place.host.node)):
        if names.request(index) == device and leased.driver == driver:
            return device
    return ""


def limits(
    pod: Object, place: Place, devices: Mapping[str, list[str]]
) -> dict[str, dict[str, int]]:
    """Per container, milli-CPUs and bytes: as asked, else in proportion to the devices it uses."""
    leased = names.devices(place.lease, place.host.node)
    counted = {names.request(at) for at, one in enumerate(leased) if not one.companion_of}
    whole = max(1, len(counted))
    share = _share(place.host)
    found = {}
    for container in pod["spec"]["containers"]:
        asked = container.get("resources") or {}
        part = len(counted.intersection(devices[container["name"]]))
        found[container["name"]] = {
            name: _asked(asked, name) or max(LEAST[name], share[name] * part // whole)
            for name in RESOURCES
        }
    return found


def _asked(resources: Object, name: str) -> int:
    text = (resources.get("limits") or {}).get(name) or (resources.get("requests") or {}).get(name)
    return quantities.number(text, _scale(name)) if text else 0


def _scale(name: str) -> int:
    return 1000 if name == "cpu" else 1


def _share(host: LeasedNode) -> dict[str, int]:
    return {
        "cpu": host.cpu_millis,
        "memory": host.memory_mib * quantities.MIB,
        "ephemeral-storage": host.ephemeral_mib * quantities.MIB,
    }


def _short(built: Object, place: Place, others: Iterable[Object]) -> str:
    used = dict.fromkeys(RESOURCES, 0)
    for other in others:
        for name in RESOURCES:
            used[name] += _amount(other, name)
    share = _share(place.host)
    for name in RESOURCES:
        wanted = _amount(built, name)
        if used[name] + wanted > share[name]:
            return (
                f"the lease's share of {name} on this node is {share[name]},"
                f" {used[name]} of it used; this pod needs {wanted}"
            )
    return ""


def _amount(host: Object, name: str) -> int:
    containers = host["spec"]["containers"]
    return sum(_asked(container.get("resources") or {}, name) for container in containers)


def _build(
    pod: Object,
    place: Place,
    devices: Mapping[str, list[str]],
    amounts: Mapping[str, Mapping[str, int]],
) -> Object:
    meta, spec = pod["metadata"], pod["spec"]
    lease = place.lease
    notes = {names.VIRTUAL_NAMESPACE: meta["namespace"], names.VIRTUAL_POD: meta["name"]}
    simulated = names.annotation(pod, names.SIMULATE)
    if simulated:
        notes[names.SIMULATE] = simulated
    built: Object = {
        "nodeName": place.host.node,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **{name: spec[name] for name in _CARRIED if spec.get(name) is not None},
        "containers": [
            _container(one, devices[one["name"]], amounts[one["name"]])
            for one in spec["containers"]
        ],
    }
    if any(devices.values()):
        built["resourceClaims"] = [{"name": CLAIM, "resourceClaimName": place.piece}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.host_pod(meta["namespace"], meta["name"]),
            "namespace": claims_objects.namespace_of(lease),
            "labels": {
                names.LEASE: lease.lease_id,
                names.MARKET: lease.market,
                names.TENANT: lease.tenant,
                names.AGENT: lease.agent,
                names.VIRTUAL_UID: meta["uid"],
            },
            "annotations": notes,
        },
        "spec": built,
    }


def _container(container: Object, devices: list[str], amounts: Mapping[str, int]) -> Object:
    written = {
        "cpu": f"{amounts['cpu']}m",
        "memory": str(amounts["memory"]),
        "ephemeral-storage": str(amounts["ephemeral-storage"]),
    }
    resources: Object = {"limits": written, "requests": dict(written)}
    if devices:
        resources["claims"] = [{"name": CLAIM, "request": one} for one in devices]
    built = {name: container[name] for name in _CONTAINER_CARRIED if container.get(name)}
    env = [
        {"name": one["name"], "value": one.get("value", "")} for one in container.get("env") or ()
    ]
    return built | ({"env": env} if env else {}) | {"resources": resources}
