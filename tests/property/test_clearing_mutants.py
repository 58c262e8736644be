"""Mutants of the clearing: each breaks one rule, and the comparison must notice."""

from __future__ import annotations

import msgspec
import pytest

from bidplane_agents.audit import mechanism
from bidplane_streams.market import clearing, critical, feasibility, greedy, pricing
from bidplane_streams.market.critical import Way
from bidplane_streams.market.feasibility import Counters
from bidplane_streams.market.greedy import KEY_BITS, Auction, Outcome, Pair, Win
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import InstanceBid, Result
from clearing_instances import corpus

CORPUS = corpus(80)
EXPECTED = [mechanism.clear(instance) for instance in CORPUS]


def plain(result: Result) -> Result:
    """The result without positions, which the definition leaves open."""
    awards = {
        bid: msgspec.structs.replace(award, devices=()) for bid, award in result.awards.items()
    }
    return msgspec.structs.replace(result, awards=awards)


def disagreements() -> int:
    """How many instances of the corpus the market and the definition clear differently.

    A mutant that sells what cannot be placed stops at an assert, which counts as noticed.
    """
    found = 0
    for instance, expected in zip(CORPUS, EXPECTED, strict=True):
        try:
            found += plain(clearing.clear(instance)) != expected
        except AssertionError:
            found += 1
    return found


def test_unmutated_market_agrees() -> None:
    """Without a mutant the corpus shows no difference, so what kills a mutant is the mutant."""
    assert disagreements() == 0


def test_paying_the_own_bid_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A market that charges the bid under the name of greedy is noticed."""
    monkeypatch.setitem(pricing.PRICING, "greedy", pricing.pay_as_bid)
    assert disagreements()


def mutated(
    bid: InstanceBid, pair: Pair, closer: Pair | None, *, tie: int | None = None,
    boosts: int = 1, tiers: bool = True, reserve: bool = True,
) -> int | None:  # fmt: skip
    """``critical.least_value`` with one rule changed, written apart from it."""
    floor = pair.reserve if reserve else 0
    if closer is None or (tiers and pair.tier < closer.tier):
        return floor
    if tiers and pair.tier > closer.tier:
        return None
    behind = (pair.tie, pair.alternative) > (closer.tie, closer.alternative)
    key = -closer.minus_key + (int(behind) if tie is None else tie)
    least = -(-key * pair.weighted // (bid.weight << KEY_BITS))
    return max(floor, least - boosts * bid.boost_micros)


def test_unmutated_least_value_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame of the mutants below is the rule itself while nothing is changed."""
    monkeypatch.setattr(critical, "least_value", mutated)
    assert disagreements() == 0


@pytest.mark.parametrize(
    "change",
    [{"tie": 1}, {"tie": 0}, {"boosts": 0}, {"boosts": 2}, {"tiers": False}, {"reserve": False}],
    ids=str,
)
def test_least_value_mutants_die(change: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tie off by one, a boost kept or taken twice, tiers or reserves ignored: each is noticed."""

    def broken(bid: InstanceBid, pair: Pair, closer: Pair | None) -> int | None:
        return mutated(bid, pair, closer, **change)  # type: ignore[arg-type]

    monkeypatch.setattr(critical, "least_value", broken)
    assert disagreements()


def test_levels_at_one_price_die(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charging every level what the last one costs (level times its price) is noticed."""
    monkeypatch.setattr(
        critical, "levels_total", lambda low, costs: (low + len(costs) - 1) * costs[-1]
    )
    assert disagreements()


def test_lowest_level_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving an elastic bid at its lowest level, where a higher one fits, is noticed."""

    def lowest(auction: Auction, counters: Counters, pair: Pair) -> int:
        low = auction.bids[pair.bid_id].level_min
        return low if counters.fits(pair.shape, low) else 0

    monkeypatch.setattr(Auction, "level", lowest)
    assert disagreements()


def test_slices_by_volume_die(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting MIG slices by sevenths alone, blind to placements, is noticed."""
    monkeypatch.setattr(
        feasibility, "mig_devices",
        lambda n1, n2, n3, n4, *, rest: -(-(n1 + 2 * n2 + 3 * n3 + 4 * n4 - rest.slots) // 7),
    )  # fmt: skip
    assert disagreements()


def test_fragments_as_blocks_die(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting free devices over all nodes, blind to their fragments, is noticed."""
    whole = Counters.__init__

    def blind(counters: Counters, nodes: tuple[int, ...], rest: feasibility.Rest) -> None:
        whole(counters, (sum(nodes),), rest)

    monkeypatch.setattr(Counters, "__init__", blind)
    assert disagreements()


def test_late_shared_start_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared replay that starts after the pool's first refusal misses closers, and is noticed."""
    start = critical._Replays._start

    def late(replays: critical._Replays, win: Win, won: Pair, ways: list[Way]) -> int:
        right = start(replays, win, won, ways)
        end = len(replays._auction.pairs)
        return right if right == win.position else min(right + 1, end)

    monkeypatch.setattr(critical._Replays, "_start", late)
    assert disagreements()


def test_replay_that_keeps_the_winner_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay in which the winner still holds its devices is noticed."""
    counters = critical._Replays._counters

    def kept(replays: critical._Replays, win: Win, start: int) -> dict[str, Counters]:
        found = counters(replays, win, start)
        pair = replays._auction.pairs[win.position]
        found[pair.pool] = found[pair.pool].copy()
        found[pair.pool].add(pair.shape, win.level)
        return found

    monkeypatch.setattr(critical._Replays, "_counters", kept)
    assert disagreements()


def test_key_blind_to_scarcity_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in which every bid weighs one unit is noticed."""
    monkeypatch.setattr(greedy, "UNITS", dict.fromkeys(UNITS, 1))
    assert disagreements()


def test_unsorted_scan_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving bids in the order of their ids, without keys, is noticed."""
    run = Auction.run

    def by_id(auction: Auction) -> Outcome:
        auction.pairs.sort(key=lambda pair: (pair.bid_id, pair.alternative))
        return run(auction)

    monkeypatch.setattr(Auction, "run", by_id)
    assert disagreements()
