"""What is wrong with a host cluster: its version and APIs, our objects in it, others' components.

Decides how a component's version is found: by its workloads' labels, else by an image's tag.
Refuses to change anything, and to ask nodes: what the API server says is all.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bidplane_streams.doctor.blueprint import Blueprint, Component
from bidplane_streams.doctor.findings import Finding
from bidplane_streams.sinks import hostsetup, kube, names, standing_setup

NAME: Final = "app.kubernetes.io/name"
VERSION: Final = "app.kubernetes.io/version"
CHART: Final = "helm.sh/chart"
WORKLOADS: Final = tuple(
    kube.Resource("/apis/apps/v1", plural)
    for plural in ("deployments", "daemonsets", "statefulsets")
)
RUNTIME_CLASSES: Final = kube.Resource("/apis/node.k8s.io/v1", "runtimeclasses", namespaced=False)
DRA: Final = "/apis/resource.k8s.io/v1"
CLOCKS_APART_S: Final = 5.0
_CHART: Final = re.compile(r"(?P<name>.+)-(?P<version>v?\d+\.\d+.*)")
_MINOR: Final = re.compile(r"v?(\d+)\.(\d+)")


async def examine(
    api: kube.Kube, plan: Blueprint | None, further: Mapping[str, str]
) -> list[Finding]:
    """Everything about the cluster; ``further``: classes sold besides, by driver.

    Raises:
        SinkError: the API server does not answer, or refuses.
    """
    version = await api.call("GET", "/version")
    found = list(_version(str(version.get("gitVersion", "")), plan))
    apis = plan.apis if plan else ()
    for path, why in [(one.path, one.why) for one in apis] or [(DRA, "devices are claimed by it")]:
        if not await standing_setup.is_served(api, path):
            found.append(_unserved(path, why))
    if any(one.where == DRA for one in found):
        return found
    found += await _ours(api, further)
    found += await _devices(api, further)
    found += await _clock(api)
    if plan is not None:
        workloads = [one for kind in WORKLOADS for one in (await api.list_all(kind))[0]]
        classes = {one["metadata"]["name"] for one in (await api.list_all(RUNTIME_CLASSES))[0]}
        for component in plan.components:
            found += components(component, workloads, classes)
    return found


def _version(running: str, plan: Blueprint | None) -> Iterator[Finding]:
    if plan is None or (minor := _minor(running)) is None:
        return
    where = f"Kubernetes {running}"
    if minor < (_minor(plan.kubernetes.minimum) or minor):
        yield Finding(
            severity="error", what=f"older than {plan.kubernetes.minimum}", where=where,
            todo="upgrade the cluster",
        )  # fmt: skip
    elif minor != _minor(plan.kubernetes.pinned):
        yield Finding(
            severity="differs", what=f"the blueprint pins {plan.kubernetes.pinned}", where=where,
            todo="upgrade one of the two",
        )  # fmt: skip


def _minor(text: str) -> tuple[int, int] | None:
    match = _MINOR.match(text)
    return (int(match[1]), int(match[2])) if match else None


def _unserved(path: str, why: str) -> Finding:
    return Finding(
        severity="error", what=f"not served: {why}", where=path,
        todo="enable it on the API server, with its feature gates",
    )  # fmt: skip


async def _ours(api: kube.Kube, further: Mapping[str, str]) -> list[Finding]:
    user = await standing_setup.user_of_policies(api)
    setup = await standing_setup.look(api, user or await hostsetup.whoami(api), further)
    told = {"missing": "it is missing", "differs": "it is not as this version writes it"}
    return [
        Finding(
            severity="error" if one.state == "missing" else "differs", what=told[one.state],
            where=f"{one.kind} {one.name}",
            todo="restart the claims sink, which writes it, or upgrade the chart",
        )
        for one in setup
        if one.state in told
    ]  # fmt: skip


async def _devices(api: kube.Kube, further: Mapping[str, str]) -> list[Finding]:
    drivers = {*names.DRIVERS, *further}
    slices, _ = await api.list_all(kube.SLICES)
    listed = sum(
        len(one["spec"].get("devices") or ()) for one in slices if one["spec"]["driver"] in drivers
    )
    where = "ResourceSlices of " + ", ".join(sorted(drivers))
    if listed:
        return [Finding(severity="note", what=f"{listed} devices are listed", where=where)]
    return [
        Finding(
            severity="error", what="no device is listed", where=where,
            todo="install the DRA driver, and look at its kubelet plugin",
        )
    ]  # fmt: skip


async def _clock(api: kube.Kube) -> list[Finding]:
    """A review is created and kept nowhere; its time is the API server's."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await api.call("POST", kube.WHO_AM_I, body=body)
    stamp = (answer.get("metadata") or {}).get("creationTimestamp")
    if not stamp:
        return []
    apart_s = dt.datetime.fromisoformat(stamp).timestamp() - time.time()
    if abs(apart_s) < CLOCKS_APART_S:
        return []
    return [
        Finding(
            severity="warning", what=f"its clock and this machine's are {apart_s:.0f} s apart",
            where="API server", todo="set the clocks by NTP",
        )
    ]  # fmt: skip


def components(
    wanted: Component, workloads: Sequence[Mapping[str, Any]], classes: set[str]
) -> list[Finding]:
    """Where a component's version is not the blueprint's, and its RuntimeClasses are missing."""
    running = {
        version for one in workloads if (version := version_of(one, wanted.workloads)) is not None
    }
    where, todo = wanted.name, f"install {wanted.version} ({wanted.source})"
    if not running:
        if wanted.required:
            return [Finding(severity="error", what="not installed", where=where, todo=todo)]
        return [Finding(severity="note", what="not installed", where=where)]
    found = [
        Finding(severity="differs", what=f"{version} runs, the blueprint pins {wanted.version}",
                where=where, todo=todo)
        for version in sorted(running)
        if version.removeprefix("v") != wanted.version.removeprefix("v")
    ]  # fmt: skip
    return found + [
        Finding(severity="error", what="the RuntimeClass is missing",
                where=f"{where}: {name}", todo=todo)
        for name in wanted.runtime_classes
        if name not in classes
    ]  # fmt: skip


def version_of(workload: Mapping[str, Any], known_as: Sequence[str]) -> str | None:
    """The version of a workload that is called so by its labels; None for another's.

    The version of the chart where that is what is named, else the label's, else the image's tag.
    """
    labels = workload["metadata"].get("labels") or {}
    chart = _CHART.fullmatch(labels.get(CHART, ""))
    if labels.get(NAME) in known_as:
        return str(labels.get(VERSION) or _tag(workload) or (chart and chart["version"]) or "?")
    if chart and chart["name"] in known_as:
        return str(chart["version"])
    return None


def _tag(workload: Mapping[str, Any]) -> str:
    containers = workload["spec"]["template"]["spec"].get("containers") or [{}]
    image = str(containers[0].get("image", "")).partition("@")[0]
    return image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
