"""A node whose pods run for real, without containers: every container is a process of this machine.

Images are not pulled: ``PROGRAMS`` says which program stands for a command. All the rest is the
pod's own, as the API server has it: command, arguments, environment, Secrets and ConfigMaps in
files, a token of its ServiceAccount, sidecars in their order, probes, and the status that
controllers wait for. Run as a script it serves until SIGTERM:

    python tests/local_kubelet.py KUBECONFIG DIR [PATH_IN_IMAGE=PATH_HERE ...]
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import os
import pathlib
import re
import shutil
import signal
import ssl
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

import aiohttp

import pod_contents
from bidplane_streams.embedded import assets, processes
from bidplane_streams.sinks import errors, kube

Object = dict[str, Any]

log = logging.getLogger("kubelet")

NODE = "local"
MARK = "bidplane.io/local"
LOOK_EVERY_S = 0.3
READY_EVERY_S = 1.0
BEAT_EVERY_S = 10.0
PROBE_TIMEOUT_S = 3.0
VOLUMES = 2
INHERITED = ("PATH", "LANG", "BIDPLANE_CACHE", "XDG_CACHE_HOME", "HOME", "KUBEBUILDER_ASSETS")
BIDPLANE = [sys.executable, "-m", "bidplane_agents.cli"]
RECIPE = pathlib.Path(__file__).parents[1] / "helm" / "Containerfile"
PROGRAMS = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")


def now() -> str:
    """The time as Kubernetes writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Node:
    """The node and its pods, until cancelled."""

    def __init__(self, api: kube.Kube, home: pathlib.Path, image: Mapping[str, str]) -> None:
        """``image`` maps paths in images to paths here."""
        self.api = api
        self.home = home
        self.image = image
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._ending: set[str] = set()
        self._numbers = 0

    async def serve(self) -> None:
        """Exist, breathe, run what is bound to this node."""
        await self._appear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._breathe())
                group.create_task(self._follow())
        finally:
            for task in self._pods.values():
                task.cancel()
            await asyncio.gather(*self._pods.values(), return_exceptions=True)

    async def _appear(self) -> None:
        body = {"apiVersion": "v1", "kind": "Node"}
        labels = {MARK: "true", "kubernetes.io/hostname": NODE}
        await self.api.apply(kube.NODES, body | {"metadata": {"name": NODE, "labels": labels}})
        room = {"cpu": "64", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "100"}
        status = {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "10.77.1.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.3", "operatingSystem": "linux"},
        }
        await self.api.patch(kube.NODES, NODE, {"status": status}, sub="status")
        for number in range(VOLUMES):
            place = self.home / "persistent" / str(number)
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"local-{number}"},
                "spec": {
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "hostPath": {"path": str(place)},
                },
            }
            await self.api.apply(pod_contents.VOLUMES, volume)

    async def _breathe(self) -> None:
        while True:
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
            ready |= {"message": "", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
            patch = {"status": {"conditions": [ready]}}
            await self.api.patch(kube.NODES, NODE, patch, sub="status")
            at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": NODE, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": at},
            }
            await self.api.apply(kube.NODE_LEASES, lease)
            await asyncio.sleep(BEAT_EVERY_S)

    async def _follow(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={NODE}"}
        while True:
            found = await self.api.call("GET", kube.PODS.path(), query=query)
            for pod in found["items"]:
                meta = pod["metadata"]
                if meta["uid"] in self._pods:
                    if meta.get("deletionTimestamp") and meta["uid"] not in self._ending:
                        self._ending.add(meta["uid"])
                        self._pods[meta["uid"]].cancel()
                elif (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                    self._numbers += 1
                    one = Pod(self, pod, self._numbers)
                    self._pods[meta["uid"]] = asyncio.create_task(one.live())
            known = {pod["metadata"]["uid"] for pod in found["items"]}
            for uid in self._pods.keys() - known - self._ending:
                self._ending.add(uid)
                self._pods[uid].cancel()
            await asyncio.sleep(LOOK_EVERY_S)


class Pod:
    """One pod from its binding to its end."""

    def __init__(self, node: Node, pod: Object, number: int) -> None:
        """Its address is of the loopback network, which the API server takes for no pod's."""
        self._node = node
        self._pod = pod
        self._meta = pod["metadata"]
        self._address = address = f"127.77.0.{number}"
        self._shown = f"10.77.0.{number}"
        name = f"{self._meta['namespace']}.{self._meta['name']}"
        self._home = node.home / "pods" / f"{name}.{self._meta['uid'][:6]}"
        self._logs = node.home / "logs" / name
        self._contents = pod_contents.Contents(node.api, pod, self._home, address)
        self._running: dict[str, processes.Child] = {}
        self._ready: dict[str, bool] = {}
        self._said: Object = {}
        self._begun = now()

    async def live(self) -> None:
        """Run it; cancelled, end it and tell the API server so."""
        over = False
        try:
            await self._contents.write()
            over = await self._run()
        except Exception:
            log.exception("pod %s", self._meta["name"])
            raise
        finally:
            for child in reversed(self._running.values()):
                await child.stop()
            if not over:
                await self._node.api.delete(
                    kube.PODS,
                    self._meta["name"],
                    namespace=self._meta["namespace"],
                    uid=self._meta["uid"],
                    grace_s=0,
                )
                shutil.rmtree(self._home, ignore_errors=True)

    async def _run(self) -> bool:
        spec = self._pod["spec"]
        for one in spec.get("initContainers") or ():
            await self._start(one)
            if one.get("restartPolicy") == "Always":
                while not await self._probe(one, one.get("startupProbe")):
                    await self._tell("Pending")
                    await asyncio.sleep(LOOK_EVERY_S)
            else:
                await self._to_its_end(one)
        for one in spec["containers"]:
            await self._start(one)
        while True:
            for one in (*(spec.get("initContainers") or ()), *spec["containers"]):
                self._ready[one["name"]] = await self._is_ready(one)
            codes = [self._ended(one) for one in spec["containers"]]
            if spec["restartPolicy"] != "Always" and all(codes):
                failed = any(code[-1] for code in codes)
                await self._tell("Failed" if failed else "Succeeded")
                return True
            await self._tell("Running")
            await asyncio.sleep(READY_EVERY_S if all(self._ready.values()) else LOOK_EVERY_S)

    async def _start(self, container: Object) -> None:
        mounts = self._contents.mounts(container)
        places = {**self._node.image, **mounts}
        move = functools.partial(pod_contents.relocated, places=places)
        given = _of_the_image(container) | await self._contents.environment(container)
        env = {name: move(value) for name, value in given.items()}
        # Whoever binds all addresses binds those of his pod.
        env = {key: self._address if text == "0.0.0.0" else text for key, text in env.items()}
        outside = {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
        if pod_contents.ACCOUNT in mounts:
            api = urllib.parse.urlsplit(self._node.api.where)
            outside["KUBERNETES_SERVICE_HOST"] = str(api.hostname)
            outside["KUBERNETES_SERVICE_PORT"] = str(api.port)
            outside["BIDPLANE_SERVICE_ACCOUNT_DIR"] = mounts[pod_contents.ACCOUNT]
        if "/tmp" in mounts:
            outside["TMPDIR"] = mounts["/tmp"]
        command = [move(word) for word in container.get("command") or ["bidplane"]]
        argv = [*_program(command[0]), *command[1:], *map(move, container.get("args") or ())]
        self._home.mkdir(parents=True, exist_ok=True)
        name = container["name"]
        recipe = processes.Recipe(name, argv, self._logs, {**outside, **env}, self._home)
        always = "Always" in {self._pod["spec"]["restartPolicy"], container.get("restartPolicy")}
        child = self._running[name] = processes.Child(recipe, restart=always)
        await child.start()

    async def _to_its_end(self, container: Object) -> None:
        """Wait for an init container; one that fails is started again."""
        while True:
            await self._tell("Pending")
            await asyncio.sleep(LOOK_EVERY_S)
            if (codes := self._ended(container)) and not codes[-1]:
                return
            if codes:
                await asyncio.sleep(1.0)
                await self._running[container["name"]].start()

    def _ended(self, container: Object) -> list[int]:
        """Its exit codes, if it does not run any more."""
        child = self._running[container["name"]]
        return child.exit_codes if child.pid is None else []

    async def _is_ready(self, container: Object) -> bool:
        if self._running[container["name"]].pid is None:
            return False
        probe = container.get("readinessProbe") or container.get("startupProbe")
        return await self._probe(container, probe)

    async def _probe(self, container: Object, probe: Object | None) -> bool:
        if probe is None:
            return True
        ask = probe["httpGet"]
        ports = {one.get("name"): one["containerPort"] for one in container.get("ports") or ()}
        port = ports.get(ask["port"], ask["port"])
        url = f"{ask.get('scheme', 'HTTP').lower()}://{self._address}:{port}{ask['path']}"
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=_trusting()) as answer,
            ):
                return answer.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _tell(self, phase: str) -> None:
        spec = self._pod["spec"]
        ready = phase == "Running" and all(self._ready.values())
        states = {"Initialized": phase != "Pending", "Ready": ready, "ContainersReady": ready}
        status = {
            "phase": phase,
            "podIP": self._shown,
            "podIPs": [{"ip": self._shown}],
            "hostIP": "10.77.1.1",
            "startTime": self._begun,
            "conditions": [
                {"type": kind, "status": str(fine), "lastTransitionTime": self._begun}
                for kind, fine in {"PodScheduled": True, **states}.items()
            ],
            "initContainerStatuses": [self._status(one) for one in spec.get("initContainers", ())],
            "containerStatuses": [self._status(one) for one in spec["containers"]],
        }
        if status == self._said:
            return
        meta = {"uid": self._meta["uid"]}
        await self._node.api.patch(
            kube.PODS,
            self._meta["name"],
            {"metadata": meta, "status": status},
            namespace=self._meta["namespace"],
            sub="status",
        )
        self._said = status

    def _status(self, container: Object) -> Object:
        name = container["name"]
        child = self._running.get(name)
        state: Object = {"waiting": {"reason": "PodInitializing"}}
        if child is not None and child.pid is not None:
            state = {"running": {"startedAt": self._begun}}
        elif child is not None and child.exit_codes:
            code = child.exit_codes[-1]
            over = {"exitCode": code, "reason": "Error" if code else "Completed"}
            state = {"terminated": over | {"startedAt": self._begun, "finishedAt": self._begun}}
        return {
            "name": name,
            "image": container["image"],
            "imageID": f"local://{container['image']}",
            "ready": self._ready.get(name, False),
            "started": "running" in state,
            "restartCount": max(0, child.starts - 1) if child is not None else 0,
            "state": state,
        }


def _program(command: str) -> list[str]:
    """What stands for a program of an image."""
    name = pathlib.PurePath(command).name
    if name == "bidplane":
        return BIDPLANE
    assert name in PROGRAMS, f"no program stands for {command}"
    return [str(assets.program(name))]


@functools.cache
def _recipe() -> Mapping[str, str]:
    """What our image's recipe sets for bidplane; where programs are cached is this machine's."""
    pairs = re.findall(r"\b(BIDPLANE_\w+)=(\S+)", RECIPE.read_text().rpartition("FROM ")[2])
    return {name: text for name, text in pairs if name != "BIDPLANE_CACHE"}


def _of_the_image(container: Object) -> dict[str, str]:
    command = container.get("command") or ["bidplane"]
    return dict(_recipe()) if command[0] == "bidplane" else {}


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Probes of a kubelet do not check certificates."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _main(kubeconfig: str, home: pathlib.Path, image: Mapping[str, str]) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    api = await kube.connect(kubeconfig)
    try:
        while True:
            try:
                await Node(api, home, image).serve()
            except* errors.SinkError as group:
                log.warning("%s", group.exceptions[0])
    except asyncio.CancelledError:
        return
    finally:
        await api.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    for variable in os.environ.keys() - set(INHERITED):  # a container inherits nothing of ours
        del os.environ[variable]
    pairs = dict(word.split("=", 1) for word in sys.argv[3:])
    asyncio.run(_main(sys.argv[1], pathlib.Path(sys.argv[2]).absolute(), pairs))
