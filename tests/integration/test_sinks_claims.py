"""The claims sink on real servers: Kafka, a host control plane, simulated nodes."""

from __future__ import annotations

import json
import pathlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import sinks_world
from bidplane_streams.sinks import names
from bidplane_topics import leases, registry, reports
from sinks_world import MARKET, Process, Refused, World, until

SPACE = names.namespace("research", "tuner")


@pytest.fixture(scope="module")
def world() -> World:
    """The servers of this test run."""
    return sinks_world.shared()


@pytest.fixture
def start(world: World, tmp_path: pathlib.Path) -> Iterator[Callable[[], Process]]:
    """Starts claims sinks as the command line does; whatever happens, none outlives the test."""
    started: list[Process] = []
    call = f"sink_claims({world.kafka!r}, {world.sink!r}, {MARKET!r}, %s)"

    def begin(more: str = "") -> Process:
        started.append(Process(tmp_path / "claims.log", call % more))
        return started[-1]

    yield begin
    for process in started:
        process.end()


@pytest.fixture
def sink(start: Callable[[], Process]) -> Process:
    """A claims sink in a process of its own."""
    return start()


def claims(world: World, lease: leases.LeaseChanged) -> list[dict[str, object]]:
    """The lease's claims as they stand."""
    return world.objects("resourceclaims", "-A", "-l", f"{names.LEASE}={lease.lease_id}")


def devices(claim: dict[str, object]) -> list[tuple[str, str]]:
    """(pool, device) of a claim's allocation."""
    status = json.loads(json.dumps(claim)).get("status") or {}
    results = (status.get("allocation") or {}).get("devices", {}).get("results", [])
    return [(one["pool"], one["device"]) for one in results]


def pod(name: str, lease: leases.LeaseChanged, node: str, grace_s: int = 3) -> str:
    """A pod bound to a node that uses the lease's first claim there."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": SPACE},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": grace_s,
                "automountServiceAccountToken": False,
                "resourceClaims": [
                    {"name": "l", "resourceClaimName": names.piece(lease.lease_id, 0)}
                ],
                "containers": [
                    {"name": "c", "image": "x", "resources": {"claims": [{"name": "l"}]}}
                ],
            },
        }
    )


def test_a_gang_binds_and_ends_in_order_while_a_pod_runs(world: World, sink: Process) -> None:
    """Claims name the leased devices; at the end go first the pod, then the claims, then word."""
    lease = world.bound(
        world.award(("node-000", "gpu-0"), ("node-000", "gpu-1"), ("node-001", "gpu-0"))
    )
    first, second = claims(world, lease)
    assert devices(first) == [("node-000", "gpu-0"), ("node-000", "gpu-1")]
    assert devices(second) == [("node-001", "gpu-0")]
    world.kubectl("apply", "-f", "-", stdin=pod("runs", lease, "node-000"))
    until("pod runs", lambda: "Running" in world.kubectl("-n", SPACE, "get", "pod", "runs"))
    until("pod is a consumer", lambda: len(claims(world, lease)[0]["status"]["reservedFor"]) == 2)  # type: ignore[index]
    ending = world.move(lease, "ending")
    until("released", lambda: world.reported(ending, reports.LeaseReleased), 60)
    assert not world.objects("pods", "-n", SPACE)
    assert not claims(world, lease)
    assert not world.objects("deviceleases", "-n", SPACE, "-l", f"{names.LEASE}={lease.lease_id}")
    assert world.reported(ending, reports.LeaseReleased)[0].epoch == lease.epoch + 1
    world.move(ending, "ended")


def test_a_slice_is_claimed_under_its_own_class(world: World, sink: Process) -> None:
    """A MIG slice binds by its own name and uuid, under the class of slices."""
    lease = world.bound(world.award(("node-002", "gpu-0-mig-3g-4")))
    claim = json.loads(json.dumps(claims(world, lease)[0]))
    assert devices(claim) == [("node-002", "gpu-0-mig-3g-4")]
    asked = claim["spec"]["devices"]["requests"][0]["exactly"]
    assert asked["deviceClassName"] == names.MIG_CLASS
    world.ended(lease)


def test_an_award_that_never_bound_is_released_too(world: World, sink: Process) -> None:
    """From awarded straight to ending: nothing stands, and the market hears that."""
    lease = world.award(("node-002", "gpu-1"))
    ending = world.move(lease, "ending")
    until("released", lambda: world.reported(ending, reports.LeaseReleased))
    world.move(ending, "ended")


def test_a_device_that_is_in_no_slice_fails_the_lease(world: World, sink: Process) -> None:
    """What can never stand is reported at once, with the reason."""
    lease = world.award(("node-002", "gpu-2"))
    ghost = leases.LeasedDevice(
        node="node-002", name="gpu-9", driver="gpu.nvidia.com", pool="node-002", uuid="GPU-ghost",
        device_class="gpu.nvidia.com",
    )  # fmt: skip
    lease = msgspec.structs.replace(lease, devices=(*lease.devices, ghost))
    world.lease(lease)
    failed = until("failed", lambda: world.reported(lease, reports.LeaseFailed))
    assert "gpu-9 of node-002 is in no ResourceSlice" in failed[0].reason
    assert not claims(world, lease)
    world.ended(lease)


def test_the_sink_says_every_five_seconds_that_it_lives(world: World, sink: Process) -> None:
    """Reports of life come to the market's partition, not faster than asked."""

    def beats() -> int:
        found = world.records(registry.REPORTS, 0.3)
        assert all(number == sinks_world.PARTITION for number, _ in found)
        return sum(isinstance(event, reports.SinkAlive) for _, event in found)

    before = until("a first beat", beats)
    time.sleep(11)
    assert 1 <= beats() - before <= 3


def test_a_node_that_is_not_ready_for_long_is_lost(
    world: World, start: Callable[..., Process]
) -> None:
    """The market hears of a silent node that holds a lease, and the lease still ends in order."""
    start("lost_after_ms=1500")
    lease = world.bound(world.award(("node-003", "gpu-7")))
    world.kubectl("annotate", "node", "node-003", "bidplane.io/simulate=off")
    silent = [{"type": "Ready", "status": "Unknown", "reason": "Test"}]
    body = json.dumps({"status": {"conditions": silent}})
    world.kubectl("patch", "node", "node-003", "--subresource=status", "-p", body)

    def lost() -> list[reports.NodeLost]:
        found = world.read(registry.REPORTS, 0.3)
        return [one for one in found if isinstance(one, reports.NodeLost)]

    assert until("lost", lost)[0].node == "node-003"
    world.kubectl("annotate", "node", "node-003", "bidplane.io/simulate-")
    until("ready", lambda: " Ready " in world.kubectl("get", "node", "node-003"))
    world.ended(lease)


def test_kills_at_any_moment_lose_nothing(world: World, start: Callable[[], Process]) -> None:
    """However often it is killed, leases bind once, end in order, and no claim is left behind."""
    seeded = random.Random(7)
    batch = [world.award(("node-003", f"gpu-{number}")) for number in range(6)]
    for lease in batch:
        world.lease(lease)
    process = start()
    for _ in range(4):
        time.sleep(seeded.uniform(0.7, 2.0))
        process.stop(signal.SIGKILL)
        process = start()
    for lease in batch:
        until("bound", lambda lease=lease: world.reported(lease, reports.LeaseBound))  # type: ignore[misc]
        assert len(claims(world, lease)) == 1
    batch = [world.move(world.move(lease, "bound"), "ending") for lease in batch]
    for _ in range(4):
        process.stop(signal.SIGKILL)
        process = start()
        time.sleep(seeded.uniform(0.7, 2.0))
    for lease in batch:
        until("released", lambda lease=lease: world.reported(lease, reports.LeaseReleased))  # type: ignore[misc]
        assert not claims(world, lease)
        world.move(lease, "ended")
    assert process.stop() == 0


def test_a_frozen_sink_changes_nothing_when_it_wakes(
    world: World, start: Callable[[], Process]
) -> None:
    """A sink that slept through a lease's end makes no claim again and frees no other's."""
    old = start()
    lease = world.bound(world.award(("node-002", "gpu-3")))
    old.send(signal.SIGSTOP)
    fresh = start()
    world.ended(lease)
    other = world.bound(world.award(("node-002", "gpu-3")))
    old.send(signal.SIGCONT)
    time.sleep(6)
    assert not claims(world, lease)
    assert devices(claims(world, other)[0]) == [("node-002", "gpu-3")]
    world.ended(other)
    assert old.stop() == 0
    assert fresh.stop() == 0


def test_a_write_of_an_old_epoch_changes_nothing(world: World, sink: Process) -> None:
    """A patch that tests the epoch it knew is refused once the epoch has grown."""
    lease = world.bound(world.award(("node-002", "gpu-4")))
    name = names.piece(lease.lease_id, 0)
    stale = [
        {"op": "test", "path": "/metadata/annotations/bidplane.io~1epoch", "value": "2"},
        {"op": "remove", "path": "/status/allocation"},
    ]
    with pytest.raises(Refused, match="rejected our request"):
        world.kubectl(
            "-n", SPACE, "patch", "resourceclaim", name, "--subresource=status", "--type=json",
            "-p", json.dumps(stale), config=world.sink,
        )  # fmt: skip
    assert devices(claims(world, lease)[0]) == [("node-002", "gpu-4")]
    world.ended(lease)


def test_only_the_sink_deals_in_the_markets_devices(world: World, sink: Process) -> None:
    """Everybody else is refused: a claim of a market class, and a change of an allocation."""
    lease = world.bound(world.award(("node-002", "gpu-5")))
    name = names.piece(lease.lease_id, 0)
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {
            "devices": {
                "requests": [{"name": "d", "exactly": {"deviceClassName": names.GPU_CLASS}}]
            }
        },
    }
    until(
        "the policy is in force",
        lambda: _refused(world, "create", "-f", "-", stdin=json.dumps(claim)),
    )
    clear = '{"status":{"allocation":null,"reservedFor":null}}'
    patch = ("-n", SPACE, "patch", "resourceclaim", name, "--subresource=status", "--type=merge")
    assert "allocated by bidplane alone" in _refused(world, *patch, "-p", clear)
    assert "belongs to bidplane" in _refused(world, *patch, "-p", '{"status":{"reservedFor":null}}')
    world.ended(lease)


def test_a_sink_of_another_user_takes_nothing_over(
    world: World, sink: Process, tmp_path: pathlib.Path
) -> None:
    """Where claims sinks run as somebody else, a new one says so and leaves the policies alone."""

    def policies() -> list[Any]:
        found = world.objects("validatingadmissionpolicies")
        return [one["spec"] for one in found if one["metadata"]["name"].startswith("bidplane-")]

    before = until("the policies are there", policies)
    call = f"sink_claims({world.kafka!r}, {world.admin!r}, {MARKET!r})"
    other = Process(tmp_path / "other.log", call)
    try:
        until("it ends", lambda: other.code is not None, 60)
    finally:
        other.end()
    assert "run as another user than admin" in other.log.read_text()
    assert policies() == before
    assert sink.code is None


def _refused(world: World, *words: str, stdin: str = "") -> str:
    try:
        world.kubectl(*words, stdin=stdin)
    except Refused as refused:
        return str(refused)
    world.kubectl("delete", "resourceclaim", "mine", "--ignore-not-found")
    return ""


def test_what_others_made_is_never_touched(world: World, sink: Process) -> None:
    """Foreign claims and pods outlive every lease, even in the agent's own namespace."""
    lease = world.bound(world.award(("node-002", "gpu-6")))
    foreign = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": "foreign", "namespace": SPACE,
            "annotations": {names.LEASE: lease.lease_id, names.MARKET: MARKET},
        },
        "spec": {"devices": {"requests": [{"name": "d", "exactly": {"deviceClassName": "other"}}]}},
    }  # fmt: skip
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bystander", "namespace": SPACE},
        "spec": {"nodeName": "node-000", "containers": [{"name": "c", "image": "x"}]},
    }
    world.kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    world.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    world.ended(lease)
    assert (
        world.objects("resourceclaim", "foreign", "-n", SPACE)[0]["metadata"].get(
            "deletionTimestamp"
        )
        is None
    )
    assert (
        world.objects("pod", "bystander", "-n", SPACE)[0]["metadata"].get("deletionTimestamp")
        is None
    )
    world.kubectl("-n", SPACE, "delete", "resourceclaim/foreign", "pod/bystander")
