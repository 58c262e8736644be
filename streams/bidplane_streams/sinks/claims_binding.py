"""How a lease's claims come to stand: the agent's namespace, the anchor, one claim per node.

Decides which calls go at once and which wait for one another: an allocation needs its claim and the
anchor's uid, nothing else needs anything. Every status write tests the epoch, so a process that
slept through an ending changes nothing. Refuses to know when a lease is to be bound.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from bidplane_streams.sinks import (
    claims_objects,
    claims_plan,
    errors,
    kube,
    mirror,
    names,
    spaces,
    worker,
)
from bidplane_topics import leases

Object = dict[str, Any]
EPOCH_PATH: Final = "/metadata/annotations/bidplane.io~1epoch"
EXPIRES_PATH: Final = "/metadata/annotations/bidplane.io~1expires"


async def at_once(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Make these calls at the same time and wait for all; the first error of them is raised."""
    if len(calls) == 1:
        return [await calls[0]]
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


class Binding:
    """Writes one market's claims. ``claims`` and ``anchors`` learn what the server answers."""

    def __init__(
        self, api: kube.Kube, market: str, claims: mirror.Mirror, anchors: mirror.Mirror,
        wanted: Callable[[leases.LeaseChanged], bool], clock: Callable[[], int],
    ) -> None:  # fmt: skip
        """``wanted`` says whether a lease shall still stand; ``clock`` gives milliseconds."""
        self.busy: set[str] = set()
        self._api, self._market, self._wanted, self._clock = api, market, wanted, clock
        self._claims, self._anchors = claims, anchors
        self._spaces = spaces.Spaces()
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bind(
        self, lease: leases.LeaseChanged, held: claims_plan.Held, planned_s: float
    ) -> None:  # fmt: skip
        """Make what is missing, then allocate it and write its end.

        ``planned_s`` is when this was planned, by the monotonic clock.

        Raises:
            Conflict: somebody wrote first, or it took so long that it may not be wanted any more.
        """
        self.busy.add(lease.lease_id)
        try:
            await self._bind(lease, held, planned_s)
        finally:
            self.busy.discard(lease.lease_id)

    async def _bind(
        self, lease: leases.LeaseChanged, held: claims_plan.Held, planned_s: float
    ) -> None:  # fmt: skip
        self._refuse_unwanted(lease, planned_s)
        await self._ensure_namespace(lease)
        by_name = {one["metadata"]["name"]: one for one in held.claims}
        wanted = [
            (number, node)
            for number, node in enumerate(names.nodes(lease))
            if names.devices(lease, node.node)
        ]
        uid, *found = await at_once(
            self._ensure_anchor(lease, held),
            *(self._ensure_claim(lease, number, node, by_name) for number, node in wanted),
        )
        self._refuse_unwanted(lease, planned_s)
        await at_once(
            *(
                self._allocate(lease, node, claim, uid)
                for (_, node), claim in zip(wanted, found, strict=True)
            )
        )

    def _refuse_unwanted(self, lease: leases.LeaseChanged, planned_s: float) -> None:
        # It may have begun to end since the plan; the next one takes away what stands of it.
        if not self._wanted(lease):
            raise errors.Conflict(f"{lease.lease_id} is not wanted any more")
        # From the plan on, not from the first call: a freeze in between counts too.
        if time.monotonic() - planned_s > worker.FROZEN_S:
            raise errors.Conflict("planned too long ago to be sure that it is still wanted")

    async def _allocate(
        self, lease: leases.LeaseChanged, node: leases.LeasedNode, found: Object, uid: str
    ) -> None:
        meta = found["metadata"]
        where = {"namespace": meta["namespace"]}
        test = {"op": "test", "path": EPOCH_PATH, "value": str(lease.epoch)}
        if not claims_objects.stands(found, lease, node):
            status = claims_objects.status(lease, node, uid, self._clock())
            body: list[Object] = [test, {"op": "add", "path": "/status", "value": status}]
            found = await self._api.patch(
                kube.CLAIMS, meta["name"], body, sub="status", how=kube.JSON, **where
            )
            self._claims.learn(found)
        if names.annotation(found, names.EXPIRES) != claims_objects.expires(lease):
            change = {"op": "add", "path": EXPIRES_PATH, "value": claims_objects.expires(lease)}
            found = await self._api.patch(
                kube.CLAIMS, meta["name"], [test, change], how=kube.JSON, **where
            )
            self._claims.learn(found)

    async def _ensure_claim(
        self, lease: leases.LeaseChanged, number: int, node: leases.LeasedNode,
        there: Mapping[str, Object],
    ) -> Object:  # fmt: skip
        name = names.piece(lease.lease_id, number)
        if name in there:
            return there[name]
        found = await self._create(kube.CLAIMS, claims_objects.claim(lease, number, node))
        if not claims_objects.is_ours(found, self._market):
            raise errors.Conflict(f"claim {name} is somebody else's")
        self._claims.learn(found)
        return found

    async def _ensure_namespace(self, lease: leases.LeaseChanged) -> None:
        name = claims_objects.namespace_of(lease)
        if self._spaces.stands(name, time.monotonic()):
            return
        async with self._making[name]:  # an agent's first leases come together
            if not self._spaces.stands(name, time.monotonic()):
                await self._api.apply(kube.NAMESPACES, claims_objects.namespace(lease))
                await self._api.apply(kube.NETWORK_POLICIES, claims_objects.silence(lease))
                self._spaces.applied(name, time.monotonic())

    async def _ensure_anchor(self, lease: leases.LeaseChanged, there: claims_plan.Held) -> str:
        if there.anchors:
            return str(there.anchors[0]["metadata"]["uid"])
        found = await self._create(kube.DEVICE_LEASES, claims_objects.anchor(lease))
        self._anchors.learn(found)
        return str(found["metadata"]["uid"])

    async def _create(self, resource: kube.Resource, body: Object) -> Object:
        """Create an object, or read what stands under its name."""
        meta = body["metadata"]
        try:
            return await self._api.create(resource, body)
        except errors.Conflict:
            known = await self._api.get(resource, meta["name"], meta["namespace"])
            if known is None:
                raise
            return known
        except errors.Refused as refused:
            if refused.status == 404:  # the namespace was deleted behind our back
                self._spaces.gone(meta["namespace"])
                raise errors.Conflict(str(refused)) from refused
            raise
