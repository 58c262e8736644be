"""One policy a file; POLICIES names them all.

Decides what each is made of. Refuses to know time's queue: that is engine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bidplane_loadtest.simulator import placing
from bidplane_loadtest.simulator.cluster import Cluster
from bidplane_loadtest.simulator.engine import Policy
from bidplane_loadtest.simulator.fragmentation import Fragmentation, popular
from bidplane_loadtest.simulator.policies import packing
from bidplane_loadtest.simulator.policies.drf import DominantShare
from bidplane_loadtest.simulator.policies.easy import Easy
from bidplane_loadtest.simulator.policies.fifo import Fifo
from bidplane_loadtest.simulator.policies.market import MARKETS, MarketPolicy
from bidplane_loadtest.simulator.policies.priority import Priority
from bidplane_loadtest.simulator.work import Scenario

# The class weight that puts latency-sensitive work first whatever it is worth.
URGENT: Final = 100

Make = Callable[[Scenario], Policy]


def _best_fit(scene: Scenario) -> Policy:
    cluster = Cluster(scene.nodes)
    return packing.Packed(cluster, placing.BestFit(), packing.by_arrival)


def _fgd(scene: Scenario) -> Policy:
    cluster = Cluster(scene.nodes)
    known = Fragmentation(popular(job.request for job in scene.jobs))
    return packing.Packed(cluster, placing.LeastFragmentation(known), packing.by_arrival)


def _value_fifo(scene: Scenario) -> Policy:
    cluster = Cluster(scene.nodes)
    return packing.Packed(cluster, placing.BestFit(), packing.by_density)


def _market(rule: str) -> Make:
    return lambda scene: MarketPolicy(scene, rule)


POLICIES: Final[dict[str, Make]] = {
    "fifo": lambda scene: Fifo(Cluster(scene.nodes), packing.by_arrival),
    "value-queue": lambda scene: Fifo(Cluster(scene.nodes), packing.by_density),
    "easy": lambda scene: Easy(Cluster(scene.nodes)),
    "drf": lambda scene: DominantShare(Cluster(scene.nodes)),
    "priority": lambda scene: Priority(Cluster(scene.nodes)),
    "best-fit": _best_fit,
    "fgd": _fgd,
    "value-fifo": _value_fifo,
    **{name: _market(rule) for name, rule in MARKETS.items()},
    "market-floors": lambda scene: MarketPolicy(scene, "greedy", floors=True),
    "market-urgent": lambda scene: MarketPolicy(scene, "greedy", urgent=URGENT),
}
