"""Leases as their own topic tells them: who held which device, in which order, under which epoch.

Decides from the leases alone, so it holds even where rounds cannot be recomputed any more. Refuses
to know why a lease moved.
"""

from __future__ import annotations

from array import array
from typing import Final

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.mechanism import SLICES
from bidplane_agents.audit.occupancy import base_of, whole_of
from bidplane_topics import registry
from bidplane_topics.leases import LeaseChanged, LeasedDevice

_STEP: Final = {"pending": 0, "awarded": 1, "bound": 2, "notice": 3, "ending": 4, "ended": 5}
# What never changes in the life of a lease; the deadline to bind is set when it is awarded.
_FIXED: Final = (
    "market", "bid_id", "tenant", "agent", "window", "market_pool", "shape", "level", "devices",
    "nodes", "awarded_at_ms", "pending_until_ms", "bought_from",
)  # fmt: skip
# What changes with a renewal alone.
_OF_A_TERM: Final = ("price_micros", "duration_ms", "term", "renewed_by")


class Tenure:
    """The leases of one partition, in the order in which they changed."""

    def __init__(self, contents: Contents, partition: int, findings: Findings) -> None:
        """Nothing is read yet."""
        self.contents, self.partition, self.findings = contents, partition, findings
        self.last: dict[str, LeaseChanged] = {}
        self.holders: dict[str, dict[str, list[LeasedDevice]]] = {}
        self.epochs: dict[str, int] = {}

    def audit(self) -> None:
        """Follow every record; then ask which leases should have ended."""
        for one in self.contents.of(registry.LEASES, self.partition):
            lease: LeaseChanged = one.event
            before = self.last.get(lease.lease_id)
            if before is None:
                self._begins(one, lease)
            else:
                self._moves(one, before, lease)
            if lease.state == "ended":
                self._ends(lease)
            self.last[lease.lease_id] = lease
        self._outlived()

    def _begins(self, one: Seen, lease: LeaseChanged) -> None:
        size = 1 if lease.shape in SLICES else int(lease.shape)
        sold = sum(not device.companion_of for device in lease.devices)
        self.findings.same(4, size * lease.level, sold, one.record, f"devices of {lease.lease_id}")
        # A compacted topic may begin with a lease whose end has spent one epoch more.
        epoch = lease.epoch - (lease.state in ("ending", "ended"))
        # A lease whose end alone is left began before others of which more is left.
        for key in map(whole_of, lease.devices if lease.state != "ended" else ()):
            self.findings.check(
                3, epoch > self.epochs.get(key, 0), one.record, f"the epoch of {key}",
                f"above {self.epochs.get(key, 0)}", epoch,
            )  # fmt: skip
        # A pending lease holds nothing, and never did if it ends without a deadline to bind.
        if lease.bind_by_ms:
            self._holds(one, lease)
        self._passed(lease)

    def _holds(self, one: Seen, lease: LeaseChanged) -> None:
        """The lease is the only active one on its devices from now on."""
        for device in lease.devices:
            key = base_of(whole_of(device))
            others = self.holders.setdefault(key, {})
            clash = [
                name for name, held in others.items()
                if name != lease.lease_id and any(_overlap(device, other) for other in held)
            ]  # fmt: skip
            self.findings.check(
                3, not clash, one.record, f"{key}, a device of lease {lease.lease_id}",
                "no other active lease", clash,
            )  # fmt: skip
            others.setdefault(lease.lease_id, []).append(device)

    def _passed(self, lease: LeaseChanged) -> None:
        """Who comes later needs a higher epoch."""
        for key in map(whole_of, lease.devices):
            self.epochs[key] = max(self.epochs.get(key, 0), lease.epoch)

    def _moves(self, one: Seen, before: LeaseChanged, lease: LeaseChanged) -> None:
        forward = _STEP[lease.state] > _STEP[before.state]
        renewed = lease.state == before.state == "bound" and lease.term == before.term + 1
        self.findings.check(
            3, forward or renewed, one.record, f"lease {lease.lease_id}",
            f"a state after {before.state}", lease.state,
        )  # fmt: skip
        if renewed:
            end_ms = before.ends_at_ms + lease.duration_ms
            self.findings.same(3, end_ms, lease.ends_at_ms, one.record, f"{lease.lease_id} renewed")
        for field in _FIXED if renewed else (*_FIXED, *_OF_A_TERM):
            was, now = getattr(before, field), getattr(lease, field)
            if was != now:
                promise = 4 if field in ("devices", "nodes", "shape", "level") else 3
                what = f"lease {lease.lease_id}, {field}"
                self.findings.check(promise, False, one.record, what, was, now)
        rises = before.state == "pending" and lease.state == "awarded"
        same = before.bind_by_ms == lease.bind_by_ms
        self.findings.check(
            3, same != rises, one.record, f"lease {lease.lease_id}, bind_by_ms",
            "a deadline" if rises else before.bind_by_ms, lease.bind_by_ms,
        )  # fmt: skip
        if rises:
            self._holds(one, lease)
        self._passed(lease)
        live = before.state not in ("ending", "ended")
        grown = before.epoch + (live and lease.state in ("ending", "ended"))
        self.findings.same(3, grown, lease.epoch, one.record, f"the epoch of {lease.lease_id}")

    def _ends(self, lease: LeaseChanged) -> None:
        for key in map(base_of, map(whole_of, lease.devices)):
            self.holders.get(key, {}).pop(lease.lease_id, None)

    def _outlived(self) -> None:
        """A lease past its end and grace is ending one round later."""
        closed_ms = array("q", (
            one.event.closed_at_ms for one in self.contents.of(registry.ROUNDS, self.partition)
            if not self.contents.late(one)
        ))  # fmt: skip
        latest = {
            one.event.lease_id: one for one in self.contents.of(registry.LEASES, self.partition)
        }
        for name, lease in sorted(self.last.items()):
            if lease.state not in ("bound", "notice"):
                continue
            end_ms = lease.grace_until_ms or lease.ends_at_ms
            over = sum(at_ms >= end_ms for at_ms in closed_ms)
            self.findings.check(
                3, over < 2, latest[name].record, f"lease {name}",
                f"ending by the second round after {end_ms}", lease.state,
            )  # fmt: skip


def _overlap(one: LeasedDevice, other: LeasedDevice) -> bool:
    """Two slices, or two shares, live side by side; anything else is the same device twice."""
    if one.share is not None and other.share is not None:
        return one.share.index == other.share.index
    return not (one.parent and other.parent) or one.name == other.name
