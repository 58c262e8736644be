"""How a lease's claims go, in the one order that is safe at every crash.

Decides: the new epoch first, then the pods' end; once the API server itself lists no pod, one patch
clears allocation and reservation; the claim is deleted, then its finalizers go, then the anchor.
Refuses to know why a lease ends. Nobody's pod is ended by force.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

from bidplane_streams.sinks import claims_plan, claims_seen, errors, kube, mirror, names
from bidplane_streams.sinks.claims_binding import EPOCH_PATH, at_once

Object = dict[str, Any]


class Looks:
    """Looks at a namespace's pods, shared by all who ask at once.

    A look that somebody is given began after it asked: what was true before is no use to it.
    """

    def __init__(self, api: kube.Kube) -> None:
        """Nobody has asked."""
        self._api = api
        self._next: dict[str, asyncio.Future[list[Object]]] = {}
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def pods(self, space: str) -> list[Object]:
        """All pods of a namespace, as the API server has them now."""
        look = self._next.get(space)
        if look is None:
            look = self._next[space] = asyncio.ensure_future(self._look(space))
        return await asyncio.shield(look)

    async def _look(self, space: str) -> list[Object]:
        async with self._looking[space]:
            del self._next[space]  # who asks from here on needs a later one
            pods, _ = await self._api.list_all(kube.PODS, space)
        return [claims_seen.project_pod(one) for one in pods]


class Ending:
    """Takes one market's claims away. The mirrors learn what the server answers."""

    def __init__(
        self, api: kube.Kube, market: str, claims: mirror.Mirror, anchors: mirror.Mirror,
        pods: mirror.Mirror,
    ) -> None:  # fmt: skip
        """Nothing ends yet."""
        self._api, self._market = api, market
        self._claims, self._anchors, self._pods = claims, anchors, pods
        self._looks = Looks(api)

    async def revoke(self, action: claims_plan.Revoke) -> None:
        """Fence the holder, then tell its pods to end."""
        await at_once(
            *(
                self._fence(found, action.epoch) for found in action.held.claims
                if names.annotation(found, names.EPOCH) != str(action.epoch)
            )
        )  # fmt: skip
        await at_once(*(self._evict(one) for one in action.held.pods if claims_plan.lingers(one)))

    async def _fence(self, found: Object, epoch: int) -> None:
        known = names.annotation(found, names.EPOCH)
        body = [
            {"op": "test", "path": EPOCH_PATH, "value": known},
            {"op": "replace", "path": EPOCH_PATH, "value": str(epoch)},
        ]
        meta = found["metadata"]
        changed = await self._api.patch(
            kube.CLAIMS, meta["name"], body, namespace=meta["namespace"], how=kube.JSON
        )
        self._claims.learn(changed)

    async def _evict(self, pod: Object) -> None:
        meta, grace_s = pod["metadata"], claims_plan.grace_s(pod)
        await self._api.delete(
            kube.PODS, meta["name"], namespace=meta["namespace"], uid=meta["uid"], grace_s=grace_s
        )

    async def refuse_while_used(self, lease_id: str, held: claims_plan.Held) -> None:
        """Look at the API server itself, not at the mirror: it frees claims under running pods.

        Raises:
            Conflict: a pod still uses the lease.
        """
        mine = {one["metadata"]["name"] for one in held.claims}
        for space in {one["metadata"]["namespace"] for one in held.claims}:
            for pod in await self._looks.pods(space):
                marked = claims_seen.marked(pod, self._market) == lease_id
                if marked or mine & set(pod["uses"]):
                    self._pods.learn(pod)
                    raise errors.Conflict(f"{pod['metadata']['name']} still uses the lease")

    async def free(self, held: claims_plan.Held) -> None:
        """Give the devices back, then let the anchor go."""
        await at_once(*(self._free(found) for found in held.claims))
        for one in held.anchors:
            meta = one["metadata"]
            await self._api.delete(
                kube.DEVICE_LEASES, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
            )
            self._anchors.forget(one)

    async def _free(self, found: Object) -> None:
        meta = found["metadata"]
        name, space = meta["name"], meta["namespace"]
        tests = [
            {"op": "test", "path": EPOCH_PATH, "value": names.annotation(found, names.EPOCH)},
            {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        ]
        status = found.get("status") or {}
        clear = [
            {"op": "remove", "path": f"/status/{field}"}
            for field in ("allocation", "reservedFor")
            if status.get(field)
        ]
        if clear:
            found = await self._api.patch(
                kube.CLAIMS, name, [*tests, *clear], namespace=space, sub="status", how=kube.JSON
            )
            self._claims.learn(found)
        # Deletion first: it waits for our finalizer, which is one of the marks that make the claim
        # ours. Dropped first, a crash in between would leave a claim that nobody owns.
        left = await self._api.delete(kube.CLAIMS, name, namespace=space, uid=meta["uid"])
        if left is not None:
            left = await self._let_go(left, tests)
        if left is None or not _finalizers(left):
            self._claims.forget(found if left is None else left)
        else:
            self._claims.learn(left)

    async def _let_go(self, left: Object, tests: list[Object]) -> Object:
        """Drop our finalizers; the controller manager drops its own of them at that moment too."""
        meta, kept = left["metadata"], _finalizers(left)
        for expected in (kept, [one for one in kept if one != names.DELETE_PROTECTION]):
            if not set(expected) & set(names.FINALIZERS):
                return left
            body = [
                *tests,
                {"op": "test", "path": "/metadata/finalizers", "value": expected},
                {
                    "op": "replace",
                    "path": "/metadata/finalizers",
                    "value": [one for one in expected if one not in names.FINALIZERS],
                },
            ]
            with contextlib.suppress(errors.Conflict):
                return await self._api.patch(
                    kube.CLAIMS, meta["name"], body, namespace=meta["namespace"], how=kube.JSON
                )
        raise errors.Conflict(f"the finalizers of {meta['name']} were changed by somebody else")


def _finalizers(found: Object) -> list[str]:
    return found["metadata"].get("finalizers") or []
