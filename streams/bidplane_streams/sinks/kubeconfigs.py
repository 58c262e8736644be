"""Where the nodes sink finds the kubeconfigs of agents' clusters: in a folder, or in Secrets.

Decides how a replaced kubeconfig is noticed. Refuses to make one: that is the providers'.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import pathlib
from typing import Protocol

from bidplane_streams.sinks import errors, kube, mirror
from bidplane_streams.sinks.providers import base, plane_objects


class Source(Protocol):
    """Kubeconfigs by their owner, TENANT/NAME."""

    def stamp(self, owner: str) -> str:
        """Another text for another kubeconfig; empty where there is none."""
        ...

    async def connect(self, owner: str) -> kube.Kube:
        """A client by the owner's kubeconfig.

        Raises:
            BadSetting: there is none, or it is broken.
        """
        ...

    def doubt(self) -> None:
        """Read everything again."""
        ...

    async def run(self) -> None:
        """Notice what changes, until cancelled."""
        ...


class Folder:
    """What the provider ``process`` writes: CLUSTERS_DIR/TENANT/NAME/sync.kubeconfig."""

    def __init__(self, root: pathlib.Path) -> None:
        """``root`` need not exist yet."""
        self._root = root

    def _file(self, owner: str) -> pathlib.Path:
        return base.home_of(self._root, owner) / base.SYNC_KUBECONFIG

    def stamp(self, owner: str) -> str:
        """The file's time of change."""
        with contextlib.suppress(FileNotFoundError):
            return str(self._file(owner).stat().st_mtime_ns)
        return ""

    async def connect(self, owner: str) -> kube.Kube:
        """A client by the file."""
        return await kube.connect(str(self._file(owner)))

    def doubt(self) -> None:
        """Files are looked at each time."""

    async def run(self) -> None:
        """Files are looked at each time."""
        await asyncio.Event().wait()


class Secrets:
    """What the provider ``chart`` writes: Secrets of one namespace, known by their label."""

    def __init__(self, api: kube.Kube, namespace: str, wake: asyncio.Event) -> None:
        """``api`` is the cluster that holds the control planes."""
        labels = f"{plane_objects.KUBECONFIG}={plane_objects.SYNCS}"
        self._space = namespace
        self._found = mirror.Mirror(api, kube.SECRETS, wake, labels=labels, namespace=namespace)

    def _content(self, owner: str) -> bytes:
        name = plane_objects.kubeconfig(owner, plane_objects.SYNCS)
        found = self._found.objects.get((self._space, name), {})
        return base64.b64decode((found.get("data") or {}).get(base.SYNC_KUBECONFIG, ""))

    def stamp(self, owner: str) -> str:
        """A digest of what the Secret holds."""
        content = self._content(owner)
        return hashlib.sha256(content).hexdigest() if content else ""

    async def connect(self, owner: str) -> kube.Kube:
        """A client by the Secret."""
        where = f"Secret {self._space}/{plane_objects.kubeconfig(owner, plane_objects.SYNCS)}"
        content = self._content(owner)
        if not content:
            raise errors.BadSetting(f"{where}: there is none")
        return await kube.connect_given(content, where)

    def doubt(self) -> None:
        """List the Secrets again."""
        self._found.doubt()

    async def run(self) -> None:
        """Follow the Secrets until cancelled."""
        await self._found.run()
