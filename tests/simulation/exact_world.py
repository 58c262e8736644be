"""A world whose second market clears by the rule `exact`, scarce enough for a solver to be asked.

Decides the market and its crowd. The solver is handed in, so that a dishonest one can be tried.
"""

from __future__ import annotations

import msgspec

from bidplane_streams.exact import solving
from bidplane_streams.market import optimum
from bidplane_streams.market.market_rows import Solve
from bidplane_topics import bids, markets, registry, supply
from bidplane_topics.instances import Instance, Result
from simulation.audit_world import MARKETS, WINDOW_MS, Bidder, World

GPUS = 3
# No test waits so long; a solver that is asked answers.
PATIENT_MS = 600_000


def patient(instance: Instance, _: int) -> Result:
    """The solver, with all the time that it wants."""
    return solving.clear(instance, PATIENT_MS)


def is_contested(part: Instance) -> bool:
    """Whether a solver is asked about this component."""
    most = optimum.ceiling(part)
    return not optimum.is_uncontested(part, most) and not optimum.must_fall_back(part, most)


class ExactWorld(World):
    """The usual world, with more bids for less in the market ``beta``."""

    def __init__(self, seed: int, solve: Solve | None = patient) -> None:
        """``solve`` is the market's; ``asked`` counts the components that a solver may settle."""
        self.asked = 0
        super().__init__(seed, "exact")
        self.markets[1].state.solve = None if solve is None else self._counted(solve)

    def _counted(self, solve: Solve) -> Solve:
        def counted(instance: Instance, limit_ms: int) -> Result:
            self.asked += sum(map(is_contested, optimum.components(instance)))
            return solve(instance, limit_ms)

        return counted

    def _declare(self, partition: int, reserve: int) -> None:
        name = MARKETS[partition]
        declared = markets.MarketDeclared(
            market=name, partition=partition, rule="exact" if partition else "greedy",
            window_ms=WINDOW_MS, slot_ms=500, reserve_micros=reserve, bind_deadline_ms=2500,
            grace_ms=1200, stale_after_ms=4000, release_fee_micros=50,
        )  # fmt: skip
        self.broker.write(registry.MARKETS, 0, declared)

    def _node(self, market: str, number: int) -> supply.NodeOffered:
        node = super()._node(market, number)
        return msgspec.structs.replace(node, devices=(*node.devices[:GPUS], node.devices[-1]))

    def _bid(self, bidder: Bidder) -> None:
        for one in (bidder, *self.random.sample(self.bidders, 3)):
            super()._bid(one)

    def _place(self) -> bids.Place:
        place = super()._place()
        market = "beta" if self.random.random() < 0.9 else place.market
        short = tuple(msgspec.structs.replace(one, duration_ms=900) for one in place.alternatives)
        return msgspec.structs.replace(place, market=market, alternatives=short)
