"""Bidders on scripted rounds, and the view that they decide from."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bidplane_agents import history, strategies, testing, view
from bidplane_agents.bidder import Bidder
from bidplane_agents.errors import BadInput
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import PoolRound, RoundClosed

MINUTE_MS = 60_000
BIDDERS: list[Bidder] = [
    strategies.TrainingGang(market="pool-a", duration_ms=MINUTE_MS, value_micros=9_000_000),
    strategies.InferenceSingle(market="pool-a", duration_ms=MINUTE_MS, value_micros=500_000),
    strategies.MigSlices(market="pool-a", duration_ms=MINUTE_MS, value_micros=50_000),
]


@pytest.mark.parametrize("bidder", BIDDERS, ids=lambda bidder: type(bidder).__name__)
def test_equal_bidders_decide_alike(bidder: Bidder) -> None:
    """A run can be repeated exactly, round by round."""
    script = [testing.lose(), testing.win("0.01"), testing.end_leases(), testing.lose()]
    first, again = testing.play(bidder, script), testing.play(bidder, script)
    assert first == again
    assert any(turn.place is not None for turn in first)


@pytest.mark.parametrize("bidder", BIDDERS, ids=lambda bidder: type(bidder).__name__)
def test_a_bidder_with_all_it_wants_waits(bidder: Bidder) -> None:
    """One lease at a time: no bid while it is held, and a bid again after it."""
    script = [testing.win("0.01"), testing.hold(), testing.end_leases(), testing.hold()]
    placed = [turn.place is not None for turn in testing.play(bidder, script)]
    assert placed == [True, False, False, True]


def test_a_gang_offers_a_smaller_one_for_longer() -> None:
    """Two alternatives under one value."""
    turn = testing.play(BIDDERS[0], [testing.hold()])[0]
    assert turn.place is not None
    shapes = [(one.shape, one.duration_ms) for one in turn.place.alternatives]
    assert shapes == [("8", MINUTE_MS), ("4", 2 * MINUTE_MS)]


def test_slices_stop_at_what_the_money_covers() -> None:
    """Levels that nobody could pay are not asked for."""
    slices = strategies.MigSlices(
        market="m", duration_ms=1, value_micros=1_000_000, spread_permille=0, level_max=6
    )
    turn = testing.play(slices, [testing.hold()], available="3.50")[0]
    assert turn.place is not None
    assert turn.place.level_max == 3


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (strategies.TrainingGang, {"value_micros": "3.50"}, "value_micros '3.50': write a whole"),
        (strategies.TrainingGang, {"value_micros": 0}, "value_micros 0: write a whole number from"),
        (strategies.TrainingGang, {"duration_ms": 1.5}, "duration_ms 1.5: write a whole number"),
        (strategies.TrainingGang, {"market": "Ä"}, "market 'Ä': use 1 to 32 lower-case letters"),
        (strategies.TrainingGang, {"shape": "3"}, "shape '3': there are 1g 2g"),
        (strategies.TrainingGang, {"fallback_shape": 4}, "shape 4: there are 1g 2g"),
        (strategies.TrainingGang, {"selector": "x=1"}, "selector 'x=1': write a dict"),
        (strategies.InferenceSingle, {"spread_permille": 1001}, "from 0 to 1000"),
        (strategies.InferenceSingle, {"leases_max": 0}, "leases_max 0"),
        (strategies.InferenceSingle, {"urgency_permille": -1}, "urgency_permille -1"),
        (
            strategies.MigSlices,
            {"level_max": 65},
            "level_max 65: write a whole number from 1 to 64",
        ),
        (strategies.MigSlices, {"level_min": 7}, "level_min 7: write a whole number from 1 to 6"),
    ],
)
def test_a_bidder_refuses_what_it_could_never_bid_with(
    kind: type[strategies.Reference], given: dict[str, Any], said: str
) -> None:
    """When it is made, by its name, the field and what to write."""
    fields = {"market": "m", "duration_ms": 1, "value_micros": 1, **given}
    with pytest.raises(BadInput) as caught:
        kind(**fields)
    assert str(caught.value).startswith(f"{kind.__name__}: ")
    assert said in str(caught.value)


def test_values_vary_within_their_spread() -> None:
    """Different seeds bid differently, never beyond what was said."""
    values = set()
    for seed in range(50):
        bidder = strategies.InferenceSingle(
            market="m", duration_ms=1, value_micros=1000, seed=seed, spread_permille=100
        )
        place = testing.play(bidder, [testing.hold()])[0].place
        assert place is not None
        values.add(place.value_micros)
    assert 900 <= min(values) < max(values) <= 1100


def test_a_view_counts_money_and_verdicts() -> None:
    """Held, won, settled and bound in order leave a lease and the money that is left."""
    script = [testing.win("2.00"), testing.refuse(Rejection.NO_FUNDS)]
    many = strategies.InferenceSingle(
        market="m", duration_ms=5, value_micros=3_000_000, leases_max=2
    )
    first, second = testing.play(many, script, available="10")
    lease = next(iter(first.view.leases.values()))
    assert (first.view.available_micros, first.view.held_micros) == (8_000_000, 0)
    assert (lease.state, lease.price_micros) == ("bound", 2_000_000)
    assert lease.ends_at_ms == first.now_ms + 5
    assert first.view.bids == {}
    assert (second.view.won, second.view.not_won) == (1, 1)
    assert second.view.last is not None
    assert second.view.last.reason is Rejection.NO_FUNDS


def test_a_view_remembers_prices() -> None:
    """The last round of each market, by pool."""
    pool = PoolRound(
        units_offered=7, units_sold=7, units_total=7, price_micros=3, reserve_micros=1,
        scarcity_permille=1000,
    )  # fmt: skip
    closed = RoundClosed(
        market="m", window=1, closed_at_ms=1, inputs={}, rule="greedy", rule_version=1, slot_ms=1,
        beacon="", previous_root="", root="", orders=1, awarded=1, revenue_micros=1,
        pools={"h100": pool}, leases_active=1, units_leased=7, units_total=7,
    )  # fmt: skip
    seen = view.cleared(view.View(tenant="t", agent="a"), closed)
    assert seen.prices["m"]["h100"].price_micros == 3


def told(kind: str, **more: object) -> OutcomeReported:
    """An outcome of a bid b and, where it has one, its lease l."""
    raw = {
        "type": "outcome_reported", "outcome_id": kind, "kind": kind, "tenant": "t", "agent": "a",
        "at_ms": 1, "bid_id": "b", **more,
    }  # fmt: skip
    return msgspec.convert(raw, OutcomeReported)


def test_a_story_is_a_bid_with_its_lease() -> None:
    """Whatever names the bid or the lease that it became, and nothing else."""
    outcomes = [
        told("held"), told("won", lease_id="l"), told("held", bid_id="c"),
        told("notice", bid_id="", lease_id="l"), told("settled", lease_id="l"),
    ]  # fmt: skip
    story = history.story("b", outcomes)
    assert [one.kind for one in story.outcomes] == ["held", "won", "notice", "settled"]
    assert "grace" in story.next_step


def test_a_story_says_what_to_do_next() -> None:
    """A refusal that may pass is told apart from one that cannot."""
    passing = history.story("b", [told("refused", reason="expired")])
    lasting = history.story("b", [told("refused", reason="unsupported")])
    assert "may succeed later" in passing.next_step
    assert "cannot succeed" in lasting.next_step
    assert history.story("x", []).outcomes == ()


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("no_matching_pool", "`bidplane market pools`"),
        ("shape_not_sold", "`bidplane market pools`"),
        ("below_reserve", "`bidplane quote`"),
        ("unknown_market", "`bidplane market list`"),
        ("no_funds", "`bidplane grant`"),
    ],
)
def test_a_refusal_that_asks_for_a_deed_names_it(reason: str, command: str) -> None:
    """What waiting would not mend is answered with a command."""
    story = history.story("b", [told("refused", reason=reason)])
    assert command in story.next_step
    assert "later" not in story.next_step
