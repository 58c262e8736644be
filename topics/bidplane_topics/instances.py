"""A clearing instance and its result, as INTERFACES fixes them: the market as one offline problem.

All amounts are integers: micro-credits, slots, units (sevenths of a device). There are no budgets
here.
"""

from __future__ import annotations

import binascii
import re
from typing import Annotated, Literal

import msgspec

from bidplane_topics.bids import Shape
from bidplane_topics.errors import ContractError

KEY_LIMIT = 2**42
NODE_LIMIT = 1024
SLOTS = 7

Nat = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
FreeDevices = Annotated[int, msgspec.Meta(ge=0, le=NODE_LIMIT)]
Slot = Annotated[int, msgspec.Meta(ge=0, le=6)]


# A node's index and the free compute slots of one of its devices.
PartialDevice = tuple[Annotated[int, msgspec.Meta(ge=0)], tuple[Slot, ...]]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that a person types: a misspelt field is an error."""


class InstancePool(_Strict, frozen=True, kw_only=True):
    """A pool; ``nodes`` are the free devices of each node, the reserve is per unit and slot.

    ``partial`` are devices that slices use in part: each [node, its free compute slots of 0-6];
    devices and slots that are named earlier are used earlier.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    device_class: str
    nodes: tuple[FreeDevices, ...]
    scarcity_permille: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    reserve_micros: Nat = 0
    # Left out where there are none, so that digests of such pools stay what they were.
    partial: tuple[PartialDevice, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def partly_used(self) -> tuple[PartialDevice, ...]:
        """``partial``, empty where it is left out."""
        return () if self.partial is msgspec.UNSET else self.partial

    @property
    def units(self) -> int:
        """Sevenths of devices on sale."""
        return SLOTS * sum(self.nodes) + sum(len(slots) for _, slots in self.partly_used)


class InstanceAlternative(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A way to serve a bid. ``tier``, where it has one, stands in the place of the bid's.

    ``pinned`` is the index of the only node that will do: for the holder of devices on it.
    """

    pool: str
    shape: Shape
    slots: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    tier: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None
    pinned: Annotated[int, msgspec.Meta(ge=0)] | None = None


class InstanceBid(_Strict, frozen=True, kw_only=True):
    """A bid as admitted: the value is per level when elastic. Smaller tiers sort first."""

    bid_id: Annotated[str, msgspec.Meta(min_length=1)]
    agent: str
    sequence: Nat = 0
    mode: Literal["rigid", "elastic"] = "rigid"
    value_micros: Nat
    boost_micros: Nat = 0
    weight: Positive = 1
    tier: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 1
    level_min: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    level_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    alternatives: Annotated[tuple[InstanceAlternative, ...], msgspec.Meta(min_length=1)]

    def tier_of(self, alternative: int) -> int:
        """The tier in which the bid's alternative of that position is sorted."""
        own = self.alternatives[alternative].tier
        return self.tier if own is None else own


class Instance(_Strict, frozen=True, kw_only=True):
    """One window of one market. ``beacon`` is hex."""

    market: str
    window: Nat
    beacon: str
    slot_ms: Positive
    pools: tuple[InstancePool, ...]
    bids: tuple[InstanceBid, ...]


class Award(msgspec.Struct, frozen=True, kw_only=True):
    """What a winner gets. ``devices`` are [node, count] or [node, "ordinal:profile@start"].

    The ordinal counts the node's free devices from 0, then its partly used ones in their order;
    the start is the MIG placement.
    """

    alternative: int
    level: int
    price_micros: int
    devices: tuple[tuple[int, int | str], ...]


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clearing. ``prices``: paid per unit and slot, floored; unsold pools have none.

    ``surplus_micros`` is Σ weight · (value - reserve) · level of the awards, which ``bound_micros``
    bounds for any awards. Under `exact`, ``fell_back`` are the pools that greedy cleared for want
    of a proof.
    """

    market: str
    window: int
    rule: str
    awards: dict[str, Award]
    prices: dict[str, int]
    welfare_micros: int
    revenue_micros: int
    surplus_micros: int | None = None
    bound_micros: int | None = None
    fell_back: tuple[str, ...] = ()
    root: str = ""


def decode_instance(raw: bytes) -> Instance:
    """Read an instance and check what types cannot say.

    Raises:
        ContractError: names the field's path, what is wrong and the mend.
    """
    try:
        instance = msgspec.json.decode(raw, type=Instance)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(f"instance: {_place(raw, error)}") from error
    problem = _problem(instance)
    if problem is not None:
        raise ContractError(f"instance: {problem}")
    return instance


def _place(raw: bytes, error: Exception) -> str:
    """The decoder's words, led by the field's path; broken JSON by its line and column."""
    said = str(error)
    broken = re.search(r" \(byte (\d+)\)$", said)
    if broken is not None or not raw.strip() or said == "Input data was truncated":
        before = raw[: int(broken.group(1))] if broken is not None else raw
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        words = said[: broken.start()] if broken is not None else "the JSON ends too early"
        return f"line {line}, column {column}: {words}: write one JSON object"
    words, found, path = said.rpartition(" - at ")
    if not found:
        return f"`$`: {said}"
    return f"{path}: {words[0].lower()}{words[1:]}"


def _problem(instance: Instance) -> str | None:
    try:
        binascii.unhexlify(instance.beacon)
    except (binascii.Error, ValueError):
        return "`$.beacon` is no hex: write an even number of digits 0-9 a-f"
    pools: dict[str, int] = {}
    for index, pool in enumerate(instance.pools):
        if pool.name in pools:
            return f"`$.pools[{index}].name` {pool.name!r} stands twice: name each pool once"
        pools[pool.name] = len(pool.nodes)
        if (problem := _partial_problem(pool)) is not None:
            return f"`$.pools[{index}].partial{problem}"
    seen: set[str] = set()
    for index, bid in enumerate(instance.bids):
        if bid.bid_id in seen:
            return f"`$.bids[{index}].bid_id` {bid.bid_id!r} stands twice: name each bid once"
        seen.add(bid.bid_id)
        if (problem := _bid_problem(bid, pools)) is not None:
            return f"`$.bids[{index}]{problem}"
    return None


def _partial_problem(pool: InstancePool) -> str | None:
    for index, (node, slots) in enumerate(pool.partly_used):
        if node >= len(pool.nodes):
            return f"[{index}][0]` {node} is no index of nodes: count them from 0"
        if not 0 < len(set(slots)) == len(slots) < SLOTS:
            return f"[{index}][1]` must be one to six different slots: a free device is in nodes"
    return None


def _bid_problem(bid: InstanceBid, pools: dict[str, int]) -> str | None:  # noqa: PLR0911
    if bid.weight * (bid.value_micros + bid.boost_micros) >= KEY_LIMIT:
        return ".value_micros`: weight · (value + boost) must stay below 2^42: write smaller ones"
    if bid.mode == "elastic" and len(bid.alternatives) != 1:
        return ".alternatives`: an elastic bid has exactly one: split the bid"
    if bid.mode == "rigid" and (bid.level_min, bid.level_max) != (1, 1):
        return ".level_max`: levels belong to elastic bids; leave them out"
    if bid.level_min > bid.level_max:
        return ".level_min` is above level_max: swap them"
    for index, alternative in enumerate(bid.alternatives):
        if alternative.pool not in pools:
            return f".alternatives[{index}].pool` {alternative.pool!r} is not in `$.pools`: add it"
        if alternative.pinned is None:
            continue
        if bid.mode == "elastic" or alternative.shape not in ("1", "2", "4", "8"):
            return f".alternatives[{index}].pinned` is for rigid bids of shape 1, 2, 4 or 8"
        if alternative.pinned >= pools[alternative.pool]:
            return f".alternatives[{index}].pinned` is no index of the pool's nodes: count from 0"
    return None
