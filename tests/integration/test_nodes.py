"""The nodes and clusters sinks on real servers: an agent's own control plane beside the host's.

The agent uses plain kubectl in its own cluster; its own scheduler allocates; pods run on the host.
"""

from __future__ import annotations

import json
import pathlib
import signal
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest

import sinks_world
from bidplane_streams.sinks import names
from bidplane_topics import agents, leases, registry
from sinks_world import MARKET, Process, Refused, World, until

AGENT = "worker"
SPACE = names.namespace("research", AGENT)


class Own:
    """The agent's own cluster, as the agent sees it."""

    def __init__(self, world: World, folder: pathlib.Path) -> None:
        """``folder`` is the clusters sink's."""
        self.world = world
        self.folder = folder
        self.config = folder / "research" / AGENT / "kubeconfig"
        self.calls = {
            "claims": f"sink_claims({world.kafka!r}, {world.sink!r}, {MARKET!r})",
            "clusters": f"sink_clusters({world.kafka!r}, {str(folder)!r})",
            "nodes": f"sink_nodes({world.kafka!r}, {world.sink!r}, {MARKET!r}, {str(folder)!r})",
        }
        self.sinks = {name: self.start(name) for name in self.calls}

    def start(self, name: str) -> Process:
        """Start a sink as the command line does."""
        return Process(self.folder / f"{name}.log", self.calls[name])

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What kubectl prints with the agent's kubeconfig."""
        return self.world.kubectl(*words, config=str(self.config), stdin=stdin)

    def objects(self, *words: str) -> list[dict[str, Any]]:
        """What the agent's cluster holds."""
        return self.world.objects(*words, config=str(self.config))

    def answers(self) -> bool:
        """Whether the agent can use it."""
        if not self.config.exists():
            return False
        try:
            return bool(self.kubectl("get", "deviceclass", names.GPU_CLASS))
        except Refused:
            return False

    def pod(self, name: str, limits: dict[str, str], **spec: Any) -> None:
        """Create a pod as anyone would."""
        container = {"name": "main", "image": "train", "resources": {"limits": limits}}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
        }
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def phase(self, name: str) -> str:
        """The phase that the agent sees; empty once the pod is gone."""
        found = self.kubectl("get", "pod", name, "--ignore-not-found", "-o", "json")
        return str(json.loads(found)["status"]["phase"]) if found else ""

    def host(self, name: str) -> dict[str, Any] | None:
        """The pod's host pod."""
        found = self.world.kubectl(
            "-n", SPACE, "get", "pod", name, "--ignore-not-found", "-o", "json"
        )
        return dict(json.loads(found)) if found else None

    def running(self, name: str) -> dict[str, Any]:
        """Wait until the pod runs; its host pod."""
        until(f"{name} runs", lambda: self.phase(name) == "Running")
        host = self.host(name)
        assert host is not None
        return host


@pytest.fixture(scope="module")
def world() -> World:
    """The servers of this test run."""
    return sinks_world.shared()


@pytest.fixture(scope="module")
def own(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """An agent with its own control plane, and all sinks."""
    own = Own(world, tmp_path_factory.mktemp("clusters"))
    registered = agents.AgentRegistered(tenant="research", agent=AGENT, keys=(), cluster=True)
    world.write(registry.AGENTS, f"research/{AGENT}", registered, partition=0)
    try:
        until("the agent's cluster answers", own.answers, 120)
        yield own
        gone = agents.AgentRegistered(tenant="research", agent=AGENT, keys=(), cluster=False)
        world.write(registry.AGENTS, f"research/{AGENT}", gone, partition=0)
        for process in own.sinks.values():
            assert process.stop() == 0
    finally:
        for process in own.sinks.values():
            process.end()


@pytest.fixture
def lease(own: Own) -> Iterator[leases.LeaseChanged]:
    """Three devices on one node and a slice on another; they are given back."""
    places = [("node-001", f"gpu-{number}") for number in (3, 4, 5)]
    lease = own.world.bound(own.world.award(*places, ("node-003", "gpu-7-mig-2g-2"), agent=AGENT))
    until("both nodes are ready", lambda: own.kubectl("get", "nodes").count(" Ready ") == 2)
    yield lease
    own.world.ended(lease)
    until("nodes are gone", lambda: not own.objects("nodes"))
    assert not own.objects("resourceslices")


def devices(host: dict[str, Any]) -> list[str]:
    """The requests of the lease's claim that a host pod's first container uses."""
    claims = host["spec"]["containers"][0]["resources"].get("claims", [])
    return [one["request"] for one in claims]


def test_kubeconfigs_are_the_agents_own(own: Own) -> None:
    """Both kubeconfigs are readable by their owner alone."""
    for name in ("kubeconfig", "sync.kubeconfig"):
        mode = (own.config.parent / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def test_a_pod_that_asks_for_two_devices_runs_with_two_of_the_lease(
    own: Own, lease: leases.LeaseChanged
) -> None:
    """An ordinary manifest runs on the leased host node, with just the devices it was allocated."""
    own.pod("train", {"nvidia.com/gpu": "2"})
    host = own.running("train")
    assert host["spec"]["nodeName"] == "node-001"
    assert devices(host) == ["d0", "d1"]
    used = host["spec"]["resourceClaims"][0]["resourceClaimName"]
    assert used == names.piece(lease.lease_id, 0)
    limits = host["spec"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in limits
    assert limits["cpu"] == "10666m"  # two thirds of the lease's share
    seen = own.objects("pod", "train")[0]["status"]
    assert seen["podIP"] == host["status"]["podIP"]
    assert seen["containerStatuses"][0]["ready"]
    own.pod("second", {"nvidia.com/gpu": "1"})
    assert devices(own.running("second")) == ["d2"]
    own.kubectl("delete", "pod", "train", "second")
    until("host pods follow", lambda: own.host("train") is None and own.host("second") is None)


def test_a_slice_is_asked_for_by_its_size(own: Own, lease: leases.LeaseChanged) -> None:
    """MIG sizes have extended names of their own."""
    own.pod("small", {"nvidia.com/mig-2g": "1"})
    host = own.running("small")
    assert host["spec"]["nodeName"] == "node-003"
    assert devices(host) == ["d0"]
    own.kubectl("delete", "pod", "small")


def test_a_pod_that_was_deleted_on_the_host_fails_in_the_agents_cluster(
    own: Own, lease: leases.LeaseChanged
) -> None:
    """Deletion travels upwards: the agent sees that its pod is gone, and why."""
    own.pod("evicted", {"nvidia.com/gpu": "1"}, restartPolicy="Never")
    own.running("evicted")
    own.world.kubectl("-n", SPACE, "delete", "pod", "evicted")
    until("it failed", lambda: own.phase("evicted") == "Failed")
    assert own.objects("pod", "evicted")[0]["status"]["reason"] == "HostPodGone"
    own.kubectl("delete", "pod", "evicted")


def test_a_job_that_ends_is_copied_and_its_host_pod_deleted(
    own: Own, lease: leases.LeaseChanged
) -> None:
    """A finished pod keeps its end in the agent's cluster and nothing on the host."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "short", "namespace": "default"},
        "spec": {
            "template": {
                "metadata": {"annotations": {names.SIMULATE: "1"}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "image": "x",
                            "resources": {"limits": {"nvidia.com/gpu": "1"}},
                        }
                    ],
                },
            }
        },
    }
    own.kubectl("create", "-f", "-", stdin=json.dumps(job))
    until("the job completes", lambda: "Complete" in own.kubectl("get", "job", "short"))
    until("nothing is left on the host", lambda: not own.world.objects("pods", "-n", SPACE))
    own.kubectl("delete", "job", "short")


def test_what_is_not_supported_is_said_by_an_event(own: Own, lease: leases.LeaseChanged) -> None:
    """A host path gets no host pod, and an event that names it."""
    volume = {"name": "root", "hostPath": {"path": "/"}}
    own.pod("rooted", {"nvidia.com/gpu": "1"}, volumes=[volume], hostNetwork=True)

    def event() -> str:
        return own.kubectl("get", "events", "--field-selector", "reason=NotSupported")

    until("the event", lambda: "volume root (hostPath) is not supported yet" in event())
    assert "hostNetwork is not supported yet" in event()
    assert own.host("rooted") is None
    own.kubectl("delete", "pod", "rooted")


def test_a_device_outside_the_lease_is_refused(own: Own, lease: leases.LeaseChanged) -> None:
    """An agent is admin of its cluster and may forge an allocation; the lease decides."""
    node = names.piece(lease.lease_id, 0)
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "forged", "namespace": "default"},
        "spec": {
            "devices": {
                "requests": [{"name": "x", "exactly": {"deviceClassName": names.GPU_CLASS}}]
            }
        },
    }
    result = {"request": "x", "driver": names.GPU_DRIVER, "pool": node, "device": "d7"}
    status = {
        "status": {
            "allocation": {
                "allocationTimestamp": "2026-01-01T00:00:00Z",
                "devices": {"results": [result]},
            }
        }
    }
    own.kubectl("create", "-f", "-", stdin=json.dumps(claim))
    patch = ("patch", "resourceclaim", "forged", "--subresource=status", "--type=merge", "-p")
    own.kubectl(*patch, json.dumps(status))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "forger", "namespace": "default"},
        "spec": {
            "nodeName": node,
            "resourceClaims": [{"name": "c", "resourceClaimName": "forged"}],
            "containers": [
                {"name": "main", "image": "x", "resources": {"claims": [{"name": "c"}]}}
            ],
        },
    }
    own.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    until(
        "the refusal",
        lambda: "is not part of this lease" in own.kubectl("get", "events", "-o", "wide"),
    )
    assert own.host("forger") is None
    own.kubectl("delete", "pod", "forger")
    own.kubectl("delete", "resourceclaim", "forged")


def test_a_pod_beyond_the_leases_share_waits(own: Own, lease: leases.LeaseChanged) -> None:
    """A pod forced past the scheduler gets no more CPU than the lease holds."""
    own.pod("greedy", {"cpu": "64"}, nodeName=names.piece(lease.lease_id, 0))
    until(
        "the event",
        lambda: "the lease's share of cpu" in own.kubectl("get", "events", "-o", "wide"),
    )
    assert own.host("greedy") is None
    own.kubectl("delete", "pod", "greedy")


def test_pods_that_come_together_never_get_more_than_the_share(
    own: Own, lease: leases.LeaseChanged
) -> None:
    """Of six pods that each want over half of it, one runs; the end of it lets one more in."""
    names_of = [f"crowd-{number}" for number in range(6)]
    node = names.piece(lease.lease_id, 0)
    container = {"name": "main", "image": "x", "resources": {"limits": {"cpu": "9"}}}
    spec = {"terminationGracePeriodSeconds": 1, "nodeName": node, "containers": [container]}
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        for name in names_of
    ]

    def on_the_host() -> list[str]:
        return [name for name in names_of if own.host(name) is not None]

    until("the devices' pods are gone", lambda: not on_the_host())
    body = {"apiVersion": "v1", "kind": "List", "items": pods}
    own.kubectl("create", "-f", "-", stdin=json.dumps(body))
    until("one runs", lambda: len(on_the_host()) == 1)
    (first,) = on_the_host()
    own.running(first)
    own.kubectl("delete", "pod", first)
    until("another runs", lambda: on_the_host() and on_the_host() != [first])
    time.sleep(2)  # whatever was planned beside it has been tried by now
    assert len(on_the_host()) == 1
    own.kubectl("delete", "pod", *names_of, "--ignore-not-found")
    until("all are gone", lambda: not on_the_host())


def test_a_killed_sink_goes_on_where_it_was(own: Own, lease: leases.LeaseChanged) -> None:
    """Pods outlive the nodes sink; what changed meanwhile is caught up with."""
    own.pod("before", {"nvidia.com/gpu": "1"})
    uid = own.running("before")["metadata"]["uid"]
    own.sinks["nodes"].stop(signal.SIGKILL)
    own.pod("meanwhile", {"nvidia.com/gpu": "1"})
    own.kubectl("delete", "pod", "before", "--wait=false")
    time.sleep(2)
    before = own.host("before")
    assert before is not None
    assert before["metadata"]["uid"] == uid
    own.sinks["nodes"] = own.start("nodes")
    own.running("meanwhile")
    until("the host pod follows", lambda: own.host("before") is None)
    until("the agent's pod too", lambda: not own.phase("before"))
    own.kubectl("delete", "pod", "meanwhile")


def test_the_end_of_a_lease_ends_its_pods(own: Own) -> None:
    """Notice closes the node and says so; the ending takes pods, node and slices away."""
    world = own.world
    lease = world.bound(world.award(("node-002", "gpu-7"), agent=AGENT))
    node = names.piece(lease.lease_id, 0)
    own.pod("last", {"nvidia.com/gpu": "1"})
    own.running("last")
    notice = world.move(lease, "notice")
    until("the taint", lambda: "lease-ending" in own.kubectl("get", "node", node, "-o", "yaml"))
    until("the word", lambda: "LeaseEnding" in own.kubectl("get", "events"))
    assert own.phase("last") == "Running"
    world.ended(notice)
    until("pod and node are gone", lambda: not own.phase("last") and not own.objects("nodes"))
    assert own.host("last") is None


def test_a_cluster_that_is_not_wanted_stops_and_keeps_its_data(own: Own) -> None:
    """A plane goes with its registration and comes back with what it held."""
    own.kubectl("create", "configmap", "kept")
    for cluster in (False, True):
        event = agents.AgentRegistered(tenant="research", agent=AGENT, keys=(), cluster=cluster)
        own.world.write(registry.AGENTS, f"research/{AGENT}", event, partition=0)
        if not cluster:
            until("kubeconfigs are gone", lambda: not own.config.exists())
    until("the cluster answers again", own.answers, 120)
    assert own.objects("configmap", "kept")
