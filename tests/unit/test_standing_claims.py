"""Standing claims: which stand for which node, and when one may go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

import builders
from bidplane_streams.sinks import claims_objects, names, records, standing, witness
from bidplane_topics import markets, registry, supply
from bidplane_topics.rounds import RoundClosed

OFFER = builders.node("n0", gpus=2, market="fast")
STANDS = standing.holder(OFFER)


class Scene:
    """What one sink has read, put into its tables by hand; nothing is connected."""

    def __init__(self) -> None:
        """A standing market with one node on offer, and a clock that a test moves."""
        wake = asyncio.Event()
        self.now_s = 100.0
        self.declared: records.Table[Any] = records.Table("none:9", registry.MARKETS, str, wake)
        self.standing = standing.Standing(
            "none:9", "fast", self.declared, wake, lambda: self.now_s
        )  # fmt: skip
        self.offers, leases, self.rounds = self.standing.tables
        assert isinstance(leases, witness.Complete)
        self.leases = leases
        self.declared.rows["fast"] = records.Row(builders.market("fast", standing=True), 0, 0)
        self.offers.rows["n0"] = records.Row(OFFER, 0, 5)

    def withdraw(self) -> None:
        """The newest word on the node is that it is off sale."""
        gone = supply.NodeWithdrawn(market="fast", node="n0", reason="any")
        self.offers.rows["n0"] = records.Row(gone, 0, 6)

    def move(self) -> None:
        """An operator has assigned it elsewhere, and it was withdrawn."""
        moved = markets.NodeAssigned(node="n0", market="other")
        self.declared.rows["node/n0"] = records.Row(moved, 0, 1)
        self.withdraw()

    def apply(self, offset: int) -> None:
        """The lane has closed a round that read supply up to there."""
        closed = RoundClosed(
            market="fast", window=1, closed_at_ms=1, inputs={registry.SUPPLY.name: offset},
            rule="greedy", rule_version=1, slot_ms=1, beacon="", previous_root="", root="",
            orders=0, awarded=0, revenue_micros=0, pools={}, leases_active=0, units_leased=0,
            units_total=0,
        )  # fmt: skip
        self.rounds.rows["fast"] = records.Row(closed, 0, 9)

    def dropped(self) -> bool:
        """Whether the claim may go, once leases were read after all that was seen."""
        self.standing.dropped({STANDS.lease_id})
        self.now_s += 1
        self.leases.complete_until_s = self.now_s
        return self.standing.dropped({STANDS.lease_id}) == {STANDS.lease_id}


def test_a_claim_stands_for_everything_that_a_node_offers() -> None:
    """It is written as a lease's claim is, in a namespace that no agent has."""
    (node,) = names.nodes(STANDS)
    body = claims_objects.claim(STANDS, 0, node)
    assert len(body["spec"]["devices"]["requests"]) == 2
    space = body["metadata"]["namespace"]
    assert space != names.namespace("fast", "fast")
    where = (space, body["metadata"]["name"])
    assert not standing.held(OFFER, {where: body})
    allocated = body | {"status": claims_objects.status(STANDS, node, "uid", 0)}
    assert standing.held(OFFER, {where: allocated})
    more = builders.node("n0", gpus=3, market="fast")
    assert not standing.held(more, {where: allocated})
    assert standing.holder(more).lease_id != STANDS.lease_id


def test_what_is_offered_must_stand() -> None:
    """In a standing market alone, and as far as one claim can hold it."""
    scene = Scene()
    assert list(scene.standing.wanted()) == [STANDS.lease_id]
    scene.offers.rows["n0"] = records.Row(builders.node("n0", gpus=33, market="fast"), 0, 5)
    assert not scene.standing.wanted()
    scene.declared.rows["fast"] = records.Row(builders.market("fast"), 0, 0)
    assert not scene.standing.wanted()


def test_a_node_that_is_only_off_sale_keeps_its_claim() -> None:
    """A cordon or a silent kubelet ends no server."""
    scene = Scene()
    scene.withdraw()
    scene.apply(7)
    assert not scene.dropped()


def test_a_node_that_was_moved_is_drained_first() -> None:
    """The lane must have applied the withdrawal, and the last lease must be over."""
    scene = Scene()
    scene.move()
    scene.apply(6)
    assert not scene.dropped()
    scene.apply(7)
    lease = builders.lease(market="fast", standing=True)
    scene.leases.rows["l"] = records.Row(lease, 0, 1)
    assert not scene.dropped()
    assert scene.standing.leased() == {"n0": 0}
    del scene.leases.rows["l"]
    assert scene.dropped()


def test_leases_are_believed_only_as_of_after_the_withdrawal() -> None:
    """Those read before may lack what the lane sold last."""
    scene = Scene()
    scene.move()
    scene.apply(7)
    scene.leases.complete_until_s = scene.now_s
    assert not scene.standing.dropped({STANDS.lease_id})


@pytest.mark.parametrize("gpus", [1, 3])
def test_other_devices_make_another_claim_and_the_old_one_goes_first(gpus: int) -> None:
    """They may overlap, and the node is off sale meanwhile: its offer is not held."""
    scene = Scene()
    scene.offers.rows["n0"] = records.Row(builders.node("n0", gpus=gpus, market="fast"), 0, 6)
    scene.apply(7)
    assert STANDS.lease_id not in scene.standing.wanted()
    assert scene.dropped()


def test_a_claim_of_a_node_that_nobody_knows_stays() -> None:
    """What is not understood is not taken down."""
    scene = Scene()
    del scene.offers.rows["n0"]
    scene.apply(7)
    assert not scene.dropped()


def test_only_standing_leases_of_its_own_market_count() -> None:
    """Others have claims of their own."""
    scene = Scene()
    key = scene.leases._key
    mine = builders.lease(market="fast", standing=True)
    assert key(mine) == "l"
    assert key(replace(mine, standing=False)) is None
    assert key(replace(mine, market="other")) is None
