"""The chart installed into a real API server, and every pod run from what the server made of it.

Containers are processes of this machine (``local_kubelet``): command, environment, files, token and
rights are those of the pods. The images themselves are not pulled.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import install_world
import planes_world
from bidplane_agents import connection
from bidplane_streams.embedded import ports
from bidplane_streams.sinks import names
from bidplane_streams.sinks.providers import plane_objects
from bidplane_topics import registry
from helm import stolen_tokens
from install_world import CHART, PLANES, RELEASE, SPACE, World
from sinks_world import until

AGENT = "research/tuner"
(PREVIOUS,) = (pathlib.Path(__file__).parent / "previous").glob("*.tgz")
CLAIMS_IN = names.namespace("research", "tuner")
READY_S = 240.0
AUDITED = "auditor.enabled=true"
BID = (
    "bid", "--agent", AGENT, "--market", "pool-a", "--shape", "2", "--minutes", "10",
    "--value", "3.50", "--wait",
)  # fmt: skip
# A status, and no log line's milliseconds.
REFUSED = re.compile(r"(?<![,.])\b403\b|forbidden", re.IGNORECASE)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Servers, simulated nodes, the local node, and the chart's last version installed."""
    directory = tmp_path_factory.mktemp("install")
    script = install_world.__file__
    with (directory / "world.log").open("w") as log:
        argv = [sys.executable, str(script), str(directory)]
        child = subprocess.Popen(argv, stdout=log, stderr=log)

    def ready() -> bool:
        assert child.poll() is None, (directory / "world.log").read_text()[-2000:]
        return (directory / "world.json").exists()

    try:
        until("the servers are ready", ready, READY_S)
        world = World(directory)
        words = ("--create-namespace", "--values", str(world.values()))
        world.helm("install", RELEASE, str(PREVIOUS), *words)
        yield world
    finally:
        child.terminate()
        child.wait(60)


@pytest.fixture(scope="module")
def lease(world: World) -> dict[str, Any]:
    """An agent with a control plane of its own, and a bid that won."""
    until("every component is ready", lambda: _ready(world), READY_S)
    world.bidplane("agent", "register", AGENT, "--credits", "50", "--cluster")
    won: dict[str, Any] = world.bidplane(*BID)
    return won


def _ready(world: World) -> bool:
    """Whether every pod of the release has succeeded, or is ready by its own probe."""
    pods = world.objects("pods", "-n", SPACE)
    fine = [_is_fine(one) for one in pods]
    return len(fine) >= 6 and all(fine)


def _is_fine(pod: dict[str, Any]) -> bool:
    status = pod.get("status") or {}
    ready = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return status.get("phase") == "Succeeded" or ready.get("Ready") == "True"


def _claims(world: World) -> list[dict[str, Any]]:
    found = world.objects("resourceclaims", "-n", CLAIMS_IN)
    return [one for one in found if (one.get("status") or {}).get("allocation")]


def test_a_bid_becomes_a_lease_and_a_bound_claim(world: World, lease: dict[str, Any]) -> None:
    """What the chart runs sells two devices, under the rights that the chart gives it."""
    claims = until("the claim is allocated", lambda: _claims(world))
    devices = claims[0]["status"]["allocation"]["devices"]["results"]
    assert len(devices) == 2
    assert world.objects("deviceleases", "-n", CLAIMS_IN)


def test_the_agent_has_a_cluster_with_its_devices(world: World, lease: dict[str, Any]) -> None:
    """Its control plane runs in a pod; a pod in it runs on the host, on what was leased."""

    def kubeconfig() -> pathlib.Path | None:
        kind = plane_objects.AGENTS
        return planes_world.from_secret(world.admin, PLANES, AGENT, kind, world.directory)

    config = str(until("the kubeconfig", kubeconfig, READY_S))
    until("a node", lambda: " Ready " in world.kubectl("get", "nodes", config=config), 120)
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    spec = {"containers": [{"name": "main", "image": "train", "resources": limits}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": spec}
    world.kubectl("create", "-f", "-", config=config, stdin=json.dumps(pod))
    until("it runs", lambda: "Running" in world.kubectl("get", "pods", config=config))
    assert "train" in world.kubectl("get", "pods", "-n", CLAIMS_IN)


def test_an_upgrade_leaves_leases_and_planes(world: World, lease: dict[str, Any]) -> None:
    """Every process is replaced, and neither the claim nor the agent's control plane notices."""
    before = _standing(world)
    assert len(before) >= 3
    words = (
        "--values",
        str(world.values()),
        "--set",
        f"metrics.port=9103,worker.port=6067,{AUDITED}",
    )
    world.helm("upgrade", RELEASE, str(CHART), *words)
    until("every component is ready again", lambda: _replaced(world), READY_S)
    assert _standing(world) == before


def _replaced(world: World) -> bool:
    pods = world.objects("pods", "-n", SPACE, "-l", "app.kubernetes.io/component=worker")
    ports = [
        port["containerPort"]
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]
    return ports == [6067] and _ready(world)


def _standing(world: World) -> set[str]:
    """What agents own, by kind and uid."""
    found = world.objects("resourceclaims,deviceleases,pods", "-n", CLAIMS_IN)
    found += world.objects("statefulsets,pods,secrets", "-n", PLANES)
    return {f"{one['kind']} {one['metadata']['name']} {one['metadata']['uid']}" for one in found}


def test_a_stolen_token_of_a_sink_opens_no_node(world: World, lease: dict[str, Any]) -> None:
    """No sink may loosen an agent's namespace, or start a pod that gets out of its container."""
    for one in stolen_tokens.grounds():
        world.kubectl("apply", "-f", "-", stdin=json.dumps(one))
    claims, nodes = (
        f"system:serviceaccount:{SPACE}:{RELEASE}-bidplane-{one}"
        for one in ("sink-claims", "sink-nodes")
    )
    told = stolen_tokens.on_spaces(world.kubectl, claims, CLAIMS_IN)
    assert [name for name, said in told.items() if not said] == ["as it is"]
    assert [name for name, said in told.items() if said and "confined-namespaces" not in said] == []
    told = stolen_tokens.on_pods(world.kubectl, nodes)
    assert [name for name, said in told.items() if not said] == ["plain"]
    assert [name for name, said in told.items() if said and "confined-pods" not in said] == []


def test_an_upgraded_market_ends_leases_and_sells_again(
    world: World, lease: dict[str, Any]
) -> None:
    """A lease that is given back is gone from the cluster, and the next bid wins."""
    world.bidplane("release", str(lease["lease_id"]), "--agent", AGENT)

    def left() -> list[dict[str, Any]]:
        return world.objects("resourceclaims,deviceleases", "-n", CLAIMS_IN)

    until("the lease is gone", lambda: not left(), 120)
    world.bidplane(*BID)
    until("the next claim is allocated", lambda: _claims(world))


def test_the_audit_is_a_job_that_succeeds(world: World, lease: dict[str, Any]) -> None:
    """A Job of the chart's CronJob reads the log of all that was sold here, and ends well."""
    world.kubectl("create", "-f", "-", stdin=json.dumps(_audit(world, "sound")))
    assert until("the audit is over", lambda: _end(world, "sound"), 120)["type"] == "Complete"
    (said,) = (text for pod, text in world.said().items() if pod.startswith(f"{SPACE}.sound-"))
    assert "all promises kept" in said


def test_a_broken_promise_fails_a_job_otherwise_than_what_gave_no_verdict(
    world: World, lease: dict[str, Any]
) -> None:
    """The alerts tell them apart by the reason: the Job's own policy, or no tries left."""
    asyncio.run(_ledger_is_spoilt(world.kafka))
    broken, unread = _audit(world, "broken"), _audit(world, "unread")
    unread["spec"]["backoffLimit"] = 0
    (container,) = unread["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "BIDPLANE_KAFKA", "value": f"127.0.0.1:{ports.find_free()}"}]
    for one in (broken, unread):
        world.kubectl("create", "-f", "-", stdin=json.dumps(one))
    end = until("the audit is over", lambda: _end(world, "broken"), 120)
    assert (end["type"], end["reason"]) == ("Failed", "PodFailurePolicy")
    end = until("the other one is over", lambda: _end(world, "unread"), 120)
    assert (end["type"], end["reason"]) == ("Failed", "BackoffLimitExceeded")


def _audit(world: World, name: str) -> dict[str, Any]:
    """What `kubectl create job` makes of the chart's CronJob."""
    words = ("--from", f"cronjob/{RELEASE}-bidplane-auditor", "--dry-run=client", "-o", "json")
    made: dict[str, Any] = json.loads(world.kubectl("create", "job", name, "-n", SPACE, *words))
    return made


def _end(world: World, name: str) -> dict[str, str]:
    """The condition with which the Job is over; empty while it is not."""
    (job,) = world.objects("jobs", "-n", SPACE, "--field-selector", f"metadata.name={name}")
    told = (job.get("status") or {}).get("conditions") or ()
    over = [one for one in told if one["type"] in {"Complete", "Failed"}]
    return dict(over[0]) if over else {}


async def _ledger_is_spoilt(kafka: str) -> None:
    reached = connection.Connection(kafka)
    async with reached.opened(reached.producer()) as producer:
        await producer.send_and_wait(registry.LEDGER.name, b"{", partition=0)


def test_nothing_that_runs_lacks_a_right(world: World, lease: dict[str, Any]) -> None:
    """No component was refused anything by the API server."""
    said = world.said()
    assert {name.rpartition("/")[2] for name in said} >= {
        "topics", "market-pool-a", "worker", "sink-claims", "sink-nodes", "sink-clusters",
        "source-inventory", "audit",
    }  # fmt: skip
    refused = {
        f"{name}: {line}"
        for name, text in said.items()
        for line in text.splitlines()
        if REFUSED.search(line)
    }
    assert refused == set()


def test_an_uninstall_leaves_what_agents_own(world: World, lease: dict[str, Any]) -> None:
    """Leases with their kind, claims, control planes and their Secrets stay; the rest goes."""
    before = _standing(world)
    world.helm("uninstall", RELEASE, "--wait")
    until("the processes are gone", lambda: not world.objects("pods", "-n", SPACE))
    assert _standing(world) == before
    assert world.kubectl("get", "crd", "deviceleases.bidplane.io", "-o", "name")
