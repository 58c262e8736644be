"""The DeviceClasses by which leases are claimed in the host cluster, and the drivers behind them.

Decides which classes there are: GPUs, MIG devices, NICs, what the operator names besides, and for
each of them one of shares. Refuses to know leases. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bidplane_streams.sinks import names

Object = dict[str, Any]

_TYPES: Final = {names.GPU_CLASS: "gpu", names.MIG_CLASS: "mig"}
_OWN: Final = {
    names.GPU_CLASS: names.GPU_DRIVER,
    names.MIG_CLASS: names.GPU_DRIVER,
    names.NIC_CLASS: names.NIC_CLASS,
}


class Sold(NamedTuple):
    """What the market deals in: class names, and the drivers that it alone allocates."""

    classes: tuple[str, ...]
    drivers: tuple[str, ...]
    objects: tuple[Object, ...]


def sold(further: Mapping[str, str]) -> Sold:
    """All classes; ``further`` maps drivers to the classes that the operator names."""
    whole = _OWN | {name: driver for driver, name in further.items()}
    shared = {names.SHARED + name: driver for name, driver in whole.items()}
    found = [_object(name, _chooses(name, driver)) for name, driver in whole.items()]
    for name, driver in shared.items():
        chooses = _chooses(name.removeprefix(names.SHARED), driver)
        found.append(_object(name, f"{chooses} && device.allowMultipleAllocations"))
    drivers = dict.fromkeys((*names.DRIVERS, *further))
    return Sold((*whole, *shared), tuple(drivers), tuple(found))


def _chooses(name: str, driver: str) -> str:
    expression = f"device.driver == {json.dumps(driver)}"
    if name in _TYPES and driver == names.GPU_DRIVER:
        expression += f' && device.attributes["{driver}"].type == "{_TYPES[name]}"'
    return expression


def _object(name: str, expression: str) -> Object:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }
