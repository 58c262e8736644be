"""A cluster and a Kafka into which the chart can be installed, and helm and bidplane beside them.

Run as a script it starts them in a directory: real servers, simulated device nodes, and a node that
runs the chart's pods as processes. Imported, it speaks to them as an operator would.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import chart_tools
import planes_world
import sinks_world
from bidplane_streams.embedded import system

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "bidplane"
SPACE = "bidplane-system"
PLANES = "bidplane-planes"
RELEASE = "market"
NODES = 1
COMMAND_TIMEOUT_S = 240


class World:
    """Addresses, and the commands of an operator."""

    def __init__(self, directory: pathlib.Path) -> None:
        """``directory`` is the script's."""
        self.directory = directory
        state = json.loads((directory / "world.json").read_text())
        self.kafka = state["kafka"]
        self.admin = state["admin"]
        self.logs = directory / "local" / "logs"

    def kubectl(self, *words: str, stdin: str = "", config: str = "") -> str:
        """What kubectl prints."""
        return sinks_world.kubectl(config or self.admin, *words, stdin=stdin)

    def objects(self, *words: str, config: str = "") -> list[dict[str, Any]]:
        """The items of ``kubectl get WORDS``."""
        found = json.loads(self.kubectl("get", *words, "-o", "json", config=config))
        return list(found["items"])

    def helm(self, *words: str) -> str:
        """What helm prints; it must have worked."""
        argv = (*words, "--namespace", SPACE, "--kubeconfig", self.admin)
        done = chart_tools.run("helm", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bidplane(self, *words: str) -> Any:
        """What a bidplane command prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "bidplane_agents.cli", *words, "--json"],
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
            env={
                **os.environ, "BIDPLANE_KAFKA": self.kafka, "COLUMNS": "200",
                "BIDPLANE_DIR": str(self.directory / "own"),
            },
        )  # fmt: skip
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def values(self) -> pathlib.Path:
        """Values for this world: our node, one worker, agents' planes on ports that are free."""
        file = self.directory / "values.json"
        if file.exists():  # a plane that runs keeps its ports
            return file
        planes = planes_world.planes_in(self.directory, PLANES)
        values = {
            "kafka": {"bootstrap": self.kafka},
            "podDefaults": {"nodeSelector": planes_world.LOCAL},
            "worker": {"replicas": 1},
            "virtualClusters": {
                "enabled": True,
                "values": json.loads(pathlib.Path(planes.values).read_text()),
            },
            # The chart refuses an address that every plane would have; here there is one plane.
            "sinkClusters": {
                "extraEnv": [{"name": "BIDPLANE_PLANES_ADDRESS", "value": planes.address}]
            },
        }
        file.write_text(json.dumps(values))
        return file

    def said(self) -> dict[str, str]:
        """The logs of everything that the chart runs, by pod and container."""
        places = self.logs.glob(f"{SPACE}.*/*.log")
        return {f"{one.parent.name}/{one.stem}": one.read_text() for one in places}


async def _main(directory: pathlib.Path) -> None:
    helm = chart_tools.program("helm")
    kubelet = str(pathlib.Path(__file__).with_name("local_kubelet.py"))
    image = {"/usr/local/bin/helm": helm, "/opt/bidplane/virtual-cluster": planes_world.CHART}
    async with system.System(directory, nodes=NODES) as up:
        pairs = (f"{there}={here}" for there, here in image.items())
        argv = [sys.executable, kubelet, str(up.kubeconfig), str(directory / "local"), *pairs]
        (directory / "local").mkdir()
        await up.add("kubelet", argv)
        place = directory / "world.json.new"
        place.write_text(json.dumps({"kafka": up.kafka, "admin": str(up.kubeconfig)}))
        os.replace(place, directory / "world.json")  # noqa: PTH105 - atomic
        await up.until_stopped()


if __name__ == "__main__":
    asyncio.run(_main(pathlib.Path(sys.argv[1]).absolute()))
