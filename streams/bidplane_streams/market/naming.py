"""From positions to devices that exist: the last step of a clearing.

Decides which free device stands for each position of an award. Refuses to choose winners: the
counters did that, and this step cannot fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from bidplane_streams.market import addresses, pools
from bidplane_topics.instances import Award, Instance, Result
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.supply import Device, Partition

# A MIG position: the ordinal of the device among the node's free ones and then its partly used
# ones, the profile, where it starts.
_MIG_POSITION = re.compile(r"(\d+):(\dg)@(\d)")


class Named(msgspec.Struct, frozen=True):
    """A device of an award, or a slice (``part``) of it."""

    node: str
    device: Device
    part: Partition | None = None

    @property
    def key(self) -> str:
        """The whole device's address in the market's tables."""
        return pools.device_key(self.device)


def holdings(devices: Iterable[Named]) -> pools.Holdings:
    """What an award takes: the compute slots of each device, by its address."""
    return _slots((one, addresses.of(one.device).takes[1:]) for one in devices)


def contested(devices: Iterable[Named]) -> pools.Holdings:
    """Where others must leave before the award may stand, as ``holdings`` has it."""
    return _slots((one, addresses.of(one.device).rivals) for one in devices)


def _slots(found: Iterable[tuple[Named, tuple[str, ...]]]) -> pools.Holdings:
    wanted: dict[str, frozenset[int]] = {}
    for one, beside in found:
        slots = pools.SLOTS if one.part is None else pools.slots_of(one.part)
        wanted[one.key] = wanted.get(one.key, frozenset()) | slots
        wanted |= dict.fromkeys(beside, pools.SLOTS)
    return wanted


def leased(devices: Iterable[Named]) -> tuple[LeasedDevice, ...]:
    """The devices as the lease names them, each followed by its companions."""
    found = []
    for one in devices:
        device, part = one.device, one.part
        found.append(
            LeasedDevice(
                node=one.node, name=device.name if part is None else part.name,
                driver=device.driver, pool=device.pool,
                uuid=device.uuid if part is None else part.uuid, device_class=device.device_class,
                profile=device.profile if part is None else part.profile,
                parent="" if part is None else device.name, share=device.share,
            )
        )  # fmt: skip
        found += [
            LeasedDevice(
                node=one.node, name=other.name, driver=other.driver, pool=other.pool,
                uuid=other.uuid, device_class=other.device_class, companion_of=device.name,
            )
            for other in device.companions
        ]  # fmt: skip
    return tuple(found)


def named(
    instance: Instance, result: Result, offered: dict[str, pools.Pool]
) -> dict[str, tuple[Named, ...]]:
    """Devices of every award, by bid id, in node and device order.

    Slices name their device by ordinal; whole devices take the lowest ones left, in bid-id order.
    """
    pool_of = {
        bid.bid_id: offered[bid.alternatives[award.alternative].pool]
        for bid in instance.bids
        if (award := result.awards.get(bid.bid_id)) is not None
    }
    taken: dict[tuple[str, int], set[int]] = {}
    for bid_id, award in result.awards.items():
        for node, position in award.devices:
            if isinstance(position, str):
                taken.setdefault((pool_of[bid_id].name, node), set()).add(_parse(position)[0])
    found = {}
    for bid_id in sorted(result.awards):
        pool, award = pool_of[bid_id], result.awards[bid_id]
        found[bid_id] = tuple(
            sorted(
                _of_award(pool, award, taken),
                key=lambda one: (
                    one.node,
                    pools.natural(one.device.name),
                    0 if one.part is None else one.part.start,
                ),
            )
        )
    return found


def _of_award(
    pool: pools.Pool, award: Award, taken: dict[tuple[str, int], set[int]]
) -> list[Named]:
    found: list[Named] = []
    for node, position in award.devices:
        free = pool.free[node]
        if isinstance(position, str):
            ordinal, profile, start = _parse(position)
            if ordinal < len(free):
                device = free[ordinal]
            else:
                device = pool.partly_of(node)[ordinal - len(free)].device
            found.append(Named(pool.nodes[node], device, _part(device, profile, start)))
            continue
        used = taken.setdefault((pool.name, node), set())
        lowest = [ordinal for ordinal in range(len(free)) if ordinal not in used][:position]
        assert len(lowest) == position, "the counters sold more than the node has"
        used.update(lowest)
        found.extend(Named(pool.nodes[node], free[ordinal]) for ordinal in lowest)
    return found


def _parse(position: str) -> tuple[int, str, int]:
    match = _MIG_POSITION.fullmatch(position)
    assert match is not None, f"no MIG position: {position}"
    return int(match.group(1)), match.group(2), int(match.group(3))


def _part(device: Device, profile: str, start: int) -> Partition:
    for part in device.partitions:
        if part.profile == profile and part.start == start:
            return part
    raise AssertionError(f"{device.name} has no partition {profile}@{start}")
