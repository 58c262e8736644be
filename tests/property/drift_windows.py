"""Markets whose weights and reserves drift: declarations, published pools, and windows of bids.

Decides what may be drawn. Refuses to know what must hold.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import builders
from bidplane_streams.market.market import MarketState
from bidplane_topics import reports
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import PoolRound, RoundClosed

NAMES = ("a", "b", "c")
AMOUNTS = st.integers(0, 40) | st.integers(0, 2**42)
WEIGHTS = st.integers(1, 2000) | st.integers(1, 1_000_000)
# (agent, value per bid, shape) of one order.
Wish = tuple[int, int, str]
WISHES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 60_000), st.sampled_from(("1", "2", "4", "8"))),
    max_size=7,
)


@st.composite
def declarations(draw: st.DrawFn, least_rate: int = 0) -> MarketDeclared:
    """A market with rates, floors, caps and weights of any size."""
    return builders.market(
        scarcity_rate_permille=draw(st.integers(least_rate, 1000)),
        reserve_rate_permille=draw(st.integers(least_rate, 1000)),
        reserve_cap_micros=draw(st.integers(0, 3000)),
        target_permille=draw(st.integers(0, 1000)),
        reserve_micros=draw(st.integers(0, 100)),
        reserves=draw(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 200))),
        scarcity=draw(st.dictionaries(st.sampled_from(NAMES), WEIGHTS)),
    )


@st.composite
def pools(draw: st.DrawFn) -> dict[str, PoolRound]:
    """What a round publishes of some of three pools."""
    found = {}
    for name in sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1))):
        total = draw(st.integers(1, 500))
        offered = draw(st.integers(0, total))
        sold = draw(st.integers(0, offered) | st.just(offered))
        found[name] = PoolRound(
            units_offered=offered, units_sold=sold, units_total=total,
            price_micros=draw(AMOUNTS) if sold else 0, reserve_micros=draw(st.integers(0, 4000)),
            scarcity_permille=draw(WEIGHTS),
        )  # fmt: skip
    return found


class Drifting:
    """A market of two pools that drifts fast, fed window by window."""

    def __init__(self, **rules: Any) -> None:
        self.feed = builders.Feed(MarketState(0))
        self.seq = 0
        declared = builders.market(
            scarcity_rate_permille=500, reserve_rate_permille=300, reserve_cap_micros=50,
            reserve_micros=3, target_permille=500, **rules,
        )  # fmt: skip
        self.feed.give(declared)
        self.feed.give(builders.node("n0", productName="H100"))
        self.feed.give(builders.node("n1", 4, productName="A100"))
        self.window([])

    def window(self, wishes: list[Wish]) -> RoundClosed:
        """Those orders and a close; what was won is given back, to be sold in the window after."""
        for agent, value, shape in wishes:
            self.seq += 1
            name = f"t/a{agent}/k/{self.seq}/0"
            way = builders.alternative(shape, 1000)
            order = builders.order(name, value, way, seq=self.seq, agent=f"a{agent}")
            self.feed.give(order)
        self.feed.give(reports.SinkAlive(market="m", sink="s"))
        said = self.feed.close()
        for lease in builders.events(said, LeaseChanged):
            for kind, epoch in ((reports.LeaseFailed, 0), (reports.LeaseReleased, 1)):
                more: dict[str, Any] = {"reason": "used"} if kind is reports.LeaseFailed else {}
                self.feed.give(kind(
                    market="m", lease_id=lease.lease_id, epoch=lease.epoch + epoch, **more
                ))  # fmt: skip
        (closed,) = builders.events(said, RoundClosed)
        assert isinstance(closed, RoundClosed)
        return closed


def frozen_terms(closed: RoundClosed) -> dict[str, tuple[int, ...]]:
    """What a round was cleared by and must have been known when it opened."""
    return {
        name: (one.scarcity_permille, one.reserve_micros, one.units_offered, one.units_total)
        for name, one in closed.pools.items()
    }


def ignores_its_own_bids(
    history: list[list[Wish]], one: list[Wish], other: list[Wish], **rules: Any
) -> bool:
    """Whether two windows of one history have the same terms, whatever they receive."""
    found = []
    for wishes in (one, other):
        market = Drifting(**rules)
        for earlier in history:
            market.window(earlier)
            market.window([])
        found.append(frozen_terms(market.window(wishes)))
    return found[0] == found[1]
