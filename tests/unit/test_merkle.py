"""Merkle trees: the known answers of RFC 6962, and proofs that lead nowhere else."""

from __future__ import annotations

import itertools

import pytest

from bidplane_agents.audit import merkle as auditors
from bidplane_streams.market import merkle

# The leaves and roots with which implementations of Certificate Transparency test themselves.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def hashed(size: int) -> list[bytes]:
    """The hashes of that many different leaves."""
    return [merkle.leaf(str(number).encode()) for number in range(size)]


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_known_roots_come_out(size: int) -> None:
    """The market's tree and the auditor's both give the roots that are published for RFC 6962."""
    leaves = LEAVES[:size]
    assert merkle.Tree([merkle.leaf(one) for one in leaves]).root.hex() == ROOTS[size]
    assert auditors.Tree([auditors.leaf(one) for one in leaves]).root().hex() == ROOTS[size]


def test_a_leaf_never_passes_for_a_node() -> None:
    """A leaf that holds two hashes does not have the hash of the node above them."""
    left, right = hashed(2)
    assert merkle.leaf(left + right) != merkle.node(left, right)


@pytest.mark.parametrize("size", range(1, 41))
def test_both_trees_agree_on_every_proof(size: int) -> None:
    """Root and proofs are the same level by level and halving by halving, and lead to the root."""
    leaves = hashed(size)
    tree, other = merkle.Tree(leaves), auditors.Tree(leaves)
    assert tree.root == other.root()
    for index, one in enumerate(leaves):
        proof = tree.proof(index)
        assert proof == other.path(index)
        assert merkle.proven(one, index, size, proof) == tree.root
        assert auditors.climb(one, index, size, proof) == tree.root


@pytest.mark.parametrize("size", range(1, 12))
def test_a_proof_holds_for_its_own_place_alone(size: int) -> None:
    """At another place, with a sibling more or less or another leaf, no root comes out."""
    leaves = hashed(size)
    tree = merkle.Tree(leaves)
    for index, at in itertools.product(range(size), range(-1, size + 1)):
        proof = tree.proof(index)
        for check in (merkle.proven, auditors.climb):
            assert (check(leaves[index], at, size, proof) == tree.root) == (at == index)
            assert check(leaves[index], at, size, [*proof, tree.root]) != tree.root
            assert proof == [] or check(leaves[index], index, size, proof[:-1]) is None
            assert check(tree.root, index, size, proof) != tree.root or size == 1


def test_a_place_outside_the_tree_has_no_proof() -> None:
    """Asking for the proof of a leaf that is not there is an error, below and above."""
    tree = merkle.Tree(hashed(3))
    for index in (-1, 3):
        with pytest.raises(IndexError):
            tree.proof(index)
