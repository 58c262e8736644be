"""From the devices that a node lists to what of them is sold: whole, cut, shared or in a bundle.

Decides what one sellable thing is, and under which class. What is less than a whole device has a
class of its own, so a bid that names none never gets it. Refuses to know nodes' conditions. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bidplane_topics.supply import WHOLE, Companion, Device, Partition, Profile, Share

Object = dict[str, Any]
Address = tuple[str, str, str]
# A device as a slice lists it, and the pool that it stands in.
Listed = tuple[str, Object]

RACK: Final = "bidplane.io/rack"
GPU_CLASS: Final = "gpu.nvidia.com"
MIG_CLASS: Final = "mig.nvidia.com"
NIC_CLASS: Final = "nic.bidplane.io"
SHARED: Final = "shared."
# Memory slices of a plain partition.
PROFILES: Final[dict[Profile, int]] = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
PLAIN: Final[dict[str, Profile]] = {profile: profile for profile in PROFILES}
KEPT: Final = ("productName", "memory", "architecture", "pcieRoot", "numaNode", "model", "domain")
SHARES_LEAST: Final = 2
SHARES_MOST: Final = 64
UNSAFE: Final = "none: time-sliced"

_DIGITS: Final = re.compile(r"(\d+)")
_SEVENTHS: Final = re.compile(r"([1-7])g\b")


class Choice(NamedTuple):
    """What the operator says of devices: further classes by driver, and who comes along with GPUs.

    Devices of these classes carry a share of their node as GPUs do. ``companion``: the class whose
    devices are sold with the GPU on their PCIe root and never alone beside one; empty for none.
    """

    classes: Mapping[str, str] = {}
    companion: str = ""


def devices(
    labels: Mapping[str, str], found: list[Listed], foreign: frozenset[Address], choice: Choice
) -> list[Device]:
    """What may be sold of a node's devices, in order of driver, name and share."""
    known = [(pool, one) for pool, one in found if _class(one, choice)]
    bound, parted = _bundles(known, choice), _parts(known)
    taken = {id(other[1]) for others in bound.values() for other in others if other}
    lent = {_text(one, "uuid") for pool, one in known if _address(pool, one) in foreign}
    sold: list[Device] = []
    for pool, one in known:
        beside = bound.get(id(one), [])
        cuts = parted.get(_text(one, "uuid"), [])
        bundle = [(pool, one), *(other for other in beside if other)]
        # Somebody else's slice makes the whole device theirs: it shares its counters.
        theirs = {_address(*row) for row in [*bundle, *cuts]} & foreign
        whole = _text(one, "parentUUID")
        harmed = None in beside or any(each["tainted"] for _, each in bundle)
        if id(one) in taken or not _stands_alone(one, cuts) or harmed or theirs:
            continue
        if not whole or whole not in lent:
            plain = _device(labels, pool, one, [] if beside else cuts, choice)
            sold += _sold(plain, one, [_companion(*other, choice) for other in bundle[1:]])
    return sorted(sold, key=_place)


def _address(pool: str, one: Object) -> Address:
    return str(one["driver"]), pool, str(one["name"])


def _stands_alone(one: Object, cuts: list[Listed]) -> bool:
    """Whether it is a device by itself: no cut that may be made, and not cut up already."""
    made = any(_is_static(part) for _, part in cuts)
    return not made and (not _is_mig(one) or _is_static(one))


def _place(device: Device) -> tuple[Any, ...]:
    return device.driver, natural(device.name), device.share.index if device.share else 0


def _is_mig(one: Object) -> bool:
    return _text(one, "type") == "mig"


def _is_static(one: Object) -> bool:
    """Whether it is a MIG device that exists, not one of the cuts that counters would allow."""
    return _is_mig(one) and not one["counters"]


def _text(one: Object, name: str) -> str:
    return str(one["attributes"].get(name, ""))


def _parts(found: Iterable[Listed]) -> dict[str, list[Listed]]:
    """MIG devices by the uuid of the device that they are cut from."""
    parts: dict[str, list[Listed]] = {}
    for pool, one in found:
        if _is_mig(one) and _text(one, "parentUUID"):
            parts.setdefault(_text(one, "parentUUID"), []).append((pool, one))
    return parts


def _class(one: Object, choice: Choice) -> str:
    """The DeviceClass that sells it; empty where the operator names none, and it is not sold."""
    driver = str(one["driver"])
    if driver in choice.classes:
        return choice.classes[driver]
    if _is_mig(one):
        return MIG_CLASS
    if _text(one, "type") == "gpu" or driver == GPU_CLASS:
        return GPU_CLASS
    return NIC_CLASS if driver == NIC_CLASS else ""


def _bundles(found: list[Listed], choice: Choice) -> dict[int, list[Listed | None]]:
    """Companions of each GPU, by the GPU's identity; None stands for one that is missing.

    On one root the first GPU gets the first companion, the second the second, whatever state they
    are in: a taint or a foreign claim never moves a companion to another GPU. A companion that has
    no GPU stays alone and is sold under its own class; what is shared is in no bundle.
    """
    if not choice.companion:
        return {}
    whole = (row for row in found if not row[1]["multiple"])
    in_order = sorted(whole, key=lambda row: natural(row[1]["name"]))
    waiting: dict[str, list[Listed]] = {}
    for pool, one in in_order:
        if _class(one, choice) == choice.companion and _text(one, "pcieRoot"):
            waiting.setdefault(_text(one, "pcieRoot"), []).append((pool, one))
    bound: dict[int, list[Listed | None]] = {}
    for _, one in in_order:
        if _class(one, choice) == GPU_CLASS:
            beside = waiting.get(_text(one, "pcieRoot"), [])
            bound[id(one)] = [beside.pop(0) if beside else None]
    return bound


def _companion(pool: str, one: Object, choice: Choice) -> Companion:
    return Companion(
        name=one["name"], driver=one["driver"], pool=pool, uuid=_text(one, "uuid"),
        device_class=_class(one, choice),
    )  # fmt: skip


def _sold(plain: Device, one: Object, companions: list[Companion]) -> Iterator[Device]:
    """The device itself, or its shares; nothing where its capacity does not say how many."""
    if not one["multiple"]:
        yield _with(plain, companions=tuple(companions))
        return
    count = min([SHARES_MOST, *(fits for _, fits in one["capacity"].values())])
    if not one["capacity"] or count < SHARES_LEAST:
        return
    isolation = _text(one, "isolation") or UNSAFE
    consumes = {name: default for name, (default, _) in sorted(one["capacity"].items())}
    for index in range(count):
        share = Share(index=index, of=count, consumes=consumes, isolation=isolation)
        yield _with(
            plain, share=share, partitions=(), device_class=SHARED + plain.device_class,
            carries=plain.carries // count,
        )  # fmt: skip


def _with(device: Device, **changes: Any) -> Device:
    fields = {name: getattr(device, name) for name in device.__struct_fields__}
    return Device(**(fields | changes))


def _device(
    labels: Mapping[str, str], pool: str, one: Object, cuts: list[Listed], choice: Choice
) -> Device:
    facts = dict(one["attributes"])
    if RACK in labels:
        facts["domain"] = labels[RACK]
    profile = _text(one, "profile") if _is_mig(one) else ""
    return Device(
        name=one["name"],
        driver=one["driver"],
        pool=pool,
        uuid=_text(one, "uuid"),
        device_class=_class(one, choice),
        attributes={name: facts[name] for name in KEPT if name in facts},
        partitions=_partitions([part for _, part in cuts]),
        profile=profile or ("unknown" if _is_mig(one) else ""),
        carries=_carries(one, profile, choice),
    )


def _carries(one: Object, profile: str, choice: Choice) -> int:
    """A GPU and what the operator names carry a whole share, a MIG device its sevenths of one."""
    if _is_mig(one):
        sevenths = _SEVENTHS.match(profile)
        return WHOLE // 7 * (int(sevenths[1]) if sevenths else 1)
    return WHOLE if one["driver"] in choice.classes or _class(one, choice) == GPU_CLASS else 0


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
