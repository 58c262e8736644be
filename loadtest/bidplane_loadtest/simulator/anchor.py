"""The published experiment, repeated: what share of the GPUs can be given away as pods keep coming?

Decides whether this simulator may be believed: its means must lie beside those that Weng et al.
published (USENIX ATC 2023; openb's default pod list, 1,213 nodes; expected results of their own
simulator, ten seeds). Pods come in random order, stay for ever, and are drawn again until they want
130 % of the GPUs; one that fits nowhere is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from bidplane_loadtest.simulator import placing
from bidplane_loadtest.simulator.cluster import Cluster, Node, Request
from bidplane_loadtest.simulator.fragmentation import Fragmentation, popular

LOADS: Final = (100, 130)
FIRST_SEED: Final = 42


class Published(NamedTuple):
    """Mean allocation in percent when pods for 100 % and 130 % of the GPUs have come."""

    at_100: float
    at_130: float
    tolerance: float


PUBLISHED: Final[dict[str, Published]] = {
    "random": Published(86.30, 87.47, 1.0),
    "dot-product": Published(90.62, 90.85, 1.5),
    "packing": Published(91.78, 92.00, 1.5),
    "best-fit": Published(92.86, 93.08, 1.0),
    "fgd": Published(95.23, 95.39, 1.5),
}
Make = Callable[[Cluster, Fragmentation, random.Random], placing.Placer]
MAKERS: Final[dict[str, Make]] = {
    "random": lambda cluster, _, dice: placing.Anywhere(cluster, dice).place,
    "dot-product": lambda cluster, _, __: placing.Chooser(cluster, placing.DotProduct()).place,
    "packing": lambda cluster, _, __: placing.Chooser(cluster, placing.Packing()).place,
    "best-fit": lambda cluster, _, __: placing.Chooser(cluster, placing.BestFit()).place,
    "fgd": lambda cluster, known, __: (
        placing.Chooser(cluster, placing.LeastFragmentation(known)).place
    ),
}


class Compared(NamedTuple):
    """Ours beside the published, in percent; ``within`` says whether both loads agree."""

    policy: str
    ours_100: float
    ours_130: float
    published: Published

    @property
    def within(self) -> bool:
        """Whether both means are within the tolerance."""
        theirs = self.published
        worst = max(abs(self.ours_100 - theirs.at_100), abs(self.ours_130 - theirs.at_130))
        return worst <= theirs.tolerance


def inflow(pods: Sequence[Request], wanted_milli: int, dice: random.Random) -> list[Request]:
    """Every pod once, in random order; then pods drawn again until they want ``wanted_milli``."""
    order = dice.sample(list(pods), len(pods))
    total = sum(pod.total_milli for pod in order)
    while total < wanted_milli:
        order.append(dice.choice(pods))
        total += order[-1].total_milli
    return order


def allocation(
    nodes: Sequence[Node], pods: Sequence[Request], policy: str, seed: int,
    known: Fragmentation,
) -> tuple[float, ...]:  # fmt: skip
    """Percent of the GPUs given away when pods for each of LOADS have come."""
    dice = random.Random(seed)
    cluster = Cluster(nodes)
    capacity = cluster.capacity_milli
    order = inflow(pods, capacity * LOADS[-1] // 100, dice)
    place = MAKERS[policy](cluster, known, dice)
    arrived = 0
    found: list[float] = []
    for pod in order:
        arrived += pod.total_milli
        where = place(pod)
        if where is not None:
            cluster.take(where, pod)
        while len(found) < len(LOADS) and arrived * 100 >= LOADS[len(found)] * capacity:
            found.append(cluster.used_milli * 100 / capacity)
    assert len(found) == len(LOADS), "pods for the highest load have come"
    return tuple(found)


def compare(
    nodes: Sequence[Node], pods: Sequence[Request], seeds: int, policies: Sequence[str]
) -> Iterator[Compared]:
    """Each policy's means over ``seeds`` seeds beside the published ones, as they are found."""
    known = Fragmentation(popular(pods))
    for policy in policies:
        runs = [allocation(nodes, pods, policy, FIRST_SEED + run, known) for run in range(seeds)]
        means = [sum(run[load] for run in runs) / seeds for load in range(len(LOADS))]
        yield Compared(policy, means[0], means[1], PUBLISHED[policy])
