"""Control planes are real, apart from each other, and keep their data; nodes play their part."""

import asyncio
import contextlib
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes_asyncio import client

from bidplane_streams.embedded import assets, controlplane, nodes, pods, watching

GPU_CLASS = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "DeviceClass",
    "metadata": {"name": "gpu.nvidia.com"},
    "spec": {
        "selectors": [
            {
                "cel": {
                    "expression": 'device.driver == "gpu.nvidia.com" && '
                    'device.attributes["gpu.nvidia.com"].type == "gpu"'
                }
            }
        ]
    },
}


@contextlib.asynccontextmanager
async def _plane(
    folder: pathlib.Path, name: str, flavour: controlplane.Flavour, **options: Any
) -> AsyncIterator[controlplane.ControlPlane]:
    plane = controlplane.ControlPlane(folder, name, flavour, **options)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


async def _kubectl(config: pathlib.Path, *argv: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        str(assets.program("kubectl")),
        f"--kubeconfig={config}",
        "--request-timeout=10s",
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def _phase(core: Any, name: str, wanted: str | None) -> dict[str, Any]:
    """Wait until a pod is in a phase (None: gone); the pod as it was last seen."""
    pod: dict[str, Any] = {}
    for _ in range(300):
        try:
            read = core.read_namespaced_pod(name, "default", _preload_content=False)
            pod = await watching.plain(read)
        except client.ApiException as error:
            if error.status == 404 and wanted is None:
                return pod
            raise
        else:
            if pod["status"]["phase"] == wanted:
                return pod
        await asyncio.sleep(0.1)
    pytest.fail(f"{name} never got to {wanted}: {json.dumps(pod.get('status'))}")


def _pod(name: str, **annotations: str) -> dict[str, Any]:
    container = {"name": "c", "image": "x", "resources": {"claims": [{"name": "r"}]}}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "restartPolicy": "Never",
            "containers": [container],
            "resourceClaims": [{"name": "r", "resourceClaimName": "two"}],
        },
    }


async def _claim_two_gpus(api: Any) -> None:
    resources = client.ResourceV1Api(api)
    await resources.create_device_class(GPU_CLASS)
    exactly = {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 2}
    spec = {"devices": {"requests": [{"name": "d", "exactly": exactly}]}}
    await resources.create_namespaced_resource_claim(
        "default", {"metadata": {"name": "two"}, "spec": spec}
    )


async def test_pods_run_on_simulated_nodes_with_real_claims(tmp_path: pathlib.Path) -> None:
    """The real scheduler allocates two simulated GPUs; the pods run, end and go as they should."""
    async with _plane(tmp_path, "host", controlplane.Flavour.HOST) as host:
        config = str(host.kubeconfig())
        async with nodes.fleet(config, 2), watching.connection(config) as api:
            core = client.CoreV1Api(api)
            await _claim_two_gpus(api)
            await core.create_namespaced_pod("default", _pod("lasting"))
            brief = _pod("brief", **{pods.SECONDS: "0.5"})
            await core.create_namespaced_pod("default", brief)
            lasting = await _phase(core, "lasting", "Running")
            given = lasting["metadata"]["annotations"][pods.DEVICES].split(",")
            assert len(given) == 2
            assert all(each.startswith(lasting["spec"]["nodeName"]) for each in given)
            await _phase(core, "brief", "Succeeded")
            await core.delete_namespaced_pod("lasting", "default")
            await _phase(core, "lasting", None)


async def test_a_dead_node_is_unready_until_it_returns(tmp_path: pathlib.Path) -> None:
    """A node without heartbeats becomes NotReady and leaves its pods alone until it is revived."""
    options = {"node_grace_s": 12}
    async with _plane(tmp_path, "host", controlplane.Flavour.HOST, **options) as host:
        config = str(host.kubeconfig())
        async with nodes.fleet(config, 1) as fleet, watching.connection(config) as api:
            core = client.CoreV1Api(api)
            await fleet.kill_node("node-000")
            await _ready(core, "Unknown")
            spec = {"nodeName": "node-000", "containers": [{"name": "c", "image": "x"}]}
            body = {"metadata": {"name": "late"}, "spec": spec}
            await core.create_namespaced_pod("default", body)
            await asyncio.sleep(1)
            await _phase(core, "late", "Pending")
            await fleet.revive_node("node-000")
            await _ready(core, "True")
            await _phase(core, "late", "Running")


async def _ready(core: Any, wanted: str) -> None:
    for _ in range(400):
        node = await core.read_node("node-000")
        if any(each.type == "Ready" and each.status == wanted for each in node.status.conditions):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"node-000 never got Ready={wanted}")


async def test_agents_planes_share_an_etcd_and_nothing_else(tmp_path: pathlib.Path) -> None:
    """Two planes on one etcd see none of each other's objects; credentials open one plane only."""
    flavour = controlplane.Flavour.AGENT
    async with _plane(tmp_path, "one", flavour) as one:
        shared = controlplane.SharedEtcd(one.etcd.url, "/two", one.etcd.pki)
        async with _plane(tmp_path, "two", flavour, etcd=shared) as two:
            assert "etcd" not in two.pids
            assert (await _kubectl(one.kubeconfig(), "create", "namespace", "mine"))[0] == 0
            _, seen = await _kubectl(two.kubeconfig(), "get", "namespaces", "-o", "name")
            assert "namespace/default" in seen
            assert "mine" not in seen
            config = one.kubeconfig().read_text().replace(one.server, two.server)
            crossed = tmp_path / "crossed"
            crossed.write_text(config)
            code, said = await _kubectl(crossed, "--insecure-skip-tls-verify", "get", "nodes")
            assert code != 0, said


async def test_a_user_is_who_its_kubeconfig_says(tmp_path: pathlib.Path) -> None:
    """A user without rights is known by name and refused."""
    async with _plane(tmp_path, "host", controlplane.Flavour.HOST) as host:
        config = host.kubeconfig("alice", ("team-a",))
        code, said = await _kubectl(config, "get", "nodes")
        assert code != 0
        assert 'User "alice" cannot list resource "nodes"' in said


async def test_data_survives_kills_and_a_restart(tmp_path: pathlib.Path) -> None:
    """An object written before kill -9 of etcd and the API server is there after a new start."""
    async with _plane(tmp_path, "a", controlplane.Flavour.AGENT) as plane:
        await _kubectl(plane.kubeconfig(), "create", "namespace", "kept")
        server = plane.server
        await plane.child("etcd").kill9()
        await plane.child("kube-apiserver").kill9()
    async with _plane(tmp_path, "a", controlplane.Flavour.AGENT) as plane:
        assert plane.server == server
        code, _ = await _kubectl(plane.kubeconfig(), "get", "namespace", "kept")
        assert code == 0
