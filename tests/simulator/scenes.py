"""Small scenarios for the simulator's tests: nodes, jobs and runs, each by one short call.

Decides defaults. Refuses to know what is tested.
"""

from __future__ import annotations

from typing import Any

from bidplane_loadtest.simulator import synthetic, values, work
from bidplane_loadtest.simulator.cluster import Node, Request
from bidplane_loadtest.simulator.engine import Decision, Engine, History, Policy, Run
from bidplane_loadtest.simulator.policies import POLICIES
from bidplane_loadtest.simulator.work import Job, Scenario

__all__ = ["POLICIES", "Decision"]
MINUTE = 60_000
HOUR = 60 * MINUTE


def node(gpus: int = 8, name: str = "n0") -> Node:
    """A node with 16 cores and 64 GiB for each GPU."""
    return Node(name, 16_000 * gpus, 65_536 * gpus, gpus, "G2")


def job(number: int, gpus: int = 1, **changes: Any) -> Job:
    """A best-effort job of one hour that comes at once and is worth a credit for each GPU."""
    request = Request(1000 * gpus, 1024 * gpus, gpus, changes.pop("milli", 1000))
    fields: dict[str, Any] = {
        "name": f"job-{number}", "request": request, "qos": "BE", "tenant": "batch",
        "arrival_ms": 0, "duration_ms": HOUR, "value_micros": 1_000_000 * gpus,
    }  # fmt: skip
    return Job(number=number, **(fields | changes))


def scene(*jobs: Job, nodes: tuple[Node, ...] = (), hours: int = 10) -> Scenario:
    """These jobs on one node of eight GPUs, or on those nodes."""
    return Scenario(
        "a test", nodes or (node(),), jobs, tuple(work.TENANTS), hours * HOUR, 100, 1, {},
    )  # fmt: skip


def busy(seed: int = 1, *, jobs: int = 250, load_percent: int = 130) -> Scenario:
    """A seeded workload of openb's shape on a few nodes, of both sizes."""
    return work.scenario(
        "seeded", synthetic.nodes(128), synthetic.pods(seed, jobs), load_percent=load_percent,
        seed=seed, draw=values.lognormal, count=jobs,
    )  # fmt: skip


def play(given: Scenario, policy: str | Policy) -> History:
    """What a policy, or the policy of that name, makes of a scenario."""
    made = POLICIES[policy](given) if isinstance(policy, str) else policy
    return Engine(given, made).run()


def starts(history: History) -> dict[int, int]:
    """Job -> the minute of its last start."""
    return {run.job.number: run.started_ms // MINUTE for run in history.runs}


def ends(history: History, number: int) -> list[str]:
    """How the attempts of a job ended."""
    return [run.end for run in history.runs if run.job.number == number]


def at(history: History, moment_ms: int) -> list[Run]:
    """Everything that runs at a moment."""
    return [run for run in history.runs if run.started_ms <= moment_ms < run.ended_ms]
