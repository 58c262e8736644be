"""What a simulated kubelet says of a pod: its status, and what its claims must show first.

Decides the status of a pod that runs or has ended. Pure: plain objects and a time in, patches out.
Refuses, as a real kubelet does, to start a pod before each of its claims is allocated and reserved
for it. ``bidplane.io/simulate-seconds: "N"`` ends a pod after N seconds, with the exit code of
``bidplane.io/simulate-exit-code`` (default 0).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

SECONDS = "bidplane.io/simulate-seconds"
EXIT_CODE = "bidplane.io/simulate-exit-code"
STOP_SECONDS = "bidplane.io/simulate-stop-seconds"
DEVICES = "bidplane.io/simulated-devices"

Object = Mapping[str, Any]
T = TypeVar("T")


def stamp(now: dt.datetime) -> str:
    """A time as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> dt.datetime:
    """A time that Kubernetes wrote."""
    return dt.datetime.fromisoformat(text)


def claim_names(pod: Object) -> list[str] | None:
    """The names of a pod's claims; None while a claim made for it has no name yet."""
    status = pod.get("status", {})
    made = {
        each["name"]: each.get("resourceClaimName")
        for each in status.get("resourceClaimStatuses") or ()
    }
    names = []
    for entry in pod["spec"].get("resourceClaims") or ():
        name = entry.get("resourceClaimName") or made.get(entry["name"])
        if name is None:
            return None
        names.append(name)
    extended = status.get("extendedResourceClaimStatus")
    return [*names, extended["resourceClaimName"]] if extended else names


def devices(pod: Object, claims: Iterable[Object]) -> list[str] | None:
    """The devices ``pool/device`` that the claims give to a pod; None while one is not its own yet.

    Only the requests that the pod's containers name count, if they name any.
    """
    wanted = _requests(pod)
    found = []
    for claim in claims:
        status = claim.get("status", {})
        reserved = {each["uid"] for each in status.get("reservedFor") or ()}
        if not status.get("allocation") or pod["metadata"]["uid"] not in reserved:
            return None
        chosen = wanted.get(_entry(pod, claim["metadata"]["name"]), set())
        for result in status["allocation"]["devices"].get("results") or ():
            if not chosen or None in chosen or result["request"].partition("/")[0] in chosen:
                found += [f"{result['pool']}/{result['device']}"]
    return found


def _requests(pod: Object) -> dict[str, set[str | None]]:
    """The requests that containers use, by the pod's name for the claim; None stands for all."""
    wanted: dict[str, set[str | None]] = {}
    for container in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]:
        for each in container.get("resources", {}).get("claims") or ():
            wanted.setdefault(each["name"], set()).add(each.get("request"))
    return wanted


def _entry(pod: Object, claim: str) -> str:
    """The pod's own name for a claim."""
    statuses = pod.get("status", {}).get("resourceClaimStatuses") or ()
    made = {each.get("resourceClaimName"): each["name"] for each in statuses}
    for entry in pod["spec"].get("resourceClaims") or ():
        if entry.get("resourceClaimName") == claim:
            return str(entry["name"])
    return str(made.get(claim, ""))


def running(
    pod: Object, now: dt.datetime, host_ip: str, pod_ip: str, given: list[str]
) -> dict[str, Any]:
    """The patch of a pod that starts: Running and Ready, with its devices in an annotation."""
    at = stamp(now)
    conditions = (
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
        "PodScheduled",
    )
    state = {"running": {"startedAt": at}}
    return {
        "metadata": {"annotations": {DEVICES: ",".join(given)}},
        "status": {
            "phase": "Running",
            "conditions": [_condition(kind, at, holds=True) for kind in conditions],
            "hostIP": host_ip,
            "hostIPs": [{"ip": host_ip}],
            "podIP": pod_ip,
            "podIPs": [{"ip": pod_ip}],
            "startTime": at,
            "initContainerStatuses": _ended(pod, "initContainers", at, at, 0),
            "containerStatuses": _statuses(pod, "containers", state, ready=True),
        },
    }


def ended(pod: Object, now: dt.datetime) -> dict[str, Any]:
    """The patch of a pod whose containers ended by themselves: Succeeded, or Failed."""
    at = stamp(now)
    code = _number(pod, EXIT_CODE, 0.0)
    begun = pod.get("status", {}).get("startTime") or at
    why = {"reason": "PodCompleted"} if code == 0 else {"reason": "PodFailed"}
    unready = [
        {**_condition(kind, at, holds=False), **why} for kind in ("ContainersReady", "Ready")
    ]
    return {
        "status": {
            "phase": "Succeeded" if code == 0 else "Failed",
            "conditions": unready,
            "containerStatuses": _ended(pod, "containers", begun, at, int(code)),
        }
    }


def lasts_s(pod: Object) -> float | None:
    """How long a pod runs before it ends by itself; None if it does not."""
    return _number(pod, SECONDS, None)


def stops_s(pod: Object) -> float:
    """How long a pod takes to stop when it is deleted, at most its grace period."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    return min(_number(pod, STOP_SECONDS, 0.0), float("inf") if grace is None else grace)


def _number(pod: Object, annotation: str, default: T) -> float | T:
    try:
        return float((pod["metadata"].get("annotations") or {})[annotation])
    except (KeyError, ValueError):
        return default


def _condition(kind: str, at: str, *, holds: bool) -> dict[str, Any]:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": at}


def _ended(pod: Object, which: str, begun: str, at: str, code: int) -> list[dict[str, Any]]:
    reason = "Completed" if code == 0 else "Error"
    over = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": at}
    return _statuses(pod, which, {"terminated": over}, ready=which == "initContainers")


def _statuses(pod: Object, which: str, state: Object, *, ready: bool) -> list[dict[str, Any]]:
    uid = pod["metadata"]["uid"]
    return [
        {
            "name": each["name"],
            "image": each.get("image", ""),
            "imageID": f"simulated://{each.get('image', '')}",
            "containerID": f"simulated://{uid}/{each['name']}",
            "ready": ready,
            "started": "running" in state,
            "restartCount": 0,
            "state": dict(state),
        }
        for each in pod["spec"].get(which) or ()
    ]
