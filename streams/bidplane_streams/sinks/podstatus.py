"""What an agent sees of its pod: the host pod's status, or why there is none. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from bidplane_streams.sinks import names

Object = dict[str, Any]

HOST_POD: Final = f"{names.DOMAIN}/HostPod"
SUPPORTED: Final = f"{names.DOMAIN}/Supported"
TERMINAL: Final = ("Succeeded", "Failed")
_COPIED: Final = (
    "phase", "reason", "message", "podIP", "podIPs", "hostIP", "hostIPs", "startTime",
)  # fmt: skip
# What the host's kubelet decides; the scheduling of the virtual pod stays the agent's scheduler's.
_HOST_CONDITIONS: Final = (
    "Initialized", "Ready", "ContainersReady", "PodReadyToStartContainers", "DisruptionTarget",
)  # fmt: skip
_CONTAINER: Final = (
    "name", "state", "lastState", "ready", "restartCount", "image", "imageID", "containerID",
    "started",
)  # fmt: skip


def mirrored(pod: Object, host: Object) -> Object:
    """The part of the virtual pod's status that its host pod decides. Absent fields are None."""
    seen = host.get("status") or {}
    status: Object = {name: seen.get(name) for name in _COPIED}
    status["phase"] = seen.get("phase", "Pending")
    status["containerStatuses"] = [
        {name: one[name] for name in _CONTAINER if name in one}
        for one in seen.get("containerStatuses") or ()
    ] or None
    conditions = [
        {name: one[name] for name in one if name != "observedGeneration"}
        for one in seen.get("conditions") or ()
        if one["type"] in _HOST_CONDITIONS
    ]
    there = {
        "type": HOST_POD,
        "status": "True",
        "reason": "Created",
        "message": f"{host['metadata']['namespace']}/{host['metadata']['name']}",
        "lastTransitionTime": host["metadata"].get("creationTimestamp"),
    }
    status["conditions"] = [*_own_conditions(pod), there, *conditions]
    return status


def lost(pod: Object, at: str) -> Object:
    """The status of a pod whose host pod is gone, though it had one."""
    return {
        "phase": "Failed",
        "reason": "HostPodGone",
        "message": "its pod in the host cluster is gone: deleted there, or its lease ended",
        "conditions": [
            *_own_conditions(pod),
            _condition(HOST_POD, "HostPodGone", "the host pod is gone", at),
            _condition("Ready", "HostPodGone", "the host pod is gone", at),
            _condition("ContainersReady", "HostPodGone", "the host pod is gone", at),
        ],
    }


def refused(pod: Object, reason: str, message: str, at: str) -> Object:
    """The status of a pod that gets no host pod, or none yet."""
    return {
        "reason": reason,
        "message": message,
        "conditions": [*_own_conditions(pod), _condition(SUPPORTED, reason, message, at)],
    }


def _own_conditions(pod: Object) -> list[Object]:
    ours = {HOST_POD, SUPPORTED, *_HOST_CONDITIONS}
    found = (pod.get("status") or {}).get("conditions") or ()
    return [one for one in found if one["type"] not in ours]


def _condition(kind: str, reason: str, message: str, at: str) -> Object:
    return {
        "type": kind,
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": at,
    }


def condition(pod: Object, kind: str) -> Object:
    """A condition of a pod, or an empty one."""
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one["type"] == kind:
            return dict(one)
    return {}


def shows(pod: Object, wanted: Object) -> bool:
    """Whether the virtual pod's status says all of ``wanted`` already."""
    seen = pod.get("status") or {}
    return all(_same(seen.get(name), value) for name, value in wanted.items())


def _same(found: Any, wanted: Any) -> bool:
    if wanted is None or wanted == []:
        return not found
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_same(found.get(name), value) for name, value in wanted.items())
    return bool(found == wanted)


def phase(pod: Object) -> str:
    """The pod's phase; empty where it has none."""
    return str((pod.get("status") or {}).get("phase", ""))


def created_ms(pod: Object) -> int:
    """When the pod was created, to the second, in milliseconds; 0 where it does not say."""
    text = pod["metadata"].get("creationTimestamp")
    return 0 if not text else int(dt.datetime.fromisoformat(text).timestamp()) * 1000


def restarts(pod: Object) -> int:
    """How often the pod's containers were started again."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(one.get("restartCount") or 0) for one in found)
