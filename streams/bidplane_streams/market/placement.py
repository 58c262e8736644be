"""Positions for what the counters sold: largest first, each block on the tightest node.

Decides node and MIG placement of every award. Refuses to fail: whatever feasibility.py accepted has
a place, and an assert says so.
"""

from __future__ import annotations

import heapq

from bidplane_streams.market.feasibility import mig_devices
from bidplane_streams.market.greedy import Outcome
from bidplane_streams.market.shapes import GANGS, MIG, NODE_DEVICES
from bidplane_topics.instances import Instance

Positions = dict[str, tuple[tuple[int, int | str], ...]]


def place(instance: Instance, outcome: Outcome) -> Positions:
    """Every award's positions: (node, count) summed by node, or (node, "ordinal:profile@start")."""
    bids = {bid.bid_id: bid for bid in instance.bids}
    by_pool: dict[str, list[tuple[str, str, int]]] = {pool.name: [] for pool in instance.pools}
    for bid_id, win in sorted(outcome.wins.items()):
        chosen = bids[bid_id].alternatives[win.alternative]
        by_pool[chosen.pool].append((bid_id, chosen.shape, win.level))
    found: Positions = {}
    for pool in instance.pools:
        found |= place_pool(pool.nodes, by_pool[pool.name])
    return found


def place_pool(nodes: tuple[int, ...], sold: list[tuple[str, str, int]]) -> Positions:
    """Place (bid id, shape, copies) on nodes with that many free devices."""
    free = _Free(nodes)
    counts: dict[str, dict[int, int]] = {}
    for size, bid_id in sorted(_blocks(sold), key=lambda block: (-block[0], block[1])):
        node = free.take(size)
        counts.setdefault(bid_id, {})
        counts[bid_id][node] = counts[bid_id].get(node, 0) + size
    found: Positions = {bid_id: tuple(sorted(by.items())) for bid_id, by in counts.items()}
    slices = [(bid_id, shape) for bid_id, shape, copies in sold if shape in MIG
              for _ in range(copies)]  # fmt: skip
    for bid_id, position in _place_slices(nodes, free, slices):
        found[bid_id] = tuple(sorted([*found.get(bid_id, ()), position], key=_order))
    return found


def _order(position: tuple[int, int | str]) -> tuple[int, str]:
    return position[0], str(position[1])


def _blocks(sold: list[tuple[str, str, int]]) -> list[tuple[int, str]]:
    """Whole shapes as blocks of at most one node; a gang is blocks of eight."""
    blocks = []
    for bid_id, shape, copies in sold:
        if shape in MIG:
            continue
        per_copy = int(shape) // NODE_DEVICES if shape in GANGS else 1
        size = NODE_DEVICES if shape in GANGS else int(shape)
        blocks += [(size, bid_id)] * (per_copy * copies)
    return blocks


class _Free:
    """Nodes by how many devices they have free, so that no block asks every node."""

    def __init__(self, nodes: tuple[int, ...]) -> None:
        self._nodes: dict[int, list[int]] = {}
        for node, free in enumerate(nodes):
            self._nodes.setdefault(free, []).append(node)  # in order, which is a heap

    def take(self, size: int) -> int:
        """The node with the least room that still holds ``size``, lowest index first; takes it."""
        holding = [free for free, nodes in self._nodes.items() if free >= size and nodes]
        assert holding, "the counters sold a block that no node holds"
        free = min(holding)
        node = heapq.heappop(self._nodes[free])
        heapq.heappush(self._nodes.setdefault(free - size, []), node)
        return node


def _place_slices(
    nodes: tuple[int, ...], free: _Free, slices: list[tuple[str, str]]
) -> list[tuple[str, tuple[int, str]]]:
    """Slices on shared devices: a node's highest ordinals, since whole devices take the lowest."""
    by_profile = {profile: [bid for bid, shape in slices if shape == profile] for profile in MIG}
    shared = mig_devices(*(len(by_profile[profile]) for profile in MIG))
    devices: list[tuple[int, int]] = []
    lent = [0] * len(nodes)
    for _ in range(shared):
        node = free.take(1)
        lent[node] += 1
        devices.append((node, nodes[node] - lent[node]))
    starts = _starts(shared, {profile: len(bids) for profile, bids in by_profile.items()})
    return [
        (bid_id, (devices[device][0], f"{devices[device][1]}:{profile}@{start}"))
        for profile in MIG
        for bid_id, (device, start) in zip(by_profile[profile], starts[profile], strict=True)
    ]


def _starts(shared: int, counts: dict[str, int]) -> dict[str, list[tuple[int, int]]]:
    """(device, start) for every slice: the constructive half of ``mig_fits``.

    A device is a left half (slots 0-3) and a right half (4-6). 4g takes a left half; 3g takes right
    halves, then left ones; 2g takes pairs, left ones first; 1g takes what is left.
    """
    fours = [(device, 0) for device in range(counts["4g"])]
    right = min(counts["3g"], shared)
    over = counts["3g"] - right
    threes = [(device, 4) for device in range(right)]
    threes += [(counts["4g"] + extra, 0) for extra in range(over)]
    lefts = range(counts["4g"] + over, shared)
    rights = range(right, shared)
    pairs = [(device, start) for device in lefts for start in (0, 2)]
    pairs += [(device, 4) for device in rights]
    twos = pairs[: counts["2g"]]
    used = {(device, start + slot) for device, start in twos for slot in (0, 1)}
    singles = [(device, start) for device in lefts for start in range(4)]
    singles += [(device, start) for device in rights for start in (4, 5, 6)]
    ones = [slot for slot in singles if slot not in used][: counts["1g"]]
    return {"1g": ones, "2g": twos, "3g": threes, "4g": fours}
