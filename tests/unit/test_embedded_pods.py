"""What the simulated kubelet says of pods, and what it waits for."""

import datetime as dt
from typing import Any

from bidplane_streams.embedded import pods

NOW = dt.datetime(2026, 11, 21, 8, 0, tzinfo=dt.UTC)


def _pod(**metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "u1", **metadata},
        "spec": {
            "nodeName": "node-000",
            "containers": [
                {
                    "name": "c",
                    "image": "x",
                    "resources": {"claims": [{"name": "r", "request": "d0"}]},
                }
            ],
            "resourceClaims": [{"name": "r", "resourceClaimName": "claim"}],
        },
        "status": {},
    }


def _claim(reserved_for: str) -> dict[str, Any]:
    results = [
        {"request": "d0", "pool": "node-000", "device": "gpu-3"},
        {"request": "d1", "pool": "node-000", "device": "gpu-4"},
    ]
    return {
        "metadata": {"name": "claim"},
        "status": {
            "allocation": {"devices": {"results": results}},
            "reservedFor": [{"uid": reserved_for}],
        },
    }


def test_a_pod_gets_only_the_requests_that_its_containers_name() -> None:
    """A container that names request d0 is given that device alone."""
    assert pods.devices(_pod(), [_claim("u1")]) == ["node-000/gpu-3"]


def test_a_pod_waits_until_its_claim_is_reserved_for_it() -> None:
    """A claim reserved for another pod, or not allocated, starts nothing."""
    assert pods.devices(_pod(), [_claim("other")]) is None
    assert pods.devices(_pod(), [{"metadata": {"name": "claim"}, "status": {}}]) is None


def test_a_pod_waits_for_the_name_of_a_claim_made_from_a_template() -> None:
    """A templated claim counts only once the controller has told its name."""
    pod = _pod()
    pod["spec"]["resourceClaims"] = [{"name": "r", "resourceClaimTemplateName": "t"}]
    assert pods.claim_names(pod) is None
    pod["status"]["resourceClaimStatuses"] = [{"name": "r", "resourceClaimName": "p-r-1"}]
    assert pods.claim_names(pod) == ["p-r-1"]


def test_an_exit_code_decides_how_a_pod_ends() -> None:
    """A simulated exit code other than 0 makes the pod Failed."""
    assert pods.ended(_pod(), NOW)["status"]["phase"] == "Succeeded"
    failed = pods.ended(_pod(annotations={pods.EXIT_CODE: "3"}), NOW)["status"]
    assert failed["phase"] == "Failed"
    assert failed["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_a_stop_lasts_no_longer_than_its_grace() -> None:
    """A pod that would take an hour to stop is gone when its grace period is over."""
    slow = {pods.STOP_SECONDS: "3600"}
    assert pods.stops_s(_pod(annotations=slow, deletionGracePeriodSeconds=5)) == 5
    assert pods.stops_s(_pod(deletionGracePeriodSeconds=30)) == 0


def test_a_running_pod_is_ready_and_names_its_devices() -> None:
    """The patch of a started pod holds readiness, addresses and the devices in an annotation."""
    patch = pods.running(_pod(), NOW, "10.64.0.1", "10.128.0.1", ["node-000/gpu-3"])
    assert patch["status"]["phase"] == "Running"
    assert patch["status"]["containerStatuses"][0]["ready"] is True
    assert patch["metadata"]["annotations"][pods.DEVICES] == "node-000/gpu-3"
