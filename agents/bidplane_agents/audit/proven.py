"""The rule `exact`, verified: a solver's awards are taken from the log, never solved for again.

Decides which parts of a window had to fall back and which could not, and whether what a solver is
said to have proven can be: awards that pack, at prices between reserve and value, whose surplus is
the round's bound and no less than what the scan reaches. Refuses to look for better ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import replace

from bidplane_agents.audit import mechanism
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.expected import Expected
from bidplane_agents.audit.mechanism import UNITS, Sold, Wins
from bidplane_topics import ids
from bidplane_topics.instances import Instance, InstanceBid, Result
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.rounds import RoundClosed

RULE: Final = "exact"
BIDS_MOST: Final = 200
GAINS_MOST: Final = 2**48


class Awards(NamedTuple):
    """Who won what (alternative and level), and what each pays."""

    wins: Wins
    paid: dict[str, int]


def cleared(
    instance: Instance, seen: Seen, expected: Expected, clear: Callable[[Instance, str], Result],
    rule: str,
) -> Result:  # fmt: skip
    """The clearing of the round ``seen``: by ``clear``, or by its own awards where a solver ran."""
    return (
        _Judge(instance, seen, expected, clear).result() if rule == RULE else clear(instance, rule)
    )


class _Judge:
    """One round of the rule."""

    def __init__(
        self, instance: Instance, seen: Seen, expected: Expected,
        clear: Callable[[Instance, str], Result],
    ) -> None:  # fmt: skip
        self.instance, self.clear, self.expected = instance, clear, expected
        self.seen: Seen = seen
        self.round: RoundClosed = seen.event

    def result(self) -> Result:
        wins: Wins = {}
        paid: dict[str, int] = {}
        fallen: set[str] = set()
        bound = 0
        for part in parts(self.instance):
            names = {pool.name for pool in part.pools}
            most = ceiling(part)
            easy = everyone_first(part)
            falls = must_fall(part) or (not easy and bool(names & set(self.round.fell_back)))
            if falls or easy:
                result = self.clear(part, "greedy")
                awards = Awards(
                    {one: (won.alternative, won.level) for one, won in result.awards.items()},
                    {one: won.price_micros for one, won in result.awards.items()},
                )
            else:
                awards = self._claimed(part)
            wins |= awards.wins
            paid |= awards.paid
            fallen |= names if falls else set()
            bound += most if falls else surplus(part, awards.wins)
        names_fallen = tuple(sorted(fallen))
        self._same(names_fallen, self.round.fell_back, "the pools that fell back")
        if self.round.bound_micros is not None:
            self._same(bound, self.round.bound_micros, "the surplus of a proven optimum")
        result = mechanism.completed(self.instance, RULE, wins, paid)
        return replace(result, bound_micros=bound, fell_back=names_fallen)

    def _same(self, wanted: object, found: object, what: str) -> None:
        what = f"round {self.round.window}, {what}"
        self.expected.findings.same(5, wanted, found, self.seen.record, what)

    def _claimed(self, part: Instance) -> Awards:
        """What the log says that a solver awarded, judged."""
        awards = Awards({}, {})
        pools = {pool.name: pool for pool in part.pools}
        for bid in sorted(part.bids, key=lambda one: one.bid_id):
            seen = self.expected.awarded_lease(ids.lease_id(self.instance.market, bid.bid_id))
            if seen is None or seen.event.window != self.round.window:
                continue
            lease: LeaseChanged = seen.event
            index = self._alternative(bid, lease)
            asked = index is not None and bid.level_min <= lease.level <= bid.level_max
            self.expected.findings.check(
                5, asked, seen.record, f"what {bid.bid_id} won", "something that it asked for",
                f"{lease.level} times {lease.shape} in {lease.market_pool}",
            )  # fmt: skip
            if index is None or not asked:
                continue
            least = lease.level * mechanism.reserve_of(bid, index, pools)
            most = lease.level * bid.value_micros
            self.expected.findings.check(
                5, least <= lease.price_micros <= most, seen.record, f"what {bid.bid_id} pays",
                f"{least} to {most}", lease.price_micros,
            )  # fmt: skip
            awards.wins[bid.bid_id] = index, lease.level
            awards.paid[bid.bid_id] = lease.price_micros
        self._check(part, awards.wins)
        return awards

    def _alternative(self, bid: InstanceBid, lease: LeaseChanged) -> int | None:
        """The first of the bid's alternatives that the lease can be an award of."""
        slots = -(-lease.duration_ms // self.instance.slot_ms)
        wanted = lease.market_pool, lease.shape, slots
        asked = [(one.pool, one.shape, one.slots) for one in bid.alternatives]
        return asked.index(wanted) if wanted in asked else None

    def _check(self, part: Instance, wins: Wins) -> None:
        names = ", ".join(pool.name for pool in part.pools)
        record, findings = self.seen.record, self.expected.findings
        findings.check(5, packs(part, wins), record, f"the awards in {names}", "fit", "too many")
        reached, scan = surplus(part, wins), surplus(part, mechanism.allocate(part))
        findings.check(
            5, reached >= scan, record, f"the surplus in {names}", f"{scan} or more", reached
        )


def parts(instance: Instance) -> list[Instance]:
    """The window in parts that share no pool and no bid."""
    groups: list[set[str]] = []
    for bid in instance.bids:
        named = {one.pool for one in bid.alternatives}
        joined = [group for group in groups if group & named]
        groups = [group for group in groups if not group & named]
        groups.append(named.union(*joined))
    return [
        replace(
            instance,
            pools=tuple(pool for pool in instance.pools if pool.name in group),
            bids=tuple(bid for bid in instance.bids if bid.alternatives[0].pool in group),
        )
        for group in groups
    ]


def must_fall(part: Instance) -> bool:
    """Whether no solver is asked: many bids, floors, renewals, sums that doubles do not hold."""
    tiers = {bid.tier_of(index) for bid in part.bids for index in range(len(bid.alternatives))}
    pinned = any(one.pinned is not None for bid in part.bids for one in bid.alternatives)
    boosted = any(bid.boost_micros for bid in part.bids)
    many = len(part.bids) > BIDS_MOST or ceiling(part) >= GAINS_MOST
    return many or pinned or boosted or len(tiers) > 1


def gain(part: Instance, bid: InstanceBid, index: int) -> int:
    """What a copy adds to the surplus."""
    pools = {pool.name: pool for pool in part.pools}
    return bid.weight * (bid.value_micros - mechanism.reserve_of(bid, index, pools))


def surplus(part: Instance, wins: Wins) -> int:
    """What the rule maximises."""
    bids = {bid.bid_id: bid for bid in part.bids}
    return sum(gain(part, bids[one], index) * level for one, (index, level) in wins.items())


def ceiling(part: Instance) -> int:
    """What the surplus would be if each bid were alone."""
    total = 0
    for bid in part.bids:
        alone = [
            gain(part, bid, index) for index in range(len(bid.alternatives))
            if packs(part, {bid.bid_id: (index, bid.level_min)})
        ]  # fmt: skip
        total += bid.level_max * max([0, *alone])
    return total


def everyone_first(part: Instance) -> bool:
    """Whether all get, whole, what the scan offers them first, and none could gain more.

    Such a part needs no solver, so it never falls back.
    """
    pools = {pool.name: pool for pool in part.pools}
    wins: Wins = {}
    for bid in part.bids:
        ranks = []
        for index, chosen in enumerate(bid.alternatives):
            served = bid.value_micros >= mechanism.reserve_of(bid, index, pools)
            if served and packs(part, {bid.bid_id: (index, bid.level_min)}):
                weight = UNITS[chosen.shape] * chosen.slots * pools[chosen.pool].scarcity_permille
                key = bid.weight * (bid.value_micros + bid.boost_micros) * 2**20 // weight
                ranks.append((bid.tier_of(index), -key, index))
        if ranks:
            wins[bid.bid_id] = min(ranks)[2], bid.level_max
    return packs(part, wins) and surplus(part, wins) == ceiling(part)


def packs(part: Instance, wins: Wins) -> bool:
    """Whether all of it can be placed."""
    bids = {bid.bid_id: bid for bid in part.bids}
    sold: dict[str, Sold] = {pool.name: () for pool in part.pools}
    for one, (index, level) in wins.items():
        chosen = bids[one].alternatives[index]
        shape = mechanism.sold_as(chosen)
        sold[chosen.pool] = mechanism.with_more(sold[chosen.pool], shape, level)
    return all(mechanism.packs(mechanism.stock_of(pool), sold[pool.name]) for pool in part.pools)
