"""Positions for what the counters sold: largest first, each block on the tightest node.

Decides node and MIG placement of every award. Refuses to fail: whatever feasibility.py accepted has
a place, and an assert says so.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from bidplane_streams.market import slicing
from bidplane_streams.market.feasibility import mig_devices, rest_of
from bidplane_streams.market.greedy import Outcome
from bidplane_streams.market.shapes import GANGS, MIG, NODE_DEVICES
from bidplane_topics.instances import Instance, PartialDevice

Positions = dict[str, tuple[tuple[int, int | str], ...]]


def place(instance: Instance, outcome: Outcome) -> Positions:
    """Every award's positions: (node, count) summed by node, or (node, "ordinal:profile@start").

    What is pinned keeps its place, and the ordinals of the others do not count it.
    """
    bids = {bid.bid_id: bid for bid in instance.bids}
    by_pool: dict[str, list[tuple[str, str, int]]] = {pool.name: [] for pool in instance.pools}
    nodes = {pool.name: list(pool.nodes) for pool in instance.pools}
    found: Positions = {}
    for bid_id, win in sorted(outcome.wins.items()):
        chosen = bids[bid_id].alternatives[win.alternative]
        if chosen.pinned is None:
            by_pool[chosen.pool].append((bid_id, chosen.shape, win.level))
        else:
            nodes[chosen.pool][chosen.pinned] -= int(chosen.shape)
            found[bid_id] = ((chosen.pinned, int(chosen.shape)),)
    for pool in instance.pools:
        found |= place_pool(tuple(nodes[pool.name]), by_pool[pool.name], pool.partly_used)
    return found


def place_pool(
    nodes: tuple[int, ...], sold: list[tuple[str, str, int]],
    partial: Sequence[PartialDevice] = (),
) -> Positions:  # fmt: skip
    """Place (bid id, shape, copies) on nodes with that many free and these partly used devices."""
    free = _Free(nodes)
    counts: dict[str, dict[int, int]] = {}
    for size, bid_id in sorted(_blocks(sold), key=lambda block: (-block[0], block[1])):
        node = free.take(size)
        counts.setdefault(bid_id, {})
        counts[bid_id][node] = counts[bid_id].get(node, 0) + size
    found: Positions = {bid_id: tuple(sorted(by.items())) for bid_id, by in counts.items()}
    slices = [(bid_id, shape) for bid_id, shape, copies in sold if shape in MIG
              for _ in range(copies)]  # fmt: skip
    for bid_id, position in _place_slices(nodes, partial, free, slices):
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
    nodes: tuple[int, ...], partial: Sequence[PartialDevice], free: _Free,
    slices: list[tuple[str, str]],
) -> list[tuple[str, tuple[int, str]]]:  # fmt: skip
    """Slices on partly used devices, then on a node's highest ordinals.

    Whole devices take the lowest ones.
    """
    by_profile = {profile: [bid for bid, shape in slices if shape == profile] for profile in MIG}
    counts = {profile: len(bids) for profile, bids in by_profile.items()}
    shared = mig_devices(*counts.values(), rest=rest_of(slots for _, slots in partial))
    devices: list[tuple[int, int]] = []
    seen = [0] * len(nodes)
    for node, _ in partial:  # numbered on after the free ones
        devices.append((node, nodes[node] + seen[node]))
        seen[node] += 1
    lent = [0] * len(nodes)
    for _ in range(shared):
        node = free.take(1)
        lent[node] += 1
        devices.append((node, nodes[node] - lent[node]))
    starts = slicing.starts([*(slots for _, slots in partial), *[slicing.ALL] * shared], counts)
    return [
        (bid_id, (devices[device][0], f"{devices[device][1]}:{profile}@{start}"))
        for profile in MIG
        for bid_id, (device, start) in zip(by_profile[profile], starts[profile], strict=True)
    ]
