"""Simulated device nodes on a real API server: they exist, they breathe, their pods run.

Decides when nodes and slices are written and how often a node says that it lives. Refuses to know
who uses the devices. ``python -m bidplane_streams.embedded.nodes --kubeconfig FILE --count N`` is
the service; a node is switched off and on by its annotation ``bidplane.io/simulate: off`` or by
``kill_node`` and ``revive_node``, so a test in another process can do it too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from kubernetes_asyncio import client

from bidplane_streams.embedded import devices, kubelet, watching

SWITCH = "bidplane.io/simulate"
LEASES = "kube-node-lease"
LEASE_S = 40
BREATH_S = 10.0
AT_ONCE = 20
WRITER = "bidplane-simulator"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Fleet:
    """N nodes: ``publish`` them, ``serve`` them until cancelled, switch single ones off and on."""

    def __init__(self, api: Any, count: int, mixed: int = 0) -> None:
        """``mixed``: how many of them, the last ones, have unusual devices too."""
        self.names = {devices.node_name(number): number for number in range(count)}
        self._first_mixed = count - mixed
        self.off: set[str] = set()
        self._core = client.CoreV1Api(api)
        self._slices = client.ResourceV1Api(api)
        self._leases = client.CoordinationV1Api(api)
        self._kubelet = kubelet.Kubelet(api, self._host_ip)
        self._turn = asyncio.Semaphore(AT_ONCE)

    def _host_ip(self, name: str) -> str | None:
        number = self.names.get(name)
        return None if number is None or name in self.off else devices.host_ip(number)

    async def publish(self) -> None:
        """Write every node, its status and its slices; the same again changes nothing."""
        await asyncio.gather(*(self._publish(number) for number in self.names.values()))

    async def _publish(self, number: int) -> None:
        name = devices.node_name(number)
        applied = {"field_manager": WRITER, "force": True, "_content_type": APPLY}
        async with self._turn:
            node = await self._core.patch_node(name, devices.node(number), **applied)
            if (node.metadata.annotations or {}).get(SWITCH) == "off":
                self.off.add(name)
            else:
                await self._breathe(name)
            wanted = devices.slices(number, node.metadata.uid, mixed=number >= self._first_mixed)
            for each in wanted:
                place = each["metadata"]["name"]
                await self._slices.patch_resource_slice(place, each, **applied)
            await self._remove_others(name, {each["metadata"]["name"] for each in wanted})

    async def _remove_others(self, name: str, wanted: set[str]) -> None:
        """Take away what the node published in an earlier life."""
        listed = await self._slices.list_resource_slice(field_selector=f"spec.nodeName={name}")
        for one in listed.items:
            if one.metadata.name not in wanted:
                await self._slices.delete_resource_slice(one.metadata.name)

    async def serve(self) -> None:
        """Breathe, follow the switches, play kubelet: until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_breathing())
            group.create_task(self._follow_switches())
            group.create_task(self._kubelet.serve())

    async def _keep_breathing(self) -> None:
        while True:
            await asyncio.sleep(BREATH_S)
            living = [name for name in self.names if name not in self.off]
            await asyncio.gather(*(self._breathe_in_turn(name) for name in living))

    async def _breathe_in_turn(self, name: str) -> None:
        async with self._turn:
            await watching.insist(lambda: self._breathe(name))

    async def _breathe(self, name: str) -> None:
        """Renew the node's Lease and its Ready condition."""
        now = dt.datetime.now(dt.UTC)
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_S,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASES},
            "spec": spec,
        }
        await self._leases.patch_namespaced_lease(
            name, LEASES, lease, field_manager=WRITER, force=True, _content_type=APPLY
        )
        status = {"status": self._status(name, now.strftime("%Y-%m-%dT%H:%M:%SZ"))}
        await self._core.patch_node_status(name, status, _content_type=kubelet.STRATEGIC)

    def _status(self, name: str, at: str) -> dict[str, Any]:
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "simulated kubelet is ready",
            "lastHeartbeatTime": at,
        }
        address = devices.host_ip(self.names[name])
        return {
            "capacity": devices.CAPACITY,
            "allocatable": devices.CAPACITY,
            "conditions": [ready],
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": _node_info(name),
        }

    async def _follow_switches(self) -> None:
        selector = "bidplane.io/simulated=true"
        async for news in watching.follow(self._core.list_node, label_selector=selector):
            nodes = news if isinstance(news, watching.Listed) else [news["object"]]
            for node in nodes:
                await self._switch(node["metadata"])

    async def _switch(self, node: dict[str, Any]) -> None:
        name = node["name"]
        off = (node.get("annotations") or {}).get(SWITCH) == "off"
        if name not in self.names or off == (name in self.off):
            return
        if off:
            self.off.add(name)
        else:
            self.off.discard(name)
            await self._breathe_in_turn(name)
        self._kubelet.look_again()

    async def kill_node(self, name: str) -> None:
        """Switch a node off: no more heartbeats, its pods are left alone."""
        await self._annotate(name, "off")

    async def revive_node(self, name: str) -> None:
        """Switch a node on again."""
        await self._annotate(name, None)

    async def _annotate(self, name: str, value: str | None) -> None:
        patch = {"metadata": {"annotations": {SWITCH: value}}}
        node = await self._core.patch_node(name, patch, _content_type=MERGE)
        await self._switch({"name": name, "annotations": node.metadata.annotations})


def _node_info(name: str) -> dict[str, str]:
    named = dict.fromkeys(("machineID", "systemUUID", "bootID"), name)
    return {
        **named,
        "kernelVersion": "simulated",
        "osImage": "simulated",
        "containerRuntimeVersion": "simulated://1",
        "kubeletVersion": "v1.36.3",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }


@contextlib.asynccontextmanager
async def fleet(kubeconfig: str, count: int, mixed: int = 0) -> AsyncIterator[Fleet]:
    """A published fleet that is served while the block runs."""
    async with watching.connection(kubeconfig) as api:
        nodes = Fleet(api, count, mixed)
        await nodes.publish()
        serving = asyncio.create_task(nodes.serve())
        try:
            yield nodes
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


async def _run(kubeconfig: str, count: int, mixed: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with watching.connection(kubeconfig) as api:
        nodes = Fleet(api, count, mixed)
        await nodes.publish()
        logging.getLogger(__name__).info("%d nodes are published", count)
        serving = asyncio.create_task(nodes.serve())
        waiting = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving in done:
            serving.result()
        serving.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the nodes until SIGTERM; 4 when the API server cannot be reached at the start."""
    parser = argparse.ArgumentParser(prog="bidplane_streams.embedded.nodes", description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--mixed", type=int, default=0)
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(chosen.kubeconfig, chosen.count, chosen.mixed))
    except watching.BROKEN as error:
        sys.stderr.write(f"bidplane: the nodes' API server ({chosen.kubeconfig}): {error}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
