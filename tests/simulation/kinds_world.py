"""A world whose nodes sell bundles, shares, static slices and FPGAs, and change how as they like.

Decides what is offered; everything else is as in ``audit_world``. Also ways to falsify such a log.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
from msgspec.structs import replace

from bidplane_topics import bids, registry, supply
from simulation.audit_mutants import Mutant, Records, body
from simulation.audit_world import World

NIC = "nic.bidplane.io"
FPGA = "fpga.example.com"
SHARES = 3
GPU_WAYS = ("plain", "plain", "bundle", "bundle", "shares", "static")


class KindsWorld(World):
    """Every offer of a node cuts its GPUs anew."""

    ways: list[tuple[bids.Selector, bids.Shape]] = [
        ({}, "1"), ({}, "2"), ({"companions": NIC}, "1"), ({"companions": NIC}, "2"),
        ({"isolation": "none: time-sliced"}, "1"), ({"device_class": "mig.nvidia.com"}, "1"),
        ({"profile": "1g.10gb"}, "2"), ({"device_class": FPGA}, "1"), ({"device_class": NIC}, "1"),
        ({"isolation": bids.Condition(one_of=("none: time-sliced",))}, "2"),
        ({"device_class": "gpu.nvidia.com", "profile": "1g.10gb"}, "1"),
    ]  # fmt: skip

    def _node(self, market: str, number: int) -> supply.NodeOffered:
        node = f"{market}-node-{number}"
        devices = [self._plain(node, FPGA, "fpga", 0, carries=supply.WHOLE)]
        for index in range(6):
            nic = self._plain(node, NIC, "nic", index)
            gpu = replace(self._gpu(node, index, "H100"), carries=supply.WHOLE)
            how = self.random.choice(GPU_WAYS)
            if how == "bundle":
                beside = supply.Companion(
                    name=nic.name, driver=NIC, pool=node, uuid=nic.uuid, device_class=NIC
                )
                devices.append(replace(gpu, companions=(beside,)))
            else:
                devices += [nic, *_cut(gpu, how)]
        return supply.NodeOffered(
            market=market, node=node, devices=tuple(devices), cpu_millis=64_000,
            memory_mib=512_000, ephemeral_mib=1_000,
        )  # fmt: skip

    def _plain(
        self, node: str, driver: str, kind: str, index: int, carries: int = 0
    ) -> supply.Device:
        name = f"{kind}-{index}"
        return supply.Device(
            name=name, driver=driver, pool=node, uuid=f"{node}-{name}", device_class=driver,
            carries=carries,
        )  # fmt: skip


def _cut(gpu: supply.Device, how: str) -> list[supply.Device]:
    if how == "static":
        return [
            replace(
                gpu, name=f"{gpu.name}-mig-{at}", uuid=f"{gpu.uuid}-{at}", profile="1g.10gb",
                device_class="mig.nvidia.com", carries=supply.WHOLE // 7,
            )
            for at in range(2)
        ]  # fmt: skip
    if how == "shares":
        return [
            replace(
                gpu, device_class="shared.gpu.nvidia.com", carries=supply.WHOLE // SHARES,
                share=supply.Share(
                    index=at, of=SHARES, consumes={"memory": "8Gi"}, isolation="none: time-sliced"
                ),
            )
            for at in range(SHARES)
        ]  # fmt: skip
    return [gpu]


# -- falsified -----------------------------------------------------------------------------------

Device = dict[str, Any]


def _everywhere(
    chosen: Callable[[Device], bool], change: Callable[[list[Device], int], None]
) -> Mutant:
    """A lease's devices are told otherwise, by every record that names them."""

    def mutant(records: Records, rng: random.Random) -> Records | None:
        leases = [body(one) for one in records if one.topic == registry.LEASES.name]
        able = sorted({one["lease_id"] for one in leases if any(map(chosen, one["devices"]))})
        if not able:
            return None
        return _forged(records, rng.choice(able), chosen, change)

    return mutant


def _forged(
    records: Records, lease_id: str, chosen: Callable[[Device], bool],
    change: Callable[[list[Device], int], None],
) -> Records:  # fmt: skip
    """The lease's first such device changed wherever it is told."""
    told = (registry.LEASES.name, registry.OUTCOMES.name)

    def forged(event: dict[str, Any]) -> dict[str, Any]:
        devices = event["devices"]
        change(devices, next(index for index, one in enumerate(devices) if chosen(one)))
        return event

    return [
        one._replace(value=orjson.dumps(forged(body(one))))
        if one.topic in told and body(one).get("lease_id") == lease_id and body(one).get("devices")
        else one
        for one in records
    ]  # fmt: skip


def seize_share(records: Records, rng: random.Random) -> Records | None:
    """A lease names the share of another that stands on the same device."""
    last: dict[str, dict[str, Any]] = {}
    pairs = []
    for lease in (body(one) for one in records if one.topic == registry.LEASES.name):
        if lease["state"] == "awarded" and _is_share(mine := lease["devices"][0]):
            pairs += [
                (lease["lease_id"], theirs["share"]["index"])
                for other in last.values() if other["state"] in ("bound", "notice")
                for theirs in other["devices"]
                if _is_share(theirs) and _place(theirs) == _place(mine)
            ]  # fmt: skip
        last[lease["lease_id"]] = lease
    if not pairs:
        return None
    lease_id, index = rng.choice(pairs)
    return _forged(records, lease_id, _is_share, _share(index=index))


def _place(device: Device) -> tuple[str, str]:
    return device["node"], device["name"]


def _is_companion(device: Device) -> bool:
    return bool(device.get("companion_of"))


def _has_companion(device: Device) -> bool:
    return bool(device["driver"] == "gpu.nvidia.com" and not device.get("share"))


def _is_share(device: Device) -> bool:
    return bool(device.get("share"))


def _is_static(device: Device) -> bool:
    return bool(device["device_class"] == "mig.nvidia.com")


def _set(**fields: Any) -> Callable[[list[Device], int], None]:
    return lambda devices, at: devices[at].update(fields)


def _share(**fields: Any) -> Callable[[list[Device], int], None]:
    return lambda devices, at: devices[at]["share"].update(fields)


def _leave_out(devices: list[Device], at: int) -> None:
    devices.pop(at)


def _alone(devices: list[Device], at: int) -> None:
    devices[at]["companion_of"] = ""


def _add_nic(devices: list[Device], at: int) -> None:
    node = devices[at]["node"]
    devices.append(
        devices[at]
        | {"name": "nic-9", "driver": NIC, "uuid": f"{node}-nic-9", "device_class": NIC,
           "companion_of": devices[at]["name"]}
    )  # fmt: skip


MUTANTS: dict[str, Mutant] = {
    "leave a companion out": _everywhere(_is_companion, _leave_out),
    "give another companion": _everywhere(_is_companion, _set(name="nic-7", uuid="nic-7")),
    "count a companion as sold": _everywhere(_is_companion, _alone),
    "add a companion": _everywhere(_has_companion, _add_nic),
    "sell a share twice": seize_share,
    "sell a share that is not there": _everywhere(_is_share, _share(index=SHARES)),
    "let a share take more": _everywhere(_is_share, _share(consumes={"memory": "80Gi"})),
    "call a share isolated": _everywhere(_is_share, _share(isolation="hardware")),
    "sell a share as the whole": _everywhere(_is_share, _set(share=None)),
    "sell a static slice of another size": _everywhere(_is_static, _set(profile="7g.80gb")),
    "sell a static slice as a cut": _everywhere(_is_static, _set(parent="gpu-0", profile="1g")),
}
