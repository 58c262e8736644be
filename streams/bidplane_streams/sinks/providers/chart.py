"""The provider for production: each agent's control plane is a StatefulSet, rendered from a chart.

Decides the order in which a plane's objects are written, so that a crash at any point is only a
reason to begin again: Secrets, what the chart renders, a wait until it serves, kubeconfigs, and the
mark that all of it stands. Withdrawn, its kubeconfigs go first, then its pod; data and authority
stay. Planes do not end with this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from bidplane_streams.sinks import errors, kube, mirror
from bidplane_streams.sinks.providers import base, issued, plane_objects, plane_storage, rendering

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
SERVES_TIMEOUT_S: Final = 180.0
LOOK_EVERY_S: Final = 0.5


class ChartProvider:
    """Planes in one namespace of a cluster."""

    name = "chart"

    def __init__(
        self, api: kube.Kube, planes: base.Planes, issue: issued.Issue, wake: asyncio.Event
    ) -> None:
        """Talks to nobody yet.

        Raises:
            BadSetting: helm, the chart or its values are missing.
        """
        self._api = api
        self._planes = planes
        self._issue = issue
        self._chart = rendering.Chart(planes)
        self._sets = mirror.Mirror(
            api, kube.STATEFUL_SETS, wake, labels=plane_objects.OURS, namespace=planes.namespace
        )
        self._turns: dict[str, asyncio.Lock] = {}
        self._starting = asyncio.Semaphore(AT_ONCE)

    @property
    def synced(self) -> bool:
        """Whether all planes were listed, and the API server answers."""
        return self._sets.synced and not self._sets.broken

    def ready(self) -> frozenset[str]:
        """The agents whose plane serves, as this chart and these values say."""
        found = self._sets.objects.values()
        return frozenset(plane_objects.owner_of(one) for one in found if self._serves(one))

    def standing(self) -> frozenset[str]:
        """The agents whose plane was not put to sleep."""
        found = self._sets.objects.values()
        return frozenset(plane_objects.owner_of(one) for one in found if plane_objects.stands(one))

    def _serves(self, found: kube.Object) -> bool:
        return plane_objects.serves(found, self._chart.edition, time.time_ns() // 1_000_000)

    async def provide(self, agent: str) -> None:
        """Write the plane's objects, wait until it serves, hand out its kubeconfigs."""
        async with self._turns.setdefault(agent, asyncio.Lock()), self._starting:
            if agent in self.ready():  # somebody else made it while we waited
                return
            # Its last pod still counts as ready while it ends.
            await self._until(agent, plane_objects.unsettled)
            made = await self._certificates(agent)
            name = plane_objects.name_of(agent)
            values = plane_objects.values(agent, made)
            for one in await self._chart.render(name, values):
                body = await self._as_stored(agent, one) if one["kind"] == "StatefulSet" else one
                await self._api.apply(rendering.KINDS[one["kind"]], body)
            await self._until(agent, plane_objects.unready)
            for body in plane_objects.kubeconfigs(agent, self._planes.namespace, made):
                await self._put_secret(body)
            await self._patch(agent, plane_objects.committed(self._chart.edition, made.renew_at_ms))

    async def _as_stored(self, agent: str, wanted: kube.Object) -> kube.Object:
        """The StatefulSet with the storage that it has: the server lets nobody change it."""
        meta = wanted["metadata"]
        found = await self._api.get(kube.STATEFUL_SETS, meta["name"], meta["namespace"])
        if found is None:
            return wanted
        if plane_storage.differs(wanted, found):
            where = f"StatefulSet {meta['namespace']}/{meta['name']}"
            log.warning(
                "%s: %s keeps the storage it has: etcd.storage is for new planes", agent, where
            )
        return plane_storage.kept(wanted, found)

    async def _certificates(self, agent: str) -> issued.Issued:
        space = self._planes.namespace
        places = (plane_objects.authority(agent), plane_objects.pki(agent))
        kept: dict[str, bytes] = {}
        for place in places:
            kept |= plane_objects.files_of(await self._api.get(kube.SECRETS, place, space))
        made = await asyncio.to_thread(self._issue, kept, self._wanted(agent))
        for place, files in zip(places, (made.unseen, made.mounted), strict=True):
            await self._put_secret(plane_objects.secret(place, agent, space, files))
        return made

    def _wanted(self, agent: str) -> issued.Wanted:
        planes, name = self._planes, plane_objects.name_of(agent)
        where = {"name": name, "namespace": planes.namespace}
        sync = planes.address.format(**where)
        return issued.Wanted(name, (planes.agent_address or planes.address).format(**where), sync)

    async def _put_secret(self, body: kube.Object) -> None:
        """Create it, or replace what it holds unless somebody changes it at the same time."""
        meta = body["metadata"]
        found = await self._api.get(kube.SECRETS, meta["name"], meta["namespace"])
        if found is None:
            await self._create(body)
        elif (found.get("data") or {}) != body["data"]:
            gone = dict.fromkeys((found.get("data") or {}).keys() - body["data"].keys())
            changed = {
                "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                "data": body["data"] | gone,
            }
            await self._api.patch(kube.SECRETS, meta["name"], changed, namespace=meta["namespace"])

    async def _create(self, body: kube.Object) -> None:
        try:
            await self._api.create(kube.SECRETS, body)
        except errors.Refused as refused:
            if refused.status != 404:
                raise
            space = {"apiVersion": "v1", "kind": "Namespace"}
            await self._api.create(
                kube.NAMESPACES, space | {"metadata": {"name": self._planes.namespace}}
            )
            await self._api.create(kube.SECRETS, body)

    async def _until(self, agent: str, why_not: Callable[[kube.Object | None], str]) -> None:
        """Wait for the StatefulSet, read by name: the mirror may be behind."""
        name, space = plane_objects.name_of(agent), self._planes.namespace
        end = time.monotonic() + SERVES_TIMEOUT_S
        while why := why_not(await self._api.get(kube.STATEFUL_SETS, name, space)):
            if time.monotonic() > end:
                where = f"{agent}: StatefulSet {space}/{name}"
                raise errors.Unreachable(f"{where}: {why} after {SERVES_TIMEOUT_S:g} s")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _patch(self, agent: str, patch: kube.Object) -> None:
        name = plane_objects.name_of(agent)
        self._sets.learn(
            await self._api.patch(kube.STATEFUL_SETS, name, patch, namespace=self._planes.namespace)
        )

    async def withdraw(self, agent: str) -> None:
        """Take the kubeconfigs away, end the pod; volume, certificates and authority stay."""
        async with self._turns.setdefault(agent, asyncio.Lock()):
            for kind in plane_objects.HOLDS:
                place = plane_objects.kubeconfig(agent, kind)
                await self._api.delete(kube.SECRETS, place, namespace=self._planes.namespace)
            with contextlib.suppress(errors.Conflict):  # there is none
                await self._patch(agent, plane_objects.asleep())

    def doubt(self) -> None:
        """List the planes again."""
        self._sets.doubt()

    async def run(self) -> None:
        """Follow the planes until cancelled."""
        await self._sets.run()

    async def close(self) -> None:
        """Close the connection; planes go on without us."""
        await self._api.close()
