"""When a source may offer a node that an operator moved: proof of what other markets have done."""

from __future__ import annotations

import pytest

import builders
from bidplane_streams.sources.assignments import Assignment, Handover, Known, Supply
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.supply import NodeOffered, NodeWithdrawn

NODE = builders.node("n0", market="new")
MOVED = Assignment("new", 5)


class Scene:
    """One source of market ``new`` and what the log tells it."""

    def __init__(self, market: str = "new") -> None:
        """A clock that a test moves, and a move that all markets have applied."""
        self.now_s = 100.0
        self.handover = Handover(market, lambda: self.now_s)
        self.read = {0: 5, 1: 5}
        self.live: list[LeaseChanged] = []
        self.complete_until_s = 0.0
        self.assigned = {"n0": MOVED}

    def known(self) -> Known:
        """What the tables say."""
        return Known(self.assigned, self.read, self.live, self.complete_until_s)

    def said(self, event: Supply = NODE) -> Supply:
        """What is published of the node."""
        return self.handover.settle(self.known(), {"n0": event})["n0"]

    def offered(self) -> bool:
        """Whether it is offered once leases were read after what was last seen."""
        self.said()
        self.now_s += 1
        self.complete_until_s = self.now_s
        return isinstance(self.said(), NodeOffered)


def test_a_node_without_an_assignment_is_offered_as_its_source_selects() -> None:
    """Nothing is asked of other markets, and the offer says nothing more than before."""
    scene = Scene()
    scene.assigned, scene.read = {}, {0: -1}
    assert scene.said() == NODE
    assert not scene.handover.asks(scene.known())


def test_the_old_market_withdraws_at_once() -> None:
    """It waits for nothing, and says where the node went."""
    scene = Scene("old")
    assert scene.said(builders.node("n0", market="old")) == NodeWithdrawn(
        market="old", node="n0", reason="it is assigned to new"
    )
    assert not scene.handover.selects(scene.known(), "n0")
    assert not scene.handover.asks(scene.known())


@pytest.mark.parametrize("read", [{0: 5, 1: 4}, {0: 5, 1: -1}, {0: 4, 1: 5}])
def test_no_market_may_be_behind_the_assignment(read: dict[int, int]) -> None:
    """A market that has not closed a round with it, or none at all, could still sell the node."""
    scene = Scene()
    scene.read = read
    assert not scene.offered()
    scene.read = {0: 5, 1: 5}
    assert scene.offered()


def test_leases_must_be_read_after_the_rounds_were_seen() -> None:
    """What was read before may lack the leases that those very rounds awarded."""
    scene = Scene()
    scene.complete_until_s = scene.now_s
    assert isinstance(scene.said(), NodeWithdrawn)
    assert scene.handover.asks(scene.known())
    scene.complete_until_s = scene.now_s + 1
    assert isinstance(scene.said(), NodeOffered)
    assert not scene.handover.asks(scene.known())


@pytest.mark.parametrize("state", ["pending", "awarded", "bound", "notice", "ending"])
def test_a_lease_of_another_market_keeps_the_node_back(state: str) -> None:
    """In whatever state, also before any claim of it stands, until it has ended."""
    scene = Scene()
    scene.live = [builders.lease(market="old", state=state)]
    assert not scene.offered()
    assert scene.said() == NodeWithdrawn(market="new", node="n0", reason="leases of old hold it")
    scene.live = []
    assert scene.offered()


def test_leases_of_its_own_and_on_other_nodes_keep_nothing_back() -> None:
    """A node that comes back may still have leases of this market, which knows them itself."""
    scene = Scene()
    scene.live = [builders.lease(market="new"), builders.lease(market="old", devices=())]
    assert scene.offered()


def test_an_offer_names_its_assignment_and_the_highest_epoch_elsewhere() -> None:
    """Epochs of this market and of other nodes do not count; ended leases do."""
    scene = Scene()
    for market, epoch in (("old", 7), ("older", 9), ("new", 40)):
        name = scene.handover.note(builders.lease(market=market, epoch=epoch, state="ended"))
        assert name == "l"
    assert scene.offered()
    said = scene.said()
    assert isinstance(said, NodeOffered)
    assert (said.assignment, said.epoch) == (5, 9)


def test_a_newer_assignment_needs_proof_of_its_own() -> None:
    """What was proven of an earlier move says nothing of this one."""
    scene = Scene()
    assert scene.offered()
    scene.assigned = {"n0": Assignment("new", 9)}
    assert isinstance(scene.said(), NodeWithdrawn)
    scene.read = {0: 9, 1: 12}
    assert isinstance(scene.said(), NodeWithdrawn)
    assert scene.offered()


def test_a_node_that_cannot_be_sold_stays_so() -> None:
    """An assignment offers nothing that is not ready, and its own reason is told."""
    scene = Scene()
    gone = NodeWithdrawn(market="new", node="n0", reason="it is not ready")
    assert scene.said(gone) == gone
