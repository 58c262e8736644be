"""Merkle trees by RFC 6962's definition, halving by halving.

Decides hashes of leaves, nodes and trees, and what a proof leads to. Refuses to know what leaves
say, and shares nothing with the market's own tree, which goes level by level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf(content: bytes) -> bytes:
    """SHA-256 of a zero byte and the content."""
    return hashlib.sha256(bytes([0]) + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    """SHA-256 of a one byte, the left hash and the right one."""
    return hashlib.sha256(bytes([1]) + left + right).digest()


def _split(size: int) -> int:
    """The greatest power of two below ``size``, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


class Tree:
    """The tree over leaf hashes; each part's hash is found once."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Nothing is hashed yet."""
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self) -> bytes:
        """MTH: the hash of the whole tree."""
        return self._hash(0, len(self._leaves)) if self._leaves else hashlib.sha256().digest()

    def _hash(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self._leaves[start]
        if (start, end) not in self._known:
            middle = start + _split(end - start)
            self._known[start, end] = node(self._hash(start, middle), self._hash(middle, end))
        return self._known[start, end]

    def path(self, index: int) -> list[bytes]:
        """PATH: the siblings of a leaf, from the leaf upwards."""
        start, end = 0, len(self._leaves)
        found: list[bytes] = []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                found.append(self._hash(middle, end))
                end = middle
            else:
                found.append(self._hash(start, middle))
                start = middle
        return found[::-1]


def climb(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a leaf's place in a tree; None if its length is wrong."""
    if not 0 <= index < size:
        return None
    if size == 1:
        return None if path else leaf_hash
    if not path:
        return None
    middle = _split(size)
    if index < middle:
        below = climb(leaf_hash, index, middle, path[:-1])
        return None if below is None else node(below, path[-1])
    below = climb(leaf_hash, index - middle, size - middle, path[:-1])
    return None if below is None else node(path[-1], below)
