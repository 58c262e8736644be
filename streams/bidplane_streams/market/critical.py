"""Critical values: the least value at which a winner would still have won (MECHANISM, Payment).

Decides that value by scanning again without the winner, so that no bid gains by naming another.
Refuses to know what else a rule may charge: that is pricing.py.

The plain replay starts where the bid won, since before that it changed nothing. Winners ahead of
their pool's first refusal share one: up to there everybody fits with or without them, so all of one
shape and level leave the same counters behind. A bid that also named another shape in the pool it
won replays alone: that shape may close before the shared start. (No price would differ while shapes
are nested, but the argument is longer than the saving is worth.)
"""

from __future__ import annotations

from typing import NamedTuple

from bidplane_streams.market.feasibility import Counters
from bidplane_streams.market.greedy import KEY_BITS, Auction, Outcome, Pair, Win
from bidplane_topics.instances import InstanceBid


class Way(NamedTuple):
    """A chance to win: ``level`` copies of a shape in a pool."""

    pool: str
    shape: str
    level: int


# Which accepted pair ended each chance; None: none did. (What never fitted was never a pair.)
Closers = dict[Way, Pair | None]


def values(auction: Auction, outcome: Outcome, *, shared: bool = True) -> dict[str, int]:
    """Critical payments in micro-credits by bid id; ``shared=False`` replays for each winner."""
    return _Replays(auction, outcome, shared=shared).payments()


class _Replays:
    """The main scan with what its replays need: who was served where, and what closed when."""

    def __init__(self, auction: Auction, outcome: Outcome, *, shared: bool) -> None:
        self._auction, self._outcome, self._shared = auction, outcome, shared
        self._wins = sorted(outcome.wins.items(), key=lambda item: item[1].position)
        end = len(auction.pairs)
        self._won_at = [
            outcome.wins[pair.bid_id].position if pair.bid_id in outcome.wins else end
            for pair in auction.pairs
        ]
        self._pairs_of: dict[str, list[Pair]] = {}
        for pair in auction.pairs:
            self._pairs_of.setdefault(pair.bid_id, []).append(pair)
        self._closed_at = self._main_closers()
        self._known: dict[tuple[Way, tuple[Way, ...]], Closers] = {}

    def _main_closers(self) -> dict[tuple[str, str], int]:
        """The position after whose acceptance each (pool, shape) no longer fits."""
        counters = self._auction.empty()
        still: dict[str, set[str]] = {}
        for pair in self._auction.pairs:
            still.setdefault(pair.pool, set()).add(pair.shape)
        closed_at: dict[tuple[str, str], int] = {}
        for _, win in self._wins:
            pair = self._auction.pairs[win.position]
            taken = counters[pair.pool]
            taken.add(pair.shape, win.level)
            for shape in [one for one in still[pair.pool] if not taken.fits(one)]:
                closed_at[pair.pool, shape] = win.position
                still[pair.pool].remove(shape)
        return closed_at

    def payments(self) -> dict[str, int]:
        """Rigid: the cheapest way to win. Elastic: level by level up to the one won."""
        return {
            bid_id: self._payment(self._auction.bids[bid_id], win) for bid_id, win in self._wins
        }

    def _payment(self, bid: InstanceBid, win: Win) -> int:
        won = self._auction.pairs[win.position]
        if bid.mode == "elastic":
            levels = range(bid.level_min, win.level + 1)
            ways = [(won, Way(won.pool, won.shape, level)) for level in levels]
        else:
            ways = [(one, Way(one.pool, one.shape, 1)) for one in self._pairs_of[bid.bid_id]]
        closers = self._closers(win, won, [way for _, way in ways])
        costs = [least_value(bid, pair, closers[way]) for pair, way in ways]
        finite = [cost for cost in costs if cost is not None]
        if bid.mode == "rigid":
            assert finite, "a way that won has a price"
            return min(finite)
        assert len(finite) == len(ways), "a level that was won has a price"
        return levels_total(bid.level_min, finite)

    def _closers(self, win: Win, won: Pair, ways: list[Way]) -> Closers:
        """What closes each way in the world without this winner."""
        start = self._start(win, won, ways)
        closers: Closers = {}
        still_open = []
        for way in ways:
            closed_at = self._closed_at.get((way.pool, way.shape), len(self._won_at))
            # The winner touches its own pool alone: elsewhere the main scan holds up to the start.
            if closed_at >= (win.position if way.pool == won.pool else start):
                still_open.append(way)
            else:
                closers[way] = self._auction.pairs[closed_at]
        if start == win.position:
            return closers | self._replay(win, start, still_open)
        # Who leaves the same counters and watches the same ways needs the same replay.
        alike = (Way(won.pool, won.shape, win.level), tuple(sorted(set(still_open))))
        if alike not in self._known:
            self._known[alike] = self._replay(win, start, still_open)
        return closers | self._known[alike]

    def _start(self, win: Win, won: Pair, ways: list[Way]) -> int:
        """Where the replay may begin: the pool's first refusal, or where the bid won."""
        same = all(way.shape == won.shape for way in ways if way.pool == won.pool)
        if not (self._shared and same):
            return win.position
        return max(win.position, self._outcome.refused.get(won.pool, len(self._won_at)))

    def _counters(self, win: Win, start: int) -> dict[str, Counters]:
        """The counters just before ``start`` without this winner."""
        counters = dict(self._outcome.before[self._auction.pairs[win.position].bid_id])
        if start > win.position:
            counters = {pool: one.copy() for pool, one in counters.items()}
            for _, other in self._wins:
                if win.position < other.position < start:
                    pair = self._auction.pairs[other.position]
                    counters[pair.pool].add(pair.shape, other.level)
        return counters

    def _replay(self, win: Win, start: int, ways: list[Way]) -> Closers:
        """Scan on from ``start`` without the winner, until all ways have closed."""
        auction, pairs = self._auction, self._auction.pairs
        counters = self._counters(win, start)
        served = {pairs[win.position].bid_id}
        copied: set[str] = set()
        closed: set[tuple[str, str]] = set()
        closers: Closers = {}
        left = set(ways)
        for position in range(start, len(pairs)):
            if not left:
                break
            if self._won_at[position] < start:
                continue
            pair = pairs[position]
            if (pair.pool, pair.shape) in closed or pair.bid_id in served:
                continue
            level = auction.level(counters[pair.pool], pair)
            if not level:
                if not counters[pair.pool].fits(pair.shape):
                    closed.add((pair.pool, pair.shape))
                continue
            served.add(pair.bid_id)
            if pair.pool not in copied:
                counters[pair.pool] = counters[pair.pool].copy()
                copied.add(pair.pool)
            counters[pair.pool].add(pair.shape, level)
            for way in [way for way in left if way.pool == pair.pool]:
                if not counters[pair.pool].fits(way.shape, way.level):
                    closers[way] = pair
                    left.remove(way)
        return closers | dict.fromkeys(left)


def levels_total(level_min: int, costs: list[int]) -> int:
    """What levels cost: the first ``level_min`` come as one lot, each further one by itself."""
    return level_min * costs[0] + sum(costs[1:])


def least_value(bid: InstanceBid, pair: Pair, closer: Pair | None) -> int | None:
    """The least value, from the reserve on, that puts ``pair`` ahead of ``closer``; else None.

    The key holds value and boost together, so the boost comes off once, here: what remains is the
    value.
    """
    if closer is None or pair.tier < closer.tier:
        return pair.reserve
    if pair.tier > closer.tier:
        return None
    ahead = (pair.tie, pair.alternative) < (closer.tie, closer.alternative)
    key = -closer.minus_key if ahead else -closer.minus_key + 1
    least = -(-key * pair.weighted // (bid.weight << KEY_BITS)) - bid.boost_micros
    return max(pair.reserve, least)
