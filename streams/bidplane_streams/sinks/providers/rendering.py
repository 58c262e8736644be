"""The chart of a control plane, rendered by the helm binary, which talks to no cluster here.

Decides how helm is called and what its output may be. `helm install` was left out: it keeps a
release of its own in the cluster, which is one more state to disagree with, and needs more rights
than the objects themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, Final

import orjson
import yaml

from bidplane_streams.sinks import errors, kube
from bidplane_streams.sinks.providers.base import Planes

HELM_TIMEOUT_S: Final = 60.0

KINDS: Final[dict[str, kube.Resource]] = {
    "ConfigMap": kube.CONFIG_MAPS,
    "Service": kube.SERVICES,
    "NetworkPolicy": kube.NETWORK_POLICIES,
    "StatefulSet": kube.STATEFUL_SETS,
}


class Chart:
    """A chart in a folder, with values of the operator's. ``edition`` changes with either."""

    def __init__(self, planes: Planes) -> None:
        """Look at what was given.

        Raises:
            BadSetting: there is no helm, no chart or no file of values.
        """
        self._planes = planes
        self._helm = shutil.which(planes.helm) or ""
        if not self._helm:
            raise errors.BadSetting(f"no {planes.helm}: install helm, or name it by BIDPLANE_HELM")
        self._folder = pathlib.Path(planes.chart)
        if not planes.chart or not (self._folder / "Chart.yaml").is_file():
            raise errors.BadSetting(
                f"no chart in {planes.chart or '(nowhere)'}: name the folder virtual-cluster "
                "of bidplane's chart by BIDPLANE_CLUSTER_CHART"
            )
        if planes.values and not pathlib.Path(planes.values).is_file():
            raise errors.BadSetting(f"no file {planes.values}: see BIDPLANE_CLUSTER_VALUES")
        self.edition = self._digest()

    def _digest(self) -> str:
        places = [place for place in sorted(self._folder.rglob("*")) if place.is_file()]
        values = [pathlib.Path(self._planes.values)] if self._planes.values else []
        told = (self._planes.namespace, self._planes.address, self._planes.agent_address)
        found = hashlib.sha256("\0".join(told).encode())
        for place in [*places, *values]:
            found.update(hashlib.sha256(place.read_bytes()).digest())
        return found.hexdigest()[:32]

    async def render(self, name: str, values: Mapping[str, Any]) -> list[kube.Object]:
        """The plane's objects, the StatefulSet last: what it refers to stands before it.

        Raises:
            BadSetting: the chart does not render with these values, or gives something else.
            Unreachable: helm did not end.
        """
        given = ["--values", self._planes.values] if self._planes.values else []
        argv = ["template", name, str(self._folder), "--namespace", self._planes.namespace]
        output = await self._call([*argv, *given, "--values", "-"], orjson.dumps(values))
        objects = [one for one in yaml.safe_load_all(output) if one]
        for one in objects:
            if one.get("kind") not in KINDS:
                raise errors.BadSetting(f"{self._folder}: a plane has no {one.get('kind')}")
        return sorted(objects, key=lambda one: list(KINDS).index(one["kind"]))

    async def _call(self, argv: list[str], stdin: bytes) -> bytes:
        child = await asyncio.create_subprocess_exec(
            self._helm,
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            async with asyncio.timeout(HELM_TIMEOUT_S):
                output, said = await child.communicate(stdin)
        except TimeoutError as error:
            raise errors.Unreachable(f"{self._helm} did not end in {HELM_TIMEOUT_S:g} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        if child.returncode:
            words = " ".join(said.decode(errors="replace").split())[:500]
            raise errors.BadSetting(f"{self._folder}: {words}")
        return output


def _environment() -> dict[str, str]:
    """No cluster to ask, and nowhere to keep anything: the root may be read-only."""
    nowhere = str(pathlib.Path(tempfile.gettempdir()) / "helm")
    homes = {f"HELM_{what}_HOME": nowhere for what in ("CACHE", "CONFIG", "DATA")}
    return {"PATH": os.environ.get("PATH", ""), "HOME": nowhere, **homes}
