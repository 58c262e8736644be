"""The addresses under which the market remembers who holds what.

Decides what a lease of a device takes, and what must be free for it. A bundle takes all its parts;
a share takes its own address, and marks its device as shared, so that the whole is not sold beside
it. Refuses to know leases.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from bidplane_topics.leases import LeasedDevice
from bidplane_topics.supply import Companion, Device

_MARK = "#"


class Places(NamedTuple):
    """A device's own address, all that a lease of it holds, and where nobody else may be then."""

    own: str
    takes: tuple[str, ...]
    rivals: tuple[str, ...]


def of(device: Device) -> Places:
    """Where it stands; asked for every device in every window, so it is remembered."""
    share = -1 if device.share is None else device.share.index
    return _of(device.driver, device.pool, device.name, share, device.companions)


@functools.lru_cache(maxsize=2**17)
def _of(driver: str, pool: str, name: str, share: int, companions: tuple[Companion, ...]) -> Places:
    whole = f"{driver}/{pool}/{name}"
    if share >= 0:
        own = f"{whole}{_MARK}{share}"
        return Places(own, (own, whole + _MARK), (whole,))
    parts = tuple(f"{one.driver}/{one.pool}/{one.name}" for one in companions)
    marks = tuple(part + _MARK for part in (whole, *parts))
    return Places(whole, (whole, *parts), (*marks, *parts))


def of_leased(device: LeasedDevice) -> str:
    """The address of a leased device, or of the whole one behind a slice."""
    return _whole_leased(device) + ("" if device.share is None else f"{_MARK}{device.share.index}")


def held(devices: Iterable[LeasedDevice]) -> list[str]:
    """What a lease of these devices holds, in order."""
    found: dict[str, None] = {}
    for device in devices:
        found[of_leased(device)] = None
        if device.share is not None:
            found[_whole_leased(device) + _MARK] = None
    return list(found)


def contested(devices: Iterable[LeasedDevice]) -> list[str]:
    """Where those stand who shut each other out with a lease of these devices."""
    found: dict[str, None] = {}
    for device in devices:
        found[of_leased(device)] = None
        whole = _whole_leased(device)
        found[whole if device.share is not None else whole + _MARK] = None
    return list(found)


def is_mark(address: str) -> bool:
    """Whether it only says that a device is shared: all its shares' leases stand there."""
    return address.endswith(_MARK)


def _whole_leased(device: LeasedDevice) -> str:
    return f"{device.driver}/{device.pool}/{device.parent or device.name}"
