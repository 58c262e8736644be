"""Pods that an agent creates in its own cluster, with plain kubectl and its own kubeconfig.

Decides one ordinary pod for each node of a lease, created when the lease is bound and deleted at
its notice. Refuses to know how the pod reaches the host cluster: that is the nodes sink's.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
from collections import Counter
from typing import Any, Final

import orjson

from bidplane_agents import clock
from bidplane_loadtest.players import Player, stop
from bidplane_streams.embedded import assets
from bidplane_topics.outcomes import OutcomeReported

# Three agents share two cores with everything else: few kubectl processes at a time.
AT_ONCE: Final = 2
KUBECTL_TIMEOUT_S: Final = 20.0
RUNNING_TIMEOUT_S: Final = 15.0
IMAGE: Final = "registry.k8s.io/pause:3.10"


def find_kubectl() -> str:
    """Kubectl on the PATH, else our own build.

    Raises:
        EmbeddedError: there is none and it cannot be built.
    """
    return shutil.which("kubectl") or str(assets.program("kubectl"))


def manifests(outcome: OutcomeReported) -> list[dict[str, Any]]:
    """One pod for each host node of a bound lease: limits, nothing of bidplane's."""
    wanted: dict[str, Counter[str]] = {}
    for device in outcome.devices:
        name = f"nvidia.com/mig-{device.profile}" if device.profile else "nvidia.com/gpu"
        wanted.setdefault(device.node, Counter())[name] += 1
    return [
        _pod(f"run-{outcome.lease_id[1:11]}-{number}", wanted[node])
        for number, node in enumerate(sorted(wanted))
    ]


def _pod(name: str, limits: Counter[str]) -> dict[str, Any]:
    amounts = {resource: str(count) for resource, count in sorted(limits.items())}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": IMAGE, "resources": {"limits": amounts}}],
        },
    }  # fmt: skip


class Runner:
    """Runs pods for the leases of agents that have a cluster; counts, and times until Running."""

    def __init__(self, kubectl: str, clusters: pathlib.Path) -> None:
        """``clusters`` holds TENANT/AGENT/kubeconfig."""
        self.counts: Counter[str] = Counter()
        self.running_ms: list[int] = []
        self.last_error = ""
        self._kubectl, self._clusters = kubectl, clusters
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._made: dict[str, list[str]] = {}
        self._over: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def kubeconfig(self, player: Player) -> pathlib.Path:
        """Where the clusters sink puts the agent's kubeconfig."""
        return self._clusters / player.role.tenant / player.role.agent / "kubeconfig"

    async def reachable(self, player: Player, timeout_s: float) -> bool:
        """Wait until the agent's own API server answers its own kubectl."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.kubeconfig(player).is_file():
                    await asyncio.sleep(0.2)
                while not await self._run(player, "get", "serviceaccount", "default"):
                    await asyncio.sleep(0.5)
                return True
        return False

    def heard(self, player: Player, outcome: OutcomeReported) -> None:
        """React to an outcome of a player: bound creates pods, notice or an ending deletes them."""
        if not player.role.cluster:
            return
        if outcome.kind == "bound":
            self._start(self._create(player, outcome))
        elif outcome.kind in ("notice", "ending", "ended", "voided"):
            self._over.add(outcome.lease_id)
            if names := self._made.pop(outcome.lease_id, []):
                self._start(self._delete(player, names))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _create(self, player: Player, outcome: OutcomeReported) -> None:
        pods = manifests(outcome)
        names = [str(pod["metadata"]["name"]) for pod in pods]
        told_ms = clock.now_ms()
        async with self._slots:
            if outcome.lease_id in self._over:
                self.counts["too_late"] += len(pods)
                return
            self._made[outcome.lease_id] = names
            listed = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
            if not await self._run(player, "create", "-f", "-", stdin=listed):
                self.counts["not_created"] += len(pods)
                return
        self.counts["created"] += len(pods)
        until = ("--for=jsonpath={.status.phase}=Running", f"--timeout={RUNNING_TIMEOUT_S:.0f}s")
        if await self._run(player, "wait", *until, *(f"pod/{name}" for name in names)):
            self.counts["ran"] += len(pods)
            self.running_ms.append(clock.now_ms() - told_ms)
        else:
            self.counts["not_running"] += len(pods)

    async def _delete(self, player: Player, names: list[str]) -> None:
        async with self._slots:
            await self._run(player, "delete", "pod", "--ignore-not-found", "--wait=false", *names)

    async def _run(self, player: Player, *arguments: str, stdin: bytes | None = None) -> bool:
        """Whether kubectl did it; never longer than its time-out."""
        argv = [self._kubectl, "--kubeconfig", str(self.kubeconfig(player)), *arguments]
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(KUBECTL_TIMEOUT_S):
                _, told = await child.communicate(stdin)
        except TimeoutError:
            self.last_error = f"kubectl {arguments[0]}: no answer in {KUBECTL_TIMEOUT_S:.0f} s"
            return False
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode:
            self.last_error = told.decode(errors="replace").strip()[-300:]
        return child.returncode == 0

    async def close(self) -> None:
        """Stop what still runs."""
        await stop(self._tasks)
