"""One agent's cluster as the nodes sink sees it: a connection, and mirrors of what matters there.

Decides when its picture may be believed. A cluster that does not answer is left out of plans; the
others go on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bidplane_streams.sinks import (
    errors,
    kube,
    kubeconfigs,
    mirror,
    names,
    nodes_plan,
    patience,
    vnodes,
)

log = logging.getLogger(__name__)

RETRY_S: Final = 2.0


class VirtualCluster:
    """Mirrors of one agent's cluster, by its kubeconfig; ``owner`` is TENANT/NAME."""

    def __init__(self, owner: str, source: kubeconfigs.Source, wake: asyncio.Event) -> None:
        """Talks to nobody yet."""
        self.owner = owner
        self.api: kube.Kube | None = None
        self.pods: mirror.Mirror | None = None
        self._source = source
        self._stamp = source.stamp(owner)
        self._wake = wake
        self._mirrors: dict[str, mirror.Mirror] = {}

    async def run(self) -> None:
        """Keep the mirrors true until cancelled; a broken kubeconfig is tried again."""
        while True:
            try:
                await self._serve()
            except errors.SinkError as error:
                log.warning("cluster of %s: %s", self.owner, error)
            await asyncio.sleep(RETRY_S)

    async def _serve(self) -> None:
        self.api = api = await self._source.connect(self.owner)
        try:
            await patience.until_answered(api.where, self._set_up)
            ours = f"{names.LEASE}"
            self._mirrors = {
                "pods": mirror.Mirror(api, kube.PODS, self._wake),
                "claims": mirror.Mirror(api, kube.CLAIMS, self._wake),
                "nodes": mirror.Mirror(api, kube.NODES, self._wake, labels=ours),
                "slices": mirror.Mirror(api, kube.SLICES, self._wake, labels=ours),
            }
            async with asyncio.TaskGroup() as group:
                for one in self._mirrors.values():
                    group.create_task(one.run())
        finally:
            self._mirrors = {}
            self.api = None
            await api.close()

    async def _set_up(self) -> None:
        assert self.api is not None
        for one in vnodes.classes():
            await self.api.apply(kube.CLASSES, one)

    @property
    def moved(self) -> bool:
        """Whether the kubeconfig was replaced or taken away."""
        return self._source.stamp(self.owner) != self._stamp

    def doubt(self) -> None:
        """Believe nothing until everything is listed again."""
        for one in self._mirrors.values():
            one.doubt()

    def learn(self, kind: str, found: kube.Object) -> None:
        """Take the server's answer to a write of ours."""
        if kind in self._mirrors:
            self._mirrors[kind].learn(found)

    def view(self) -> nodes_plan.Cluster | None:
        """What stands there; None while it may not be believed."""
        mirrors = self._mirrors
        if not mirrors or any(not one.synced or one.broken for one in mirrors.values()):
            return None
        return nodes_plan.Cluster(
            owner=self.owner,
            pods=mirrors["pods"].objects,
            claims=mirrors["claims"].objects,
            nodes=mirrors["nodes"].objects,
            slices=mirrors["slices"].objects,
        )
