"""Devices that went from one market to another: never in two hands, and epochs grow all the way.

Decides from leases and offers alone. Refuses to know who moved a node, and why: a device is told by
its uuid, so two clusters may name their nodes alike.
"""

from __future__ import annotations

from typing import NamedTuple

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.occupancy import address, whole_of
from bidplane_topics import registry
from bidplane_topics.leases import LeaseChanged, LeasedDevice
from bidplane_topics.supply import NodeOffered


class Stay(NamedTuple):
    """A lease on one device: its market's partition, its epochs, and when it held the device.

    ``began_ms`` is 0 where the beginning was compacted away, ``ended_ms`` while it is not over.
    """

    partition: int
    first: Seen
    last: Seen

    @property
    def epoch(self) -> int:
        """Under which it began: its end spent one more."""
        return int(self.first.event.epoch) - (self.first.event.state in ("ending", "ended"))

    @property
    def began_ms(self) -> int:
        """By the broker's clock."""
        whole = self.first.event.state not in ("ending", "ended")
        return self.first.record.timestamp_ms if whole else 0

    @property
    def ended_ms(self) -> int:
        """By the broker's clock."""
        over = self.last.event.state == "ended"
        return self.last.record.timestamp_ms if over else 0


class Past:
    """What one market's leases on a device come to so far."""

    def __init__(self) -> None:
        """None yet."""
        self.epoch, self.ended_ms, self.last = 0, 0, ""
        self.open: list[str] = []

    def add(self, stay: Stay) -> None:
        """One lease more."""
        name = stay.last.event.lease_id
        self.epoch = max(self.epoch, stay.last.event.epoch)
        if not stay.ended_ms:
            self.open.append(name)
        elif stay.ended_ms > self.ended_ms:
            self.ended_ms, self.last = stay.ended_ms, name


def audit_handovers(contents: Contents, findings: Findings) -> None:
    """Whoever has a device after another market's lease: that one is over, its epoch lower."""
    for name, stays in sorted(_by_device(contents).items()):
        if len({stay.partition for stay in stays}) == 1:  # one market alone: tenure.py
            continue
        before: dict[int, Past] = {}
        for stay in sorted(stays, key=lambda one: (one.epoch, one.partition)):
            for partition, past in before.items():
                if partition != stay.partition:
                    _follows(name, past, stay, findings)
            before.setdefault(stay.partition, Past()).add(stay)


def _follows(name: str, past: Past, stay: Stay, findings: Findings) -> None:
    lease: LeaseChanged = stay.first.event
    what = f"device {name}, lease {lease.lease_id}"
    findings.check(
        3, stay.epoch > past.epoch, stay.first.record, f"{what}, epoch",
        f"above {past.epoch}, which another market gave", stay.epoch,
    )  # fmt: skip
    there = [*past.open] + ([past.last] if 0 < stay.began_ms < past.ended_ms else [])
    findings.check(3, not there, stay.first.record, what, "no lease of another market", there)


def _by_device(contents: Contents) -> dict[str, list[Stay]]:
    known = _uuids(contents)
    first: dict[str, Seen] = {}
    last: dict[str, Seen] = {}
    for one in contents.all(registry.LEASES):
        if not contents.late(one):
            first.setdefault(one.event.lease_id, one)
            last[one.event.lease_id] = one
    found: dict[str, list[Stay]] = {}
    for name, begun in sorted(first.items()):
        partition = begun.record.partition
        for device in {_identity(known, partition, one) for one in begun.event.devices}:
            found.setdefault(device, []).append(Stay(partition, begun, last[name]))
    return found


def _uuids(contents: Contents) -> dict[tuple[int, str], str]:
    """Whole devices' uuids by partition and address."""
    return {
        (one.record.partition, address(device)): device.uuid
        for one in contents.all(registry.SUPPLY) if isinstance(one.event, NodeOffered)
        for device in one.event.devices
    }  # fmt: skip


def _identity(known: dict[tuple[int, str], str], partition: int, device: LeasedDevice) -> str:
    where = whole_of(device)
    return known.get((partition, where)) or (device.uuid if not device.parent else "") or where
