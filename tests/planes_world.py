"""What each provider of control planes needs to run in a test, and where its kubeconfigs end up."""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import chart_tools
import sinks_world
from bidplane_streams.embedded import ports
from bidplane_streams.sinks.providers import base, plane_objects
from sinks_world import until

CHART = pathlib.Path(__file__).parents[1] / "helm/bidplane/charts/virtual-cluster"
LOCAL = {"bidplane.io/local": "true"}
PORTS = ("api", "scheduler", "controllers", "etcd", "etcdPeer", "etcdHealth")


class Place(NamedTuple):
    """The settings of a provider, and an agent's kubeconfig of a kind as a file, if it is there."""

    settings: base.Settings
    kubeconfig: Callable[[str, str], pathlib.Path | None]


@contextlib.contextmanager
def process(folder: pathlib.Path) -> Iterator[Place]:
    """Planes are children of the test."""

    def kubeconfig(agent: str, kind: str) -> pathlib.Path | None:
        file = base.home_of(folder, agent) / plane_objects.HOLDS[kind]
        return file if file.exists() else None

    yield Place(base.Settings(folder), kubeconfig)


@contextlib.contextmanager
def chart(folder: pathlib.Path) -> Iterator[Place]:
    """Planes are pods of the host cluster, on a node that runs them as processes."""
    world = sinks_world.shared()
    planes = planes_in(folder, "bidplane-planes")
    settings = base.Settings(folder, world.admin, planes)

    def kubeconfig(agent: str, kind: str) -> pathlib.Path | None:
        return from_secret(world.admin, planes.namespace, agent, kind, folder)

    with local_node(world.admin, folder):
        yield Place(settings, kubeconfig)
    world.kubectl("delete", "namespace", planes.namespace, "--wait=false")


# By the names of commands_sinks.PROVIDERS.
PLACES: dict[str, Callable[[pathlib.Path], AbstractContextManager[Place]]] = {
    "process": process,
    "chart": chart,
}


def planes_in(folder: pathlib.Path, namespace: str) -> base.Planes:
    """The chart with values for one plane whose ports are free here, on the local node."""
    chosen = ports.remembered(folder / "plane-ports.json", *PORTS)
    values = {"ports": chosen, "nodeSelector": LOCAL, "etcd": {"storage": {"size": "1Gi"}}}
    file = folder / "plane-values.json"
    file.write_text(json.dumps(values))
    address = f"https://127.0.0.1:{chosen['api']}"
    helm = str(chart_tools.program("helm"))
    return base.Planes(namespace, address, "", helm, str(CHART), str(file))


def from_secret(
    config: str, namespace: str, agent: str, kind: str, folder: pathlib.Path
) -> pathlib.Path | None:
    """What a Secret with a kubeconfig holds, as a file."""
    name = plane_objects.kubeconfig(agent, kind)
    words = ("get", "secret", "-n", namespace, name, "--ignore-not-found", "-o", "json")
    found = sinks_world.kubectl(config, *words)
    if not found:
        return None
    held = json.loads(found)["data"][plane_objects.HOLDS[kind]]
    file = folder / f"{name}.kubeconfig"
    file.write_bytes(base64.b64decode(held))
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def local_node(config: str, folder: pathlib.Path, *image: str) -> Iterator[pathlib.Path]:
    """The node of ``local_kubelet``, gone afterwards; the folder of its pods' logs."""
    script = pathlib.Path(__file__).with_name("local_kubelet.py")
    home = folder / "local"
    home.mkdir()
    argv = [sys.executable, str(script), config, str(home), *image]
    with (home / "kubelet.log").open("w") as log:
        child = subprocess.Popen(argv, stdout=log, stderr=log)
    kubectl = sinks_world.kubectl

    def there() -> bool:
        assert child.poll() is None, (home / "kubelet.log").read_text()[-2000:]
        return " Ready " in kubectl(config, "get", "nodes", "-l", "bidplane.io/local")

    try:
        until("the local node is ready", there)
        yield home / "logs"
    finally:
        child.terminate()
        child.wait(60)
        kubectl(config, "delete", "node", "local", "--ignore-not-found")
        kubectl(config, "delete", "pv", "local-0", "local-1", "--ignore-not-found", "--wait=false")
