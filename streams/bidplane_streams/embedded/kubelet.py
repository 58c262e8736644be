"""The pods of simulated nodes: started, ended and finalised as their kubelets would.

Decides when a pod's status is written and when a deleted pod may go. Refuses pods of nodes that it
does not keep, and does nothing for a node that is switched off, like a kubelet without power.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from kubernetes_asyncio import client

from bidplane_streams.embedded import pods, watching

STRATEGIC = "application/strategic-merge-patch+json"
CLAIM_POLL_FIRST_S = 0.03
CLAIM_POLL_LAST_S = 1.0
AT_ONCE = 40
OVER = {"Succeeded", "Failed"}

Object = dict[str, Any]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Kubelet:
    """The kubelets of all nodes for which ``host_ip_of`` knows an address and that are on."""

    def __init__(self, api: Any, host_ip_of: Callable[[str], str | None]) -> None:
        self._core = client.CoreV1Api(api)
        self._claims = client.ResourceV1Api(api)
        self._host_ip_of = host_ip_of
        self._pods: dict[str, Object] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def serve(self) -> None:
        """Follow the pods that are bound to nodes, for ever."""
        call = self._core.list_pod_for_all_namespaces
        async for news in watching.follow(call, field_selector="spec.nodeName!="):
            if isinstance(news, watching.Listed):
                self._pods = {pod["metadata"]["uid"]: pod for pod in news}
                self.look_again()
            else:
                self._take(news["type"], news["object"])

    def look_again(self) -> None:
        """Consider every pod anew: after a list, and when a node was switched on or off."""
        for uid, _ in list(self._tasks):
            if uid not in self._pods or not self._is_ours(self._pods[uid]):
                self._drop(uid)
        for pod in list(self._pods.values()):
            self._consider(pod)

    def _take(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._pods.pop(uid, None)
            self._drop(uid)
        elif kind in {"ADDED", "MODIFIED"}:
            self._pods[uid] = pod
            self._consider(pod)

    def _is_ours(self, pod: Object) -> bool:
        return self._host_ip_of(pod["spec"]["nodeName"]) is not None

    def _consider(self, pod: Object) -> None:
        if not self._is_ours(pod):
            return
        if pod["metadata"].get("deletionTimestamp"):
            self._begin("stop", pod, self._stop)
        elif pod.get("status", {}).get("phase", "Pending") not in OVER:
            self._begin("run", pod, self._run)

    def _begin(
        self, role: str, pod: Object, work: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        uid = pod["metadata"]["uid"]
        if (uid, role) not in self._tasks:
            self._tasks[uid, role] = asyncio.create_task(work(uid))

    def _drop(self, uid: str) -> None:
        for role in ("run", "stop"):
            if task := self._tasks.pop((uid, role), None):
                task.cancel()

    async def _run(self, uid: str) -> None:
        """Start a pod once its claims are its own; end it when it was told to end by itself."""
        pod = self._pods[uid]
        if pod.get("status", {}).get("phase", "Pending") == "Pending":
            given = await self._devices(uid)
            host_ip = self._host_ip_of(pod["spec"]["nodeName"]) or ""
            await self._patch(pod, pods.running(pod, _now(), host_ip, _pod_ip(uid), given))
        if (lasts_s := pods.lasts_s(pod)) is None:
            return
        begun = self._pods[uid].get("status", {}).get("startTime")
        spent_s = (_now() - pods.moment(begun)).total_seconds() if begun else 0.0
        await asyncio.sleep(max(0.0, lasts_s - spent_s))
        await self._patch(pod, pods.ended(self._pods[uid], _now()))

    async def _devices(self, uid: str) -> list[str]:
        """The pod's devices, as soon as every claim of it is allocated and reserved for it."""
        rest_s = CLAIM_POLL_FIRST_S
        while True:
            pod = self._pods[uid]
            names = pods.claim_names(pod)
            if names is not None:
                claims = [await self._claim(pod, name) for name in names]
                here = [claim for claim in claims if claim is not None]
                given = pods.devices(pod, here) if len(here) == len(claims) else None
                if given is not None:
                    return given
            await asyncio.sleep(rest_s)
            rest_s = min(rest_s * 1.5, CLAIM_POLL_LAST_S)

    async def _claim(self, pod: Object, name: str) -> Object | None:
        space = pod["metadata"]["namespace"]
        read = self._claims.read_namespaced_resource_claim
        async with self._turn:
            return await watching.insist(
                lambda: watching.plain(read(name, space, _preload_content=False))
            )

    async def _patch(self, pod: Object, patch: Object) -> None:
        name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
        mine = {"uid": pod["metadata"]["uid"]}  # or the patch would reach a namesake
        body = {**patch, "metadata": {**patch.get("metadata", {}), **mine}}
        write = self._core.patch_namespaced_pod_status
        async with self._turn:
            await watching.insist(lambda: write(name, space, body, _content_type=STRATEGIC))

    async def _stop(self, uid: str) -> None:
        """Let a deleted pod's containers end, then let the pod go."""
        pod = self._pods[uid]
        await asyncio.sleep(pods.stops_s(pod))
        name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
        only = client.V1Preconditions(uid=uid)
        body = client.V1DeleteOptions(grace_period_seconds=0, preconditions=only)
        delete = self._core.delete_namespaced_pod
        async with self._turn:
            await watching.insist(lambda: delete(name, space, body=body))


def _pod_ip(uid: str) -> str:
    digest = hashlib.sha256(uid.encode()).digest()
    return f"10.{128 + digest[0] % 64}.{digest[1]}.{digest[2]}"
