"""What a simulation is given: nodes, jobs with a value, tenants, and how long it looks.

Decides the stated rules that turn a trace into a load: which share of the nodes there is, how long
a job may be, and one factor on arrivals, so that the jobs want ``load_percent`` of the GPU time
until the horizon. Refuses to know policies.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from bidplane_loadtest.jobs import GAP_MAX_S, Qos
from bidplane_loadtest.simulator.cluster import Cluster, Node, Request
from bidplane_loadtest.simulator.openb import Pod
from bidplane_loadtest.simulator.values import Draw, worth_micros

DURATION_MIN_S: Final = 60
DURATION_MAX_S: Final = 6 * 3600
# A market's window, unless it is said otherwise: a ninth of the median job of the trace.
WINDOW_MS: Final = 10_000
# No trace names tenants: pods are dealt to these in proportion, so some want more than their part.
TENANTS: Final[dict[str, int]] = {"research": 5, "serving": 3, "batch": 2, "lab": 1}
CUT: Final = "jobs cut to six hours"
STRETCHED: Final = "jobs stretched to a minute"
WITHOUT_GPU: Final = "pods without a GPU left out"
LEFT_OUT: Final = "pods left out to keep the run short"
TOO_LARGE: Final = "pods left out that no node of this cluster can hold"


class Job(NamedTuple):
    """Work in simulated time: milliseconds since the start, micro-credits when it is done."""

    number: int
    name: str
    request: Request
    qos: Qos
    tenant: str
    arrival_ms: int
    duration_ms: int
    value_micros: int

    @property
    def size(self) -> int:
        """Thousandths of a GPU times milliseconds."""
        return self.request.total_milli * self.duration_ms


class Scenario(NamedTuple):
    """Everything a policy meets. ``notes`` count what of the source was changed or left out."""

    source: str
    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]
    tenants: tuple[str, ...]
    horizon_ms: int
    load_percent: int
    seed: int
    notes: dict[str, int]
    window_ms: int = WINDOW_MS

    @property
    def capacity_milli(self) -> int:
        """Thousandths of a GPU in the cluster."""
        return sum(node.gpus for node in self.nodes) * 1000


def thinned(nodes: Sequence[Node], keep_one_in: int) -> tuple[Node, ...]:
    """Every n-th node of those alike, so that the mix of nodes stays; named as before."""
    alike = sorted(nodes, key=lambda node: (node.model, node.gpus, node.cpu_milli, node.name))
    return tuple(sorted(alike[keep_one_in // 2 :: keep_one_in]))


def scenario(
    source: str, nodes: Sequence[Node], pods: Sequence[Pod], *, load_percent: int, seed: int,
    draw: Draw, count: int,
) -> Scenario:  # fmt: skip
    """Jobs from pods: arrivals keep order and bunching, durations are bounded, values drawn."""
    chosen, notes = _chosen(nodes, pods, count)
    durations = [min(DURATION_MAX_S, max(DURATION_MIN_S, pod.duration_s)) for pod in chosen]
    notes[CUT] = sum(pod.duration_s > DURATION_MAX_S for pod in chosen)
    notes[STRETCHED] = sum(pod.duration_s < DURATION_MIN_S for pod in chosen)
    capacity = sum(node.gpus for node in nodes) * 1000
    wanted = sum(
        pod.request.total_milli * long_s * 1000
        for pod, long_s in zip(chosen, durations, strict=True)
    )
    horizon_ms = wanted * 100 // (load_percent * capacity)
    clock = _clock(chosen)
    dice = random.Random(f"values {seed}")
    jobs = []
    for number, (pod, long_s) in enumerate(zip(chosen, durations, strict=True)):
        size = pod.request.total_milli * long_s * 1000
        jobs.append(
            Job(
                number, pod.name, pod.request, pod.qos, _tenant(dice),
                clock[number] * horizon_ms // (clock[-1] + 1), long_s * 1000,
                worth_micros(draw(dice), pod.qos, size),
            )
        )  # fmt: skip
    return Scenario(
        source, tuple(nodes), tuple(jobs), tuple(TENANTS), horizon_ms, load_percent, seed, notes,
    )  # fmt: skip


def frozen(scene: Scenario) -> Scenario:
    """The same jobs, one a second in random order, that all stay for ever: nothing is given back.

    As in the published experiment, but a job that does not fit waits.
    """
    dice = random.Random(f"frozen {scene.seed}")
    wanted = scene.capacity_milli * scene.load_percent // 100
    jobs: list[Job] = []
    total = 0
    horizon_ms = 1000
    while total < wanted:
        job = dice.choice(scene.jobs)
        total += job.request.total_milli
        jobs.append(job._replace(number=len(jobs), arrival_ms=horizon_ms))
        horizon_ms += 1000
    span_ms = horizon_ms + 3_600_000
    for_ever = tuple(job._replace(duration_ms=span_ms) for job in jobs)
    return scene._replace(jobs=for_ever, horizon_ms=span_ms)


def _chosen(
    nodes: Sequence[Node], pods: Sequence[Pod], count: int
) -> tuple[list[Pod], dict[str, int]]:
    """At most ``count`` pods with a GPU, evenly from the whole list; and what was left out."""
    cluster = Cluster(nodes)
    holds = {
        request: any(cluster.fits(node, request) for node in range(len(nodes)))
        for request in {pod.request for pod in pods}
    }
    able = [pod for pod in pods if pod.request.gpus]
    held = sorted(
        (pod for pod in able if holds[pod.request]), key=lambda pod: (pod.created_s, pod.name)
    )
    step = max(1, -(-len(held) // count))
    chosen = held[::step]
    notes = {
        WITHOUT_GPU: len(pods) - len(able),
        TOO_LARGE: len(able) - len(held),
        LEFT_OUT: len(held) - len(chosen),
    }
    return chosen, notes


def _clock(pods: Sequence[Pod]) -> list[int]:
    """Arrivals in seconds since the first, with pauses of at most GAP_MAX_S."""
    gaps = (
        min(GAP_MAX_S, max(0, after.created_s - before.created_s))
        for before, after in itertools.pairwise(pods)
    )
    return [0, *itertools.accumulate(gaps)]


def _tenant(dice: random.Random) -> str:
    return dice.choices(list(TENANTS), list(TENANTS.values()))[0]
