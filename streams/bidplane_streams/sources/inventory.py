"""The inventory source: what ResourceSlices and Nodes say becomes the market's supply.

Decides which nodes are sold from: ready, schedulable ones, with complete slice generations. What of
their devices is sold, and how, is ``sellable``'s. Refuses to know leases. Level-triggered: it reads
what was published before, and publishes only differences, so a restart makes no noise. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bidplane_streams import quantities
from bidplane_streams.sources import sellable
from bidplane_streams.sources.sellable import Address, Choice, Listed, Object
from bidplane_topics.supply import Device, NodeOffered, NodeWithdrawn

Supply = NodeOffered | NodeWithdrawn

HARMFUL: Final = ("NoSchedule", "NoExecute")
PLAIN: Final = Choice()
_FINEST: Final = 1_000_000


def offers(
    market: str, nodes: Iterable[Object], slices: Iterable[Object], foreign: frozenset[Address],
    choice: Choice = PLAIN,
) -> dict[str, Supply]:  # fmt: skip
    """What may be sold now, by node, from projected nodes and slices (``project_*``).

    ``foreign`` holds (driver, pool, name) of devices that somebody else has allocated.
    """
    by_node: dict[str, list[Object]] = {}
    for one in slices:
        by_node.setdefault(one["node"], []).append(one)
    return {
        node["name"]: _offer(market, node, by_node.get(node["name"], []), foreign, choice)
        for node in nodes
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
        "counters": bool(device.get("consumesCounters")),
        "multiple": bool(device.get("allowMultipleAllocations")),
        "capacity": {name: _shared(one) for name, one in (device.get("capacity") or {}).items()},
        "tainted": any(one.get("effect") in HARMFUL for one in device.get("taints") or ()),
    }


def _shared(capacity: Object) -> tuple[str, int]:
    """What a request takes that does not say how much, and how often that fits.

    Without a default it is all: a request that names no amount takes the whole capacity.
    """
    default = str((capacity.get("requestPolicy") or {}).get("default") or capacity["value"])
    each = quantities.number(default, _FINEST)
    return default, quantities.number(capacity["value"], _FINEST) // each if each else 0


def _memory_slices(device: Object) -> list[int]:
    found = [
        int(name.rpartition("-")[2])
        for use in device.get("consumesCounters") or ()
        for name in use.get("counters") or {}
        if name.startswith("memory-slice-")
    ]
    return sorted(found)


def _offer(
    market: str, node: Object, slices: list[Object], foreign: frozenset[Address], choice: Choice
) -> Supply:
    obstacle = _obstacle(node)
    devices = [] if obstacle else _current(slices)
    if devices is None:
        obstacle = "its slices are incomplete"
    elif len(devices) != len({(pool, one["driver"], one["name"]) for pool, one in devices}):
        obstacle = "its slices list a device twice"
    elif not obstacle:
        found = sellable.devices(node["labels"], devices, foreign, choice)
        if found:
            return _offered(market, node, found)
        obstacle = "it has no free device"
        if choice.companion:
            obstacle += f", or none beside a {choice.companion} on its PCIe root"
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


def _current(slices: list[Object]) -> list[Listed] | None:
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
