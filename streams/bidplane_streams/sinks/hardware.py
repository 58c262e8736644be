"""What the ResourceSlices of a cluster say, as devices by address.

Decides which slices count: those of a pool's newest generation, and only once all of them are
there. Refuses to know who uses a device. Shared by the claims sink; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

Address = tuple[str, str, str]
HARMFUL: Final = ("NoSchedule", "NoExecute")


class Slot(NamedTuple):
    """A device as a slice lists it: its identity, and the taint that forbids its use, if any.

    ``shared``: several claims may hold it at once.
    """

    uuid: str
    taint: str
    shared: bool = False


class Hardware(NamedTuple):
    """Devices by (driver, pool, name), and the pools of which some slices are still missing."""

    devices: Mapping[Address, Slot]
    incomplete: frozenset[tuple[str, str]]


def project(found: dict[str, Any]) -> dict[str, Any]:
    """A slice with only what ``read`` needs: a node's slices hold hundreds of attributes."""
    spec = found["spec"]
    return {
        "metadata": {key: found["metadata"][key] for key in ("name", "resourceVersion")},
        "driver": spec["driver"],
        "pool": spec["pool"],
        "devices": [(d["name"], _slot(spec["driver"], d)) for d in spec.get("devices") or ()],
    }


def read(slices: Iterable[dict[str, Any]]) -> Hardware:
    """Devices of complete pools from projected slices."""
    pools: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in slices:
        pools.setdefault((one["driver"], one["pool"]["name"]), []).append(one)
    devices: dict[Address, Slot] = {}
    incomplete = set()
    for (driver, pool), members in pools.items():
        newest = current([(one["pool"], one) for one in members])
        if newest is None:
            incomplete.add((driver, pool))
            continue
        for one in newest:
            devices.update({(driver, pool, name): slot for name, slot in one["devices"]})
    return Hardware(devices, frozenset(incomplete))


def current(members: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """The members of the newest generation, from (pool of the spec, member); None if some miss."""
    newest = max(pool["generation"] for pool, _ in members)
    chosen = [(pool, one) for pool, one in members if pool["generation"] == newest]
    wanted = chosen[0][0]["resourceSliceCount"]
    return [one for _, one in chosen] if len(chosen) == wanted else None


def uuid(driver: str, device: dict[str, Any]) -> str:
    """The device's uuid attribute, qualified by its driver or not; empty where there is none."""
    attributes = device.get("attributes") or {}
    value = attributes.get("uuid") or attributes.get(f"{driver}/uuid") or {}
    return str(value.get("string", ""))


def taint(device: dict[str, Any]) -> str:
    """The key of the first taint that forbids use; empty where there is none."""
    for one in device.get("taints") or ():
        if one.get("effect") in HARMFUL:
            return str(one["key"])
    return ""


def _slot(driver: str, device: dict[str, Any]) -> Slot:
    shared = bool(device.get("allowMultipleAllocations"))
    return Slot(uuid(driver, device), taint(device), shared)
