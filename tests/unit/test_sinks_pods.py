"""From an agent's pod to a host pod and back: allow-list, devices, share, status."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_streams import quantities
from bidplane_streams.sinks import hostpods, names, podstatus
from bidplane_topics import leases

Object = dict[str, Any]


def place(devices: int = 4, cpu_millis: int = 16_000) -> hostpods.Place:
    """A lease of some devices on one node, with a share of it."""
    leased = tuple(
        leases.LeasedDevice(
            node="n1", name=f"gpu-{number}", driver=names.GPU_DRIVER, pool="n1", uuid=f"G{number}",
            device_class=names.GPU_CLASS,
        )
        for number in range(devices)
    )  # fmt: skip
    host = leases.LeasedNode(node="n1", cpu_millis=cpu_millis, memory_mib=4096, ephemeral_mib=1024)
    lease = leases.LeaseChanged(
        market="m", lease_id="l1", bid_id="b", tenant="t", agent="a", state="bound", epoch=3,
        window=1, market_pool="p", shape="4", level=1, devices=leased, nodes=(host,),
        price_micros=1, duration_ms=1, awarded_at_ms=1, bind_by_ms=1,
    )  # fmt: skip
    return hostpods.Place(lease, 0, host)


def pod(*containers: Object, **spec: Any) -> Object:
    """A pod as a server with defaults would hand it out."""
    token = {
        "name": "kube-api-access-x",
        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
    }
    mount = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets"}
    defaults: Object = {"terminationMessagePath": "/dev/log", "volumeMounts": [mount]}
    return {
        "metadata": {"name": "p", "namespace": "default", "uid": "u1"},
        "spec": {
            "containers": [defaults | one for one in containers or ({"name": "c", "image": "i"},)],
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "serviceAccountName": "default",
            "securityContext": {},
            "tolerations": [{"key": "x"}],
            "volumes": [token],
            "nodeName": "l1-0",
            **spec,
        },
    }


def claim(*devices: str, pool: str = "l1-0", request: str = "r") -> Object:
    """A virtual claim that was allocated some devices."""
    results = [
        {"request": request, "driver": names.GPU_DRIVER, "pool": pool, "device": device}
        for device in devices
    ]
    return {"status": {"allocation": {"devices": {"results": results}}}}


def with_claim(*containers: Object) -> Object:
    """A pod that uses the claim ``mine``."""
    return pod(*containers, resourceClaims=[{"name": "x", "resourceClaimName": "mine"}])


USES: Object = {"name": "c", "image": "i", "resources": {"claims": [{"name": "x"}]}}


def test_only_what_is_listed_is_carried_over() -> None:
    """The host pod holds what the allow-list names, the lease's marks, and nothing else."""
    container = {
        "name": "c", "image": "i", "command": ["run"], "args": ["a"],
        "env": [{"name": "K", "value": "v"}], "resources": {"limits": {"cpu": "2"}},
    }  # fmt: skip
    built = hostpods.translate(pod(container), place(), {}, [])
    assert isinstance(built, dict)
    assert set(built["spec"]) == {
        "nodeName", "restartPolicy", "containers", "automountServiceAccountToken",
        "enableServiceLinks",
    }  # fmt: skip
    assert set(built["spec"]["containers"][0]) == {
        "name", "image", "command", "args", "env", "resources",
    }  # fmt: skip
    assert built["spec"]["automountServiceAccountToken"] is False
    assert built["metadata"]["labels"][names.VIRTUAL_UID] == "u1"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"initContainers": [{"name": "i"}]}, "initContainers"),
        ({"runtimeClassName": "kata"}, "runtimeClassName"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext"),
        ({"subdomain": "gang"}, "subdomain"),
        ({"dnsPolicy": "None"}, "dnsPolicy None"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {}}]}, "persistentVolumeClaim"),
        ({"somethingOfTomorrow": {"a": 1}}, "somethingOfTomorrow"),
    ],
)
def test_what_a_pod_may_not_have_is_refused_by_name(spec: Object, words: str) -> None:
    """Every field that nobody listed is refused, also one that does not exist yet."""
    refused = hostpods.translate(pod(**spec), place(), {}, [])
    assert isinstance(refused, hostpods.Unsupported)
    assert any(words in reason and "not supported yet" in reason for reason in refused.reasons)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"securityContext": {"privileged": True}}, "securityContext"),
        ({"env": [{"name": "K", "valueFrom": {"secretKeyRef": {}}}]}, "env K"),
        ({"envFrom": [{"secretRef": {}}]}, "envFrom"),
        ({"ports": [{"containerPort": 1, "hostPort": 1}]}, "hostPort"),
        ({"volumeMounts": [{"name": "other", "mountPath": "/"}]}, "mount of other"),
        ({"volumeDevices": [{"name": "v"}]}, "volumeDevices"),
        ({"lifecycle": {"postStart": {}}}, "lifecycle"),
        ({"resources": {"limits": {"example.com/fpga": "1"}}}, "resource example.com/fpga"),
    ],
)
def test_what_a_container_may_not_have_is_refused_by_name(more: Object, words: str) -> None:
    """The same holds inside containers."""
    refused = hostpods.translate(pod({"name": "c", "image": "i"} | more), place(), {}, [])
    assert isinstance(refused, hostpods.Unsupported)
    assert any(words in reason for reason in refused.reasons)


def test_containers_get_just_the_devices_of_their_requests() -> None:
    """A claim's request names go to the container that asked for them, subrequests included."""
    both = {"status": {"allocation": {"devices": {"results": [
        *claim("d1", request="a/big")["status"]["allocation"]["devices"]["results"],
        *claim("d3", request="b")["status"]["allocation"]["devices"]["results"],
    ]}}}}  # fmt: skip
    one = {"name": "one", "image": "i", "resources": {"claims": [{"name": "x", "request": "a"}]}}
    two = {"name": "two", "image": "i", "resources": {"claims": [{"name": "x", "request": "b"}]}}
    built = hostpods.translate(with_claim(one, two), place(), {("default", "mine"): both}, [])
    assert isinstance(built, dict)
    used = [one["resources"]["claims"] for one in built["spec"]["containers"]]
    assert used == [[{"name": "lease", "request": "d1"}], [{"name": "lease", "request": "d3"}]]


def test_extended_resources_follow_the_schedulers_own_claim() -> None:
    """nvidia.com/gpu: 2 becomes the two devices that the scheduler's claim was allocated."""
    asks = {"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    made = pod(asks)
    assert isinstance(hostpods.translate(made, place(), {}, []), hostpods.Waiting)
    mapping = {"containerName": "c", "resourceName": "nvidia.com/gpu", "requestName": "r"}
    made["status"] = {
        "extendedResourceClaimStatus": {"resourceClaimName": "auto", "requestMappings": [mapping]}
    }
    built = hostpods.translate(made, place(), {("default", "auto"): claim("d0", "d2")}, [])
    assert isinstance(built, dict)
    resources = built["spec"]["containers"][0]["resources"]
    assert [one["request"] for one in resources["claims"]] == ["d0", "d2"]
    assert "nvidia.com/gpu" not in resources["limits"]
    assert resources["limits"] == resources["requests"]
    assert resources["limits"]["cpu"] == "8000m"


@pytest.mark.parametrize(("device", "pool"), [("d4", "l1-0"), ("d0", "l2-0"), ("gpu-0", "l1-0")])
def test_a_forged_allocation_is_refused(device: str, pool: str) -> None:
    """A device beyond the lease, another lease's, or a host's own name: none is part of it."""
    found = {("default", "mine"): claim(device, pool=pool)}
    refused = hostpods.translate(with_claim(USES), place(), found, [])
    assert isinstance(refused, hostpods.Unsupported)
    assert "not part of this lease" in refused.reasons[0]


def test_a_claim_that_is_not_allocated_yet_waits() -> None:
    """No allocation, no claim: the pod waits."""
    empty: Object = {"status": {}}
    for found in ({}, {("default", "mine"): empty}):
        assert isinstance(
            hostpods.translate(with_claim(USES), place(), found, []), hostpods.Waiting
        )


def test_the_share_is_never_exceeded() -> None:
    """What others use counts; a pod that would go beyond waits with the figures."""
    asks = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "9"}}}
    first = hostpods.translate(pod(asks), place(), {}, [])
    assert isinstance(first, dict)
    second = hostpods.translate(pod(asks), place(), {}, [first])
    assert isinstance(second, hostpods.Waiting)
    assert "16000, 9000 of it used; this pod needs 9000" in second.reason


def test_a_huge_pod_stays_out_of_the_hosts_datastore() -> None:
    """The host's datastore is shared: a pod of a megabyte is refused with its size."""
    big = {"name": "c", "image": "i", "env": [{"name": "A", "value": "x" * 1_000_000}]}
    refused = hostpods.translate(pod(big), place(), {}, [])
    assert isinstance(refused, hostpods.Unsupported)
    assert "at most 32768 are carried" in refused.reasons[0]


def test_pods_that_are_planned_together_share_what_is_left() -> None:
    """What is being created counts as what stands: twice the whole share never starts."""
    asks = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "16"}}}
    first = hostpods.translate(pod(asks), place(), {}, [])
    assert isinstance(first, dict)
    assert hostpods.is_on(first, place())
    assert "share of cpu" in hostpods.crowding(first, place(), [first])
    assert not hostpods.crowding(first, place(), [])


def test_too_many_consumers_wait() -> None:
    """A claim takes 256 reservations; we stop at 250."""
    small = hostpods.translate(pod(), place(), {}, [])
    assert isinstance(small, dict)
    crowd = [small] * hostpods.MOST_CONSUMERS
    assert isinstance(hostpods.translate(pod(), place(), {}, crowd), hostpods.Waiting)


def test_the_agent_sees_the_hosts_status_and_keeps_its_own_scheduling() -> None:
    """Phase, readiness and addresses come from the host; PodScheduled stays as it was."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1"}
    theirs = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2"}
    ready = {"type": "Ready", "status": "True", "observedGeneration": 4}
    mine = pod() | {"status": {"phase": "Pending", "conditions": [scheduled]}}
    host = {
        "metadata": {"name": "p", "namespace": "bp", "creationTimestamp": "0"},
        "status": {"phase": "Running", "podIP": "1.2.3.4", "conditions": [theirs, ready]},
    }
    status = podstatus.mirrored(mine, host)
    assert status["conditions"][0] == scheduled
    assert {"type": "Ready", "status": "True"} in status["conditions"]
    assert theirs not in status["conditions"]
    assert not podstatus.shows(mine, status)
    shown = mine | {"status": {key: value for key, value in status.items() if value is not None}}
    assert podstatus.shows(shown, podstatus.mirrored(shown, host))


@pytest.mark.parametrize(
    ("text", "scale", "wanted"),
    [
        ("2Ti", 1, 2 * 1024**4), ("128", 1000, 128_000), ("500m", 1000, 500), ("1.5", 1000, 1500),
        ("100k", 1, 100_000), ("0.5Gi", 1, 512 * 1024**2), ("1500m", 1, 1), ("much", 1, 0),
        ("129e6", 1, 129_000_000), ("1.5E3", 1000, 1_500_000), ("12e-1", 1000, 1200),
        ("2E", 1, 2 * 1000**6), ("1Ei", 1, 1024**6), ("2500000u", 1000, 2500), ("5n", 1000, 0),
    ],
)  # fmt: skip
def test_quantities_are_floored_integers(text: str, scale: int, wanted: int) -> None:
    """Kubernetes' notations, read without floats."""
    assert quantities.number(text, scale) == wanted
