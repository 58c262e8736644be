"""Merkle trees as RFC 6962 has them: SHA-256, leaves after a zero byte, nodes after a one byte.

Decides how hashes become one root, and which siblings prove a leaf. Refuses to know what the leaves
say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# A leaf can never pass for a node: the first byte differs.
_LEAF, _NODE = b"\0", b"\1"
EMPTY = hashlib.sha256(b"").digest()


def leaf(content: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two hashes, in this order."""
    return hashlib.sha256(_NODE + left + right).digest()


class Tree:
    """The tree over some leaves' hashes, kept whole, so that every proof is a look-up."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Pairs are joined level by level; a last one without a partner goes up as it is.

        That is RFC 6962's split at the greatest power of two below the size.
        """
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            above = [node(below[at - 1], below[at]) for at in range(1, len(below), 2)]
            self._levels.append(above + below[len(above) * 2 :])

    @property
    def root(self) -> bytes:
        """The hash of everything; that of nothing is SHA-256 of no bytes."""
        return self._levels[-1][0] if self._levels[-1] else EMPTY

    def proof(self, index: int) -> list[bytes]:
        """The siblings of a leaf's way to the root, from the leaf upwards.

        Raises:
            IndexError: there is no such leaf.
        """
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(index)
        found = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                found.append(level[index ^ 1])
            index //= 2
        return found


def proven(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to; None where it is too short or too long for that place."""
    if not 0 <= index < size:
        return None
    found, siblings = leaf_hash, list(reversed(proof))
    last = size - 1
    while last:
        if index ^ 1 <= last:
            if not siblings:
                return None
            sibling = siblings.pop()
            found = node(sibling, found) if index & 1 else node(found, sibling)
        index, last = index // 2, last // 2
    return None if siblings else found
