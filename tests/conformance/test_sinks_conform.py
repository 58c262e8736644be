"""What every sink, source and provider must hold to, collected from their tables.

A new row in a table is tested here without a line of test code.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import signal
import stat
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import planes_world
import sinks_world
from bidplane_streams import commands_sinks
from bidplane_streams.sinks import kube, names
from bidplane_streams.sinks.providers import plane_objects
from bidplane_topics import agents, registry
from sinks_world import MARKET, Process, World, until

AGENT = "conform"
SPACE = names.namespace("research", AGENT)
KINDS = "resourceclaims,deviceleases,resourceslices,deviceclasses,namespaces,pods"
SETTLE_S = 4.0


class Running:
    """Every row of SINKS in a process of its own, with one lease bound."""

    def __init__(self, world: World, folder: pathlib.Path) -> None:
        """Starts them all."""
        self.world = world
        self.folder = folder
        given = {"kafka": world.kafka, "kubeconfig": world.sink, "market": MARKET}
        given["clusters_dir"] = str(folder)
        self.calls = {}
        for name, function in commands_sinks.SINKS.items():
            code = function.__code__
            wanted = code.co_varnames[: code.co_argcount]
            arguments = ", ".join(
                f"{key}={value!r}" for key, value in given.items() if key in wanted
            )
            self.calls[name] = f"{function.__name__}({arguments})"
        self.processes = {name: self.start(name) for name in self.calls}

    def start(self, name: str) -> Process:
        """Start one row."""
        return Process(self.folder / f"{name}.log", self.calls[name])

    @property
    def config(self) -> str:
        """The agent's kubeconfig."""
        return str(self.folder / "research" / AGENT / "kubeconfig")

    def picture(self) -> dict[str, str]:
        """The version of every object in both clusters, and the number of supply records."""
        found = {"supply": str(len(self.world.read(registry.SUPPLY)))}
        for where, config in (("host", self.world.admin), ("agent", self.config)):
            kinds = KINDS if where == "host" else KINDS.replace("deviceleases,", "")
            for one in self.world.objects(kinds, "-A", config=config):
                meta = one["metadata"]
                key = f"{where} {one['kind']} {meta.get('namespace', '')}/{meta['name']}"
                found[key] = f"{meta['uid']} {meta['resourceVersion']}"
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """All sinks and sources, an agent with a cluster, a bound lease with a pod, foreign objects."""
    world = sinks_world.shared()
    running = Running(world, tmp_path_factory.mktemp("conform"))
    registered = agents.AgentRegistered(tenant="research", agent=AGENT, keys=(), cluster=True)
    world.write(registry.AGENTS, f"research/{AGENT}", registered, partition=0)
    try:
        lease = world.bound(world.award(("node-000", "gpu-6"), agent=AGENT))
        until("a node in the agent's cluster", lambda: _has_node(running), 120)
        _pod(running)
        _foreign(world)
        yield running
        world.ended(lease)
    finally:
        for process in running.processes.values():
            process.end()


def _has_node(running: Running) -> bool:
    try:
        return " Ready " in running.world.kubectl("get", "nodes", config=running.config)
    except sinks_world.Refused:
        return False


def _pod(running: Running) -> None:
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "steady", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": limits}]},
    }
    world = running.world
    world.kubectl("create", "-f", "-", config=running.config, stdin=json.dumps(body))
    until("it runs", lambda: "Running" in world.kubectl("get", "pods", config=running.config))


def _foreign(world: World) -> None:
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "foreign", "namespace": SPACE},
        "spec": {"devices": {"requests": [{"name": "d", "exactly": {"deviceClassName": "other"}}]}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "foreign", "namespace": SPACE},
        "spec": {"nodeName": "node-000", "containers": [{"name": "c", "image": "x"}]},
    }
    for body in (claim, pod):
        world.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    until("it runs", lambda: "Running" in world.kubectl("-n", SPACE, "get", "pod", "foreign"))


# A stop of the clusters sink ends the control planes of its process: the picture is then another's.
@pytest.mark.parametrize("name", [name for name in commands_sinks.SINKS if name != "clusters"])
def test_a_kill_and_a_restart_change_no_object(running: Running, name: str) -> None:
    """What stands as desired is written by nobody: not by a new process, not after a crash."""
    time.sleep(SETTLE_S)
    before = running.picture()
    assert any("foreign" in key for key in before)
    running.processes[name].stop(signal.SIGKILL)
    running.processes[name] = running.start(name)
    time.sleep(2 * SETTLE_S)
    assert running.processes[name].code is None
    assert running.picture() == before


def test_a_pending_lease_writes_nothing(running: Running) -> None:
    """Until it is awarded no sink writes an object for a lease; then it stands like any other."""
    world = running.world
    award = world.award(("node-000", "gpu-7"), agent=AGENT)
    soon = award.awarded_at_ms + 60_000
    pending = msgspec.structs.replace(
        award, state="pending", bind_by_ms=0, pending_until_ms=soon
    )  # fmt: skip
    time.sleep(SETTLE_S)
    before = running.picture()
    world.lease(pending)
    time.sleep(2 * SETTLE_S)
    assert running.picture() == before
    world.ended(world.bound(award))


NEED_KUBECONFIG = [name for name in commands_sinks.SINKS if name != "clusters"]


@pytest.mark.parametrize("name", NEED_KUBECONFIG)
def test_a_wrong_kubeconfig_is_one_line(
    running: Running, name: str, tmp_path: pathlib.Path
) -> None:
    """A missing or broken file is refused before anything is contacted, by a line that names it."""
    broken = tmp_path / "broken"
    broken.write_text("[]")
    for config in (tmp_path / "none", broken):
        call = running.calls[name].replace(running.world.sink, str(config))
        process = Process(tmp_path / "log", call)
        until("it ends", lambda process=process: process.code is not None)  # type: ignore[misc]
        assert process.code
        last = (tmp_path / "log").read_text().strip().splitlines()[-1]
        assert str(config) in last
        assert "BadInput" in last


@pytest.mark.parametrize("name", sorted(commands_sinks.PROVIDERS))
async def test_a_provider_converges(name: str, tmp_path: pathlib.Path) -> None:
    """Providing twice is providing once; a plane that was withdrawn comes back with its data."""
    owner = "research/planes"
    with planes_world.PLACES[name](tmp_path) as place:
        provider = await commands_sinks.PROVIDERS[name](place.settings, asyncio.Event())
        following = asyncio.create_task(provider.run())
        try:
            await asyncio.gather(provider.provide(owner), provider.provide(owner))
            assert provider.ready() == provider.standing() == {owner}
            for kind in plane_objects.HOLDS:
                file = place.kubeconfig(owner, kind)
                assert file is not None
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
            await _write(place.kubeconfig(owner, plane_objects.AGENTS))
            await provider.withdraw(owner)
            await provider.withdraw(owner)
            assert provider.ready() == provider.standing() == frozenset()
            assert place.kubeconfig(owner, plane_objects.AGENTS) is None
            await provider.provide(owner)
            assert await _read(place.kubeconfig(owner, plane_objects.SYNCS)) is not None
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await provider.close()


KEPT = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}


async def _write(config: pathlib.Path | None) -> None:
    api = await kube.connect(str(config))
    await api.create(kube.NAMESPACES, KEPT)
    await api.close()


async def _read(config: pathlib.Path | None) -> dict[str, Any] | None:
    api = await kube.connect(str(config))
    try:
        return await api.get(kube.NAMESPACES, "kept")
    finally:
        await api.close()
