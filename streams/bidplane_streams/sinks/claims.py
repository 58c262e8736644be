"""The claims sink: leases become ResourceClaims in the host cluster, and end in order.

Decides how each planned step is carried out, with which tests and in which order of calls. What to
do is ``claims_plan``'s; how objects look is ``claims_objects``'. Every status write tests the
epoch, so a process that slept through an ending changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bidplane_streams.sinks import (
    claims_objects,
    claims_plan,
    claims_seen,
    errors,
    hardware,
    hostsetup,
    kube,
    metrics,
    mirror,
    names,
    patience,
    records,
    standing,
    worker,
)
from bidplane_topics import leases, markets, registry, reports

log = logging.getLogger(__name__)

Object = dict[str, Any]
EPOCH_PATH: Final = "/metadata/annotations/bidplane.io~1epoch"
EXPIRES_PATH: Final = "/metadata/annotations/bidplane.io~1expires"
LOST_AFTER_MS: Final = 40_000


class ClaimsSink:
    """Runs one market's leases in one host cluster. ``clock`` gives milliseconds."""

    name = "claims"

    def __init__(
        self,
        api: kube.Kube,
        bootstrap: str,
        market: str,
        wake: asyncio.Event,
        *,
        ensure: bool = True,
        classes: Mapping[str, str] | None = None,
        lost_after_ms: int = LOST_AFTER_MS,
        clock: worker.Clock = worker.now_ms,
    ) -> None:
        """Talks to nobody yet."""
        self._api = api
        self._market = market
        self._ensure = ensure
        self._classes = dict(classes or {})
        self._lost_after_ms = lost_after_ms
        self._clock = clock
        self._writer = records.Writer(bootstrap)
        self._leases: records.Table[leases.LeaseChanged] = records.Table(
            bootstrap, registry.LEASES, self._lease_key, wake, lambda lease: lease.state != "ended"
        )
        self._markets: records.Table[Any] = records.Table(
            bootstrap, registry.MARKETS, records.market_or_node, wake
        )
        self._standing = standing.Standing(bootstrap, market, self._markets, wake)
        self._tables: tuple[records.Table[Any], ...] = (
            self._leases,
            self._markets,
            *self._standing.tables,
        )
        self._claims = mirror.Mirror(api, kube.CLAIMS, wake)
        self._anchors = mirror.Mirror(api, kube.DEVICE_LEASES, wake)
        self._pods = mirror.Mirror(api, kube.PODS, wake, project=claims_seen.project_pod)
        self._slices = mirror.Mirror(api, kube.SLICES, wake, project=hardware.project)
        self._nodes = mirror.Mirror(api, kube.NODES, wake, project=claims_seen.project_node)
        self._mirrors = (self._claims, self._anchors, self._pods, self._slices, self._nodes)
        self._read = hardware.Hardware({}, frozenset())
        self._read_at = -1
        self._missing_since_ms: dict[str, int] = {}
        self._said: dict[str, claims_plan.Said] = {}
        self._namespaces: set[str] = set()
        self._ending_since: dict[str, float] = {}

    def _lease_key(self, lease: leases.LeaseChanged) -> str | None:
        # What is leased on standing claims needs none of its own.
        ours = lease.market == self._market and not lease.standing
        return lease.lease_id if ours else None

    @property
    def _parts(self) -> list[records.Table[Any] | mirror.Mirror]:
        return [*self._tables, *self._mirrors]

    async def run(self) -> None:
        """Set the host cluster up, then keep mirrors and tables true."""
        if self._ensure:
            await patience.until_answered(self._api.where, self._set_up)
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(part.run())

    async def _set_up(self) -> None:
        await hostsetup.ensure(self._api, self._classes)

    async def close(self) -> None:
        """Close connections."""
        await self._writer.stop()
        await self._api.close()

    def doubt(self) -> None:
        """Read leases and objects again before anything is planned."""
        for part in self._parts:
            part.doubt()

    def observe(self) -> claims_plan.Observed | None:
        """What is true now; None until leases are read to their end and all mirrors are whole."""
        unread = any(not one.fresh for one in self._tables)
        if unread or any(not one.synced or one.broken for one in self._mirrors):
            return None
        self._note_missing_nodes()
        return claims_plan.Observed(
            market=self._market,
            partition=self._partition(),
            leases=self._desired(),
            held=self._held(),
            leased=self._standing.leased(),
            taken=claims_seen.taken(self._market, self._claims.objects.values()),
            hardware=self._hardware(),
            missing_since_ms=self._missing_since_ms,
            lost_after_ms=self._lost_after_ms,
            said=self._said,
        )

    def _desired(self) -> dict[str, claims_plan.Desired]:
        partition = self._partition()
        wanted = self._standing.wanted()
        standing = {key: claims_plan.Desired(one, partition) for key, one in wanted.items()}
        return standing | {
            key: claims_plan.Desired(row.event, row.partition)
            for key, row in self._leases.rows.items()
        }

    def _held(self) -> dict[str, claims_plan.Held]:
        found = claims_seen.held(self._market, self._claims, self._pods, self._anchors)
        spare = {name for name in found if name.startswith(standing.PREFIX)}
        spare -= self._standing.wanted().keys()
        for name in spare - self._standing.dropped(spare):
            del found[name]
        return found

    def _hardware(self) -> hardware.Hardware:
        # Thousands of devices that hardly ever change: read again only when a slice did.
        if self._read_at != self._slices.changes:
            self._read = hardware.read(self._slices.objects.values())
            self._read_at = self._slices.changes
        return self._read

    def plan(self, observed: claims_plan.Observed, now_ms: int) -> Sequence[claims_plan.Action]:
        """See ``claims_plan``."""
        return claims_plan.plan(observed, now_ms)

    async def apply(self, action: claims_plan.Action) -> None:
        """Take one step; see ``base.Sink``."""
        match action:
            case claims_plan.Bind():
                await self._bind(action)
            case claims_plan.Revoke():
                await self._revoke(action)
            case claims_plan.Release():
                await self._release(action)
            case claims_plan.Report():
                await self._report(action)

    async def _bind(self, action: claims_plan.Bind) -> None:
        lease = action.lease
        began = time.monotonic()
        await self._ensure_namespace(lease)
        uid = await self._ensure_anchor(lease, action.held)
        by_name = {one["metadata"]["name"]: one for one in action.held.claims}
        for number, node in enumerate(names.nodes(lease)):
            if not names.devices(lease, node.node):
                continue
            found = by_name.get(names.piece(lease.lease_id, number))
            if found is None:
                found = await self._create_claim(claims_objects.claim(lease, number, node))
            if time.monotonic() - began > worker.FROZEN_S:
                raise errors.Conflict("this took too long to be sure that it is still wanted")
            await self._allocate(lease, node, found, uid)

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
            waited_ms = self._clock() - lease.awarded_at_ms
            metrics.STAGE_S.labels("allocated").observe(max(0, waited_ms) / 1000)
        if names.annotation(found, names.EXPIRES) != claims_objects.expires(lease):
            change = {"op": "add", "path": EXPIRES_PATH, "value": claims_objects.expires(lease)}
            found = await self._api.patch(
                kube.CLAIMS, meta["name"], [test, change], how=kube.JSON, **where
            )
            self._claims.learn(found)

    async def _create_claim(self, body: Object) -> Object:
        meta = body["metadata"]
        try:
            found = await self._api.create(kube.CLAIMS, body)
        except errors.Conflict:
            there = await self._api.get(kube.CLAIMS, meta["name"], meta["namespace"])
            if there is None or not claims_objects.is_ours(there, self._market):
                raise
            found = there
        self._claims.learn(found)
        return found

    async def _ensure_namespace(self, lease: leases.LeaseChanged) -> None:
        name = claims_objects.namespace_of(lease)
        if name not in self._namespaces:
            await self._api.apply(kube.NAMESPACES, claims_objects.namespace(lease))
            await self._api.apply(kube.NETWORK_POLICIES, claims_objects.silence(lease))
            self._namespaces.add(name)

    async def _ensure_anchor(self, lease: leases.LeaseChanged, there: claims_plan.Held) -> str:
        if there.anchors:
            return str(there.anchors[0]["metadata"]["uid"])
        body = claims_objects.anchor(lease)
        try:
            found = await self._api.create(kube.DEVICE_LEASES, body)
        except errors.Conflict:
            namespace = body["metadata"]["namespace"]
            known = await self._api.get(kube.DEVICE_LEASES, lease.lease_id, namespace)
            if known is None:
                raise
            found = known
        except errors.Refused as refused:
            if refused.status == 404:  # the namespace was deleted behind our back
                self._namespaces.discard(body["metadata"]["namespace"])
                raise errors.Conflict(str(refused)) from refused
            raise
        self._anchors.learn(found)
        return str(found["metadata"]["uid"])

    async def _revoke(self, action: claims_plan.Revoke) -> None:
        self._ending_since.setdefault(action.lease_id, time.monotonic())
        for found in action.held.claims:
            known = names.annotation(found, names.EPOCH)
            if known != str(action.epoch):
                body = [
                    {"op": "test", "path": EPOCH_PATH, "value": known},
                    {"op": "replace", "path": EPOCH_PATH, "value": str(action.epoch)},
                ]
                meta = found["metadata"]
                changed = await self._api.patch(
                    kube.CLAIMS, meta["name"], body, namespace=meta["namespace"], how=kube.JSON
                )
                self._claims.learn(changed)
        for pod in action.held.pods:
            meta = pod["metadata"]
            if claims_plan.lingers(pod):
                await self._api.delete(
                    kube.PODS,
                    meta["name"],
                    namespace=meta["namespace"],
                    uid=meta["uid"],
                    grace_s=claims_plan.grace_s(pod),
                )

    async def _release(self, action: claims_plan.Release) -> None:
        began = self._ending_since.setdefault(action.lease_id, time.monotonic())
        await self._refuse_while_used(action)
        metrics.STAGE_S.labels("evicted").observe(time.monotonic() - began)
        for found in action.held.claims:
            await self._free(found)
        for one in action.held.anchors:
            meta = one["metadata"]
            await self._api.delete(
                kube.DEVICE_LEASES, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
            )
        metrics.STAGE_S.labels("deallocated").observe(time.monotonic() - began)
        self._ending_since.pop(action.lease_id, None)

    async def _refuse_while_used(self, action: claims_plan.Release) -> None:
        # The API server would clear the allocation under a running pod, so ask it, not the mirror.
        spaces = {one["metadata"]["namespace"] for one in action.held.claims}
        for space in spaces:
            pods, _ = await self._api.list_all(kube.PODS, space)
            mine = {one["metadata"]["name"] for one in action.held.claims}
            for pod in map(claims_seen.project_pod, pods):
                if (
                    mine & set(pod["uses"])
                    or claims_seen.marked(pod, self._market) == action.lease_id
                ):
                    self._pods.learn(pod)
                    raise errors.Conflict(f"{pod['metadata']['name']} still uses the lease")

    async def _free(self, found: Object) -> None:
        meta = found["metadata"]
        name, space = meta["name"], meta["namespace"]
        test = {"op": "test", "path": EPOCH_PATH, "value": names.annotation(found, names.EPOCH)}
        same = {"op": "test", "path": "/metadata/uid", "value": meta["uid"]}
        status = found.get("status") or {}
        clear = [
            {"op": "remove", "path": f"/status/{field}"}
            for field in ("allocation", "reservedFor")
            if status.get(field)
        ]
        if clear:
            await self._api.patch(
                kube.CLAIMS,
                name,
                [test, same, *clear],
                namespace=space,
                sub="status",
                how=kube.JSON,
            )
        # Deletion first: it waits for our finalizer, which is one of the marks that make the claim
        # ours. Dropped first, a crash in between would leave a claim that nobody owns.
        await self._api.delete(kube.CLAIMS, name, namespace=space, uid=meta["uid"])
        going = await self._api.get(kube.CLAIMS, name, space)
        kept = [] if going is None else going["metadata"].get("finalizers") or []
        if set(kept) & set(names.FINALIZERS):
            left = [one for one in kept if one not in names.FINALIZERS]
            body = [
                test,
                same,
                {"op": "test", "path": "/metadata/finalizers", "value": kept},
                {"op": "replace", "path": "/metadata/finalizers", "value": left},
            ]
            await self._api.patch(kube.CLAIMS, name, body, namespace=space, how=kube.JSON)

    async def _report(self, action: claims_plan.Report) -> None:
        subject = action.subject
        if isinstance(action.event, reports.SinkAlive):
            await self._api.call("GET", "/version")  # alive means: the API server answers us
            subject = action.event.sink
        await self._writer.send(registry.REPORTS, action.partition, subject, action.event)
        if action.times == 0 and not isinstance(action.event, reports.SinkAlive):
            log.info("%s: %s", type(action.event).__name__, action.subject)
        self._said[action.subject] = claims_plan.said(action, self._clock())

    def _partition(self) -> int:
        row = self._markets.rows.get(self._market)
        declared = row is not None and isinstance(row.event, markets.MarketDeclared)
        return int(row.event.partition) if row is not None and declared else -1

    def _note_missing_nodes(self) -> None:
        used = {one.node for row in self._leases.rows.values() for one in row.event.devices}
        used |= self._standing.leased().keys()
        now_ms = self._clock()
        missing: dict[str, int] = {}
        for node in used:
            found = self._nodes.objects.get(("", node))
            if found is None or not found["ready"]:
                missing[node] = self._missing_since_ms.get(node, now_ms)
        self._missing_since_ms = missing
        live = self._leases.rows.keys() | missing.keys() | {claims_plan.ALIVE}
        self._said = {key: value for key, value in self._said.items() if key in live}
