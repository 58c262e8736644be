"""What to do about every lease in the host cluster: desired against observed, without I/O or clock.

Decides the order in which a lease's claims come and go. An ending runs: new epoch on the claims,
pods deleted; and only when no pod is left, the allocation and the claims. Nothing that another made
is touched.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Final, NamedTuple

from bidplane_streams.sinks import claims_objects, hardware, names
from bidplane_topics import reports
from bidplane_topics.event import Event
from bidplane_topics.leases import LeaseChanged, LeasedDevice

Object = dict[str, Any]
Key = tuple[str, str]

ALIVE_EVERY_MS: Final = 5_000
REPEAT_FIRST_MS: Final = 1_000
REPEAT_MOST_MS: Final = 30_000
ALIVE: Final = "alive"
# The lease's own grace has run already: a pod's grace must not keep the devices for longer.
END_GRACE_S: Final = 10


@dataclasses.dataclass(frozen=True)
class Desired:
    """A lease that has not ended, and its partition. What follows from it is worked out once."""

    event: LeaseChanged
    partition: int

    @functools.cached_property
    def pieces(self) -> tuple[tuple[str, list[claims_objects.Place]], ...]:
        """The names of its claims, and the places that each shall hold."""
        return tuple(
            (names.piece(self.event.lease_id, number), claims_objects.places(self.event, node))
            for number, node in enumerate(names.nodes(self.event))
            if names.devices(self.event, node.node)
        )

    @functools.cached_property
    def epoch(self) -> str:
        """Its epoch, as claims write it."""
        return str(self.event.epoch)

    @functools.cached_property
    def expires(self) -> str:
        """Its end, as claims write it."""
        return claims_objects.expires(self.event)


class Held(NamedTuple):
    """What stands in the cluster for one lease."""

    claims: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    anchors: tuple[Object, ...] = ()


class Said(NamedTuple):
    """A report that was sent: its content, how often, and when it may be repeated."""

    event: Event
    times: int
    again_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """Everything a plan reads. ``missing_since_ms`` holds nodes that are gone or not ready.

    ``leased`` are the nodes with leases on standing claims, and their market's partition; ``busy``
    the leases for which something is being written right now.
    """

    market: str
    partition: int
    leases: Mapping[str, Desired]
    held: Mapping[str, Held]
    taken: Mapping[hardware.Address, tuple[str, bool]]
    hardware: hardware.Hardware
    missing_since_ms: Mapping[str, int]
    lost_after_ms: int
    said: Mapping[str, Said]
    leased: Mapping[str, int] = dataclasses.field(default_factory=dict)
    busy: AbstractSet[str] = frozenset()
    sink: str = "claims"


@dataclasses.dataclass(frozen=True, slots=True)
class Bind:
    """Make the lease's claims stand, and keep their dates right."""

    lease: LeaseChanged
    held: Held

    @property
    def key(self) -> str:
        """The lease."""
        return self.lease.lease_id

    @property
    def later(self) -> bool:
        """An award has a deadline; a date has none."""
        return self.lease.state != "awarded"


@dataclasses.dataclass(frozen=True, slots=True)
class Revoke:
    """Fence the holder with the ending's epoch and delete the pods that use the lease."""

    lease_id: str
    epoch: int
    held: Held
    later: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """The lease."""
        return self.lease_id


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Give the devices back: no pod is left."""

    lease_id: str
    held: Held
    later: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """The lease."""
        return self.lease_id


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """Tell the market; ``subject`` is the record's key."""

    subject: str
    event: Event
    partition: int
    times: int
    aside: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """The report's subject, apart from the lease's own steps."""
        return f"report:{self.subject}"


Action = Bind | Revoke | Release | Report


def plan(seen: Observed, now_ms: int) -> list[Action]:
    """The next step of every lease that is not as desired, and what the market must hear."""
    actions: list[Action] = [*_alive(seen, now_ms), *_lost_nodes(seen, now_ms)]
    for lease_id, desired in seen.leases.items():
        held = seen.held.get(lease_id, Held())
        if desired.event.state in {"ending", "ended"}:
            actions += _end(seen, desired, held, now_ms)
        else:
            actions += _hold(seen, desired, held, now_ms)
    for lease_id, held in seen.held.items():
        if lease_id not in seen.leases:
            actions += _step_down(lease_id, _epoch(held), held)
    return actions


def _hold(seen: Observed, desired: Desired, held: Held, now_ms: int) -> Iterator[Action]:
    lease = desired.event
    if lease.state == "pending":  # its devices are another's: nothing of it may stand yet
        return
    if _stands(desired, held):
        if lease.state == "awarded":
            yield from _say(
                seen,
                lease.lease_id,
                reports.LeaseBound(market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch),
                desired.partition,
                now_ms,
            )
        elif not _dated(desired, held):
            yield Bind(lease, held)
        return
    obstacle = _obstacle(seen, lease)
    if obstacle is None:
        yield Bind(lease, held)
    elif obstacle and lease.state == "awarded":
        failed = reports.LeaseFailed(
            market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch, reason=obstacle
        )
        yield from _say(seen, lease.lease_id, failed, desired.partition, now_ms)


def _end(seen: Observed, desired: Desired, held: Held, now_ms: int) -> Iterator[Action]:
    lease = desired.event
    if held.claims or held.pods or held.anchors:
        yield from _step_down(lease.lease_id, lease.epoch, held)
    elif lease.state == "ending" and lease.lease_id not in seen.busy:
        released = reports.LeaseReleased(
            market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch
        )
        yield from _say(seen, lease.lease_id, released, desired.partition, now_ms)


def _step_down(lease_id: str, epoch: int, held: Held) -> Iterator[Revoke | Release]:
    unfenced = any(_number(names.annotation(one, names.EPOCH)) < epoch for one in held.claims)
    if unfenced or any(lingers(pod) for pod in held.pods):
        yield Revoke(lease_id, epoch, held)
    elif not held.pods:
        yield Release(lease_id, held)


def lingers(pod: Object) -> bool:
    """Whether a pod is not ending yet, or so slowly that it would keep the devices."""
    meta = pod["metadata"]
    if not meta.get("deletionTimestamp"):
        return True
    return int(meta.get("deletionGracePeriodSeconds") or 0) > END_GRACE_S


def grace_s(pod: Object) -> int:
    """How long a pod may take to end: its own grace, bounded; never zero, which forces it."""
    return max(1, min(int(pod["grace_s"]), END_GRACE_S))


def _stands(desired: Desired, held: Held) -> bool:
    if not held.anchors:
        return False
    by_name = {one["metadata"]["name"]: one for one in held.claims}
    return all(
        claims_objects.stands_on(by_name.get(name), desired.epoch, places)
        for name, places in desired.pieces
    )


def _dated(desired: Desired, held: Held) -> bool:
    wanted = desired.expires
    return all(names.annotation(one, names.EXPIRES) == wanted for one in held.claims)


def _obstacle(seen: Observed, lease: LeaseChanged) -> str | None:
    """Why the claims cannot stand: None if they can, empty if waiting may help, else a sentence."""
    wait = False
    for device in lease.devices:
        address = (device.driver, device.pool, device.name)
        place = f"{device.name} of {device.node}"
        holder, ours = _holder(seen, device, lease.lease_id)
        if holder == lease.lease_id:
            taken = False
        elif ours:
            taken = True
        else:
            return f"{place} is allocated by claim {holder}"
        slot = seen.hardware.devices.get(address)
        if address[:2] in seen.hardware.incomplete:
            wait = True
        elif slot is None:
            return f"{place} is in no ResourceSlice"
        elif device.uuid and slot.uuid and slot.uuid != device.uuid:
            return f"{place} is another device now: {slot.uuid}"
        elif slot.shared != (device.share is not None):
            return f"{place} is {'' if slot.shared else 'no longer '}open to several claims"
        elif slot.taint:
            return f"{place} is tainted: {slot.taint}"
        wait = wait or taken
    return "" if wait else None


def _holder(seen: Observed, device: LeasedDevice, lease_id: str) -> tuple[str, bool]:
    """Who is in the way on a device: of a share its own place or the whole, else any of both."""
    share = claims_objects.share_id(device)
    for name in (device.name, f"{device.name}/{share}"):
        found = seen.taken.get((device.driver, device.pool, name))
        if found is not None and found[0] != lease_id:
            return found
    return lease_id, True


def _alive(seen: Observed, now_ms: int) -> Iterator[Action]:
    last = seen.said.get(ALIVE)
    if seen.partition >= 0 and (last is None or now_ms >= last.again_ms):
        event = reports.SinkAlive(market=seen.market, sink=seen.sink)
        yield Report(ALIVE, event, seen.partition, 0)


def _lost_nodes(seen: Observed, now_ms: int) -> Iterator[Action]:
    if not seen.missing_since_ms:
        return
    holders = dict(seen.leased) | {
        device.node: desired.partition
        for desired in seen.leases.values()
        # A standing claim has no agent to be told.
        if desired.event.state not in {"ending", "ended"} and desired.event.tenant
        for device in desired.event.devices
    }
    for node, partition in holders.items():
        since_ms = seen.missing_since_ms.get(node)
        if since_ms is not None and now_ms - since_ms >= seen.lost_after_ms:
            reason = "gone or not ready for too long"
            lost = reports.NodeLost(market=seen.market, node=node, reason=reason)
            yield from _say(seen, node, lost, partition, now_ms)


def _say(
    seen: Observed, subject: str, event: Event, partition: int, now_ms: int
) -> Iterator[Action]:
    """Report at once, then again with growing pauses as long as the market has not moved."""
    last = seen.said.get(subject)
    if last is None or last.event != event:
        yield Report(subject, event, partition, 0)
    elif now_ms >= last.again_ms:
        yield Report(subject, event, partition, last.times)


def said(report: Report, now_ms: int) -> Said:
    """What to remember of a report that was sent."""
    if report.subject == ALIVE:
        return Said(report.event, 1, now_ms + ALIVE_EVERY_MS)
    pause_ms = min(REPEAT_MOST_MS, REPEAT_FIRST_MS * 2 ** min(report.times, 10))
    return Said(report.event, report.times + 1, now_ms + pause_ms)


def _epoch(held: Held) -> int:
    # An orphan's ending has no epoch of its own: the highest that stands is kept.
    return max((_number(names.annotation(one, names.EPOCH)) for one in held.claims), default=0)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
