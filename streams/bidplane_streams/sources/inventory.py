"""The inventory source: what ResourceSlices and Nodes say becomes the market's supply.

Decides which devices may be sold: those of ready, schedulable nodes, in complete slice generations,
without a harmful taint and without a foreign allocation. Refuses to know leases. Level-triggered:
it reads what was published before, and publishes only differences, so a restart makes no noise.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bidplane_streams import quantities
from bidplane_topics.supply import Device, NodeOffered, NodeWithdrawn, Partition, Profile

Object = dict[str, Any]
Supply = NodeOffered | NodeWithdrawn
Address = tuple[str, str, str]

RACK: Final = "bidplane.io/rack"
GPU_CLASS: Final = "gpu.nvidia.com"
NIC_CLASS: Final = "nic.bidplane.io"
# Memory slices of a plain partition.
PROFILES: Final[dict[Profile, int]] = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
PLAIN: Final[dict[str, Profile]] = {profile: profile for profile in PROFILES}
HARMFUL: Final = ("NoSchedule", "NoExecute")
KEPT: Final = ("productName", "memory", "architecture", "pcieRoot", "numaNode", "model", "domain")

_DIGITS: Final = re.compile(r"(\d+)")


def offers(
    market: str, nodes: Iterable[Object], slices: Iterable[Object], foreign: frozenset[Address]
) -> dict[str, Supply]:
    """What may be sold now, by node, from projected nodes and slices (``project_*``).

    ``foreign`` holds (driver, pool, name) of devices that somebody else has allocated.
    """
    by_node: dict[str, list[Object]] = {}
    for one in slices:
        by_node.setdefault(one["node"], []).append(one)
    return {
        node["name"]: _offer(market, node, by_node.get(node["name"], []), foreign) for node in nodes
    }


def changes(market: str, now: Mapping[str, Supply], before: Mapping[str, Supply]) -> list[Supply]:
    """What must be published so that the topic says what is true."""
    found = [
        event
        for node, event in sorted(now.items())
        if event != before.get(node)
        # A node that never was offered need not be withdrawn.
        and not (node not in before and isinstance(event, NodeWithdrawn))
    ]
    for node, event in sorted(before.items()):
        if node not in now and isinstance(event, NodeOffered):
            found.append(NodeWithdrawn(market=market, node=node, reason="gone"))
    return found


def project_node(found: Object) -> Object:
    """A node with only what an offer needs."""
    meta, status = found["metadata"], found.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    taints = (found.get("spec") or {}).get("taints") or ()
    return {
        "metadata": {key: meta[key] for key in ("name", "resourceVersion")},
        "name": meta["name"],
        "labels": meta.get("labels") or {},
        "ready": conditions.get("Ready") == "True",
        "cordoned": bool((found.get("spec") or {}).get("unschedulable")),
        # Not-ready and unreachable are told by the condition, which says so first.
        "taints": [
            one["key"]
            for one in taints
            if one.get("effect") in HARMFUL and not one["key"].startswith("node.kubernetes.io/")
        ],
        "allocatable": status.get("allocatable") or {},
    }


def project_slice(found: Object) -> Object:
    """A slice with only what an offer needs."""
    spec, meta = found["spec"], found["metadata"]
    return {
        "metadata": {key: meta[key] for key in ("name", "resourceVersion")},
        "node": spec.get("nodeName", ""),
        "driver": spec["driver"],
        "pool": spec["pool"],
        "devices": [_facts(spec["driver"], device) for device in spec.get("devices") or ()],
    }


def _facts(driver: str, device: Object) -> Object:
    attributes: dict[str, str | int] = {}
    for name, value in (device.get("attributes") or {}).items():
        fact = next(iter(value.values()))
        # driver/uuid and uuid are the same attribute; pcieRoot comes under Kubernetes' own domain.
        attributes[name.rpartition("/")[2]] = fact if isinstance(fact, (str, int)) else str(fact)
    memory = (device.get("capacity") or {}).get("memory")
    if memory is not None and "memory" not in attributes:
        attributes["memory"] = str(memory["value"])
    return {
        "name": device["name"],
        "driver": driver,
        "attributes": attributes,
        "slices": _memory_slices(device),
        "tainted": any(one.get("effect") in HARMFUL for one in device.get("taints") or ()),
    }


def _memory_slices(device: Object) -> list[int]:
    found = [
        int(name.rpartition("-")[2])
        for use in device.get("consumesCounters") or ()
        for name in use.get("counters") or {}
        if name.startswith("memory-slice-")
    ]
    return sorted(found)


def _offer(market: str, node: Object, slices: list[Object], foreign: frozenset[Address]) -> Supply:
    obstacle = _obstacle(node)
    devices = [] if obstacle else _current(slices)
    if devices is None:
        obstacle = "its slices are incomplete"
    elif not obstacle:
        found = _devices(node, devices, foreign)
        if found:
            return _offered(market, node, found)
        obstacle = "it has no free device"
    return NodeWithdrawn(market=market, node=node["name"], reason=obstacle)


def _obstacle(node: Object) -> str:
    if not node["ready"]:
        return "it is not ready"
    if node["cordoned"]:
        return "it is cordoned"
    return f"it is tainted: {node['taints'][0]}" if node["taints"] else ""


def _offered(market: str, node: Object, devices: list[Device]) -> NodeOffered:
    room = node["allocatable"]
    return NodeOffered(
        market=market,
        node=node["name"],
        devices=tuple(devices),
        cpu_millis=quantities.number(room.get("cpu", "0"), 1000),
        memory_mib=quantities.number(room.get("memory", "0")) // quantities.MIB,
        ephemeral_mib=quantities.number(room.get("ephemeral-storage", "0")) // quantities.MIB,
    )


def _current(slices: list[Object]) -> list[tuple[str, Object]] | None:
    """(pool, device) of every pool's newest generation; None where one is incomplete."""
    pools: dict[tuple[str, str], list[Object]] = {}
    for one in slices:
        pools.setdefault((one["driver"], one["pool"]["name"]), []).append(one)
    devices = []
    for (_, pool), members in sorted(pools.items()):
        newest = max(one["pool"]["generation"] for one in members)
        chosen = [one for one in members if one["pool"]["generation"] == newest]
        if len(chosen) != chosen[0]["pool"]["resourceSliceCount"]:
            return None
        devices += [(pool, device) for one in chosen for device in one["devices"]]
    return devices


def _devices(
    node: Object, found: list[tuple[str, Object]], foreign: frozenset[Address]
) -> list[Device]:
    parts: dict[str, list[tuple[str, Object]]] = {}
    for pool, one in found:
        if one["attributes"].get("type") == "mig":
            parent = str(one["attributes"].get("parentUUID", ""))
            parts.setdefault(parent, []).append((pool, one))
    devices = []
    for pool, one in found:
        if one["attributes"].get("type") == "mig" or one["tainted"]:
            continue
        mine = parts.get(str(one["attributes"].get("uuid", "")), [])
        # Somebody else's slice makes the whole device theirs: it shares its counters.
        together = [(pool, one), *mine]
        if any((d["driver"], p, d["name"]) in foreign for p, d in together):
            continue
        devices.append(_device(node, pool, one, [part for _, part in mine]))
    return sorted(devices, key=lambda device: (device.driver, natural(device.name)))


def _device(node: Object, pool: str, one: Object, parts: list[Object]) -> Device:
    facts = dict(one["attributes"])
    if RACK in node["labels"]:
        facts["domain"] = node["labels"][RACK]
    is_gpu = facts.get("type") == "gpu" or one["driver"] == GPU_CLASS
    return Device(
        name=one["name"],
        driver=one["driver"],
        pool=pool,
        uuid=str(facts.get("uuid", "")),
        device_class=GPU_CLASS if is_gpu else NIC_CLASS,
        attributes={name: facts[name] for name in KEPT if name in facts},
        partitions=_partitions(parts),
    )


def _partitions(parts: list[Object]) -> tuple[Partition, ...]:
    """The plain partitions; variants with extra memory or media engines are not sold."""
    found: dict[tuple[Profile, int], Partition] = {}
    for one in sorted(parts, key=lambda part: natural(part["name"])):
        facts, slices = one["attributes"], one["slices"]
        profile = PLAIN.get(str(facts.get("profile", "")).partition(".")[0])
        odd = "+" in str(facts.get("profile", "")) or one["tainted"]
        if odd or profile is None or (slices and len(slices) != PROFILES[profile]):
            continue
        start = facts.get("placementStart", slices[0] if slices else None)
        if isinstance(start, int) and facts.get("uuid"):
            found.setdefault(
                (profile, start),
                Partition(name=one["name"], uuid=str(facts["uuid"]), profile=profile, start=start),
            )
    return tuple(found[key] for key in sorted(found))


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which gpu-2 comes before gpu-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name)]
