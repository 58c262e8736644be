"""The nodes sink: what an agent has won appears in its own cluster, and its pods run on the host.

Decides how each planned step is carried out. What to do is ``nodes_plan``'s; how a pod becomes a
host pod is ``hostpods``'; what the agent sees of it is ``podstatus``'.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from bidplane_streams import stages
from bidplane_streams.sinks import (
    claims_objects,
    errors,
    hostpods,
    kube,
    kubeconfigs,
    mirror,
    names,
    nodes_plan,
    records,
    shown,
    virtual,
    vnodes,
    worker,
)
from bidplane_topics import agents, ids, leases, registry

Object = dict[str, Any]

LOOK_EVERY_S: Final = 0.5
LEASE_SPACE: Final = "kube-node-lease"
BEAT_S: Final = 40


class NodesSink:
    """Syncs one host cluster's leases with the clusters of their agents."""

    name = "nodes"

    def __init__(
        self,
        api: kube.Kube,
        bootstrap: str,
        market: str,
        source: kubeconfigs.Source,
        wake: asyncio.Event,
        clock: worker.Clock = worker.now_ms,
    ) -> None:
        """Talks to nobody yet."""
        self._api = api
        self._market = market
        self._source = source
        self._wake = wake
        self._clock = clock
        self._leases: records.Table[leases.LeaseChanged] = records.Table(
            bootstrap, registry.LEASES, self._lease_key, wake, lambda lease: lease.state != "ended"
        )
        self._agents: records.Table[agents.AgentRegistered] = records.Table(
            bootstrap, registry.AGENTS, _agent_of, wake, lambda event: bool(event.cluster)
        )
        labels = f"{names.MARKET}={market},{names.VIRTUAL_UID}"
        self._host_pods = mirror.Mirror(api, kube.PODS, wake, labels=labels)
        self._clusters: dict[str, virtual.VirtualCluster] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._beats: dict[str, int] = {}
        self._told: set[str] = set()
        self._creating: dict[str, nodes_plan.Object] = {}

    def _lease_key(self, lease: leases.LeaseChanged) -> str | None:
        # A lease on standing claims is served by whoever holds those, not by pods of its agent.
        ours = lease.market == self._market and not lease.standing
        return lease.lease_id if ours else None

    async def run(self) -> None:
        """Keep tables and mirrors true, and follow clusters as they come and go."""
        try:
            async with asyncio.TaskGroup() as group:
                for one in (self._leases, self._agents, self._host_pods, self._source):
                    group.create_task(one.run())
                group.create_task(self._follow_clusters())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow_clusters(self) -> None:
        while True:
            if self._agents.fresh:
                self._compare_clusters()
            await asyncio.sleep(LOOK_EVERY_S)

    def _compare_clusters(self) -> None:
        for owner, known in list(self._clusters.items()):
            if owner not in self._agents.rows or known.moved:
                self._tasks.pop(owner).cancel()
                del self._clusters[owner]
        for owner in self._agents.rows:
            if owner not in self._clusters and self._source.stamp(owner):
                cluster = virtual.VirtualCluster(owner, self._source, self._wake)
                self._clusters[owner] = cluster
                self._tasks[owner] = asyncio.create_task(cluster.run())

    async def close(self) -> None:
        """Close the host's connection; the clusters' close with ``run``."""
        await self._api.close()

    def doubt(self) -> None:
        """Read everything again before anything is planned."""
        for one in (self._leases, self._agents):
            one.doubt()
        self._host_pods.doubt()
        self._source.doubt()
        for cluster in self._clusters.values():
            cluster.doubt()

    def observe(self) -> nodes_plan.Observed | None:
        """What is true now, without silent clusters; None until leases and host pods are whole."""
        host = self._host_pods
        if not self._leases.fresh or not self._agents.fresh or not host.synced or host.broken:
            return None
        views = {owner: one.view() for owner, one in self._clusters.items()}
        seen = [view for view in views.values() if view is not None]
        shown.count(self._market, (view.nodes for view in seen), host.objects.values())
        return nodes_plan.Observed(
            market=self._market,
            leases={key: row.event for key, row in self._leases.rows.items()},
            clusters={owner: view for owner, view in views.items() if view is not None},
            host_pods=host.objects,
            beats=self._beats,
            told=frozenset(self._told),
        )

    def plan(self, observed: nodes_plan.Observed, now_ms: int) -> Sequence[nodes_plan.Action]:
        """See ``nodes_plan``."""
        return nodes_plan.plan(observed, now_ms)

    async def apply(self, action: nodes_plan.Action) -> None:
        """Take one step; see ``base.Sink``."""
        match action:
            case nodes_plan.PutNode():
                await self._put_node(action)
            case nodes_plan.CloseNode():
                await self._close_node(action)
            case nodes_plan.RemoveNode():
                await self._remove_node(action)
            case nodes_plan.Beat():
                await self._beat(action.owner, action.node)
            case nodes_plan.CreateHost():
                await self._create_host(action)
            case nodes_plan.DeleteHost():
                meta = action.host["metadata"]
                await self._api.delete(
                    kube.PODS,
                    meta["name"],
                    namespace=meta["namespace"],
                    uid=meta["uid"],
                    grace_s=action.grace_s,
                )
            case nodes_plan.Show():
                await self._show(action)
            case nodes_plan.Tell():
                await self._event(
                    action.owner, action.pod, action.reason, action.message, "Warning"
                )
                self._told.add(action.mark)
            case nodes_plan.DeleteVirtual():
                meta = action.pod["metadata"]
                await self._cluster(action.owner).delete(
                    kube.PODS,
                    meta["name"],
                    namespace=meta["namespace"],
                    uid=meta["uid"],
                    grace_s=0 if action.final else None,
                )

    def _cluster(self, owner: str) -> kube.Kube:
        known = self._clusters.get(owner)
        # A host pod may outlive its cluster; then its end needs the host alone.
        if known is None or known.api is None:
            raise errors.Unreachable(f"the cluster of {owner} does not answer")
        return known.api

    async def _put_node(self, action: nodes_plan.PutNode) -> None:
        api, place = self._cluster(action.owner), action.place
        body = vnodes.node(place.lease, place.number, place.host)
        name = body["metadata"]["name"]
        if await api.get(kube.NODES, name) is None:
            await api.create(kube.NODES, body)
        status = {"status": vnodes.status(place.host, claims_objects.timestamp(self._clock()))}
        await api.patch(kube.NODES, name, status, sub="status")
        # Admission taints every new node as not ready, and no controller here takes that away.
        changed = {
            "metadata": {key: body["metadata"][key] for key in ("labels", "annotations")},
            "spec": {"taints": body["spec"]["taints"] or None},
        }
        found = await api.patch(kube.NODES, name, changed)
        cluster = self._clusters[action.owner]
        cluster.learn("nodes", found)
        for one in vnodes.further_classes(place.lease, place.host):
            await api.apply(kube.CLASSES, one)
        for one in vnodes.slices(place.lease, place.number, place.host):
            cluster.learn("slices", await api.apply(kube.SLICES, one))
        await self._beat(action.owner, name)

    async def _beat(self, owner: str, node: str) -> None:
        moment = dt.datetime.fromtimestamp(self._clock() / 1000, dt.UTC)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node, "namespace": LEASE_SPACE},
            "spec": {
                "holderIdentity": node,
                "leaseDurationSeconds": BEAT_S,
                "renewTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        await self._cluster(owner).apply(kube.NODE_LEASES, body)
        self._beats[f"{owner}/{node}"] = self._clock() + nodes_plan.BEAT_MS

    async def _close_node(self, action: nodes_plan.CloseNode) -> None:
        changed = {"spec": {"taints": [dict(vnodes.ENDING_TAINT)]}}
        found = await self._cluster(action.owner).patch(kube.NODES, action.node, changed)
        self._clusters[action.owner].learn("nodes", found)

    async def _remove_node(self, action: nodes_plan.RemoveNode) -> None:
        api = self._cluster(action.owner)
        for name in action.slices:
            await api.delete(kube.SLICES, name)
        if not action.node:  # slices of an agent's own making that name no node
            return
        await api.delete(kube.NODES, action.node)
        await api.delete(kube.NODE_LEASES, action.node, namespace=LEASE_SPACE)
        self._beats.pop(f"{action.owner}/{action.node}", None)

    async def _create_host(self, action: nodes_plan.CreateHost) -> None:
        meta = action.pod["metadata"]
        live = await self._cluster(action.owner).get(kube.PODS, meta["name"], meta["namespace"])
        if live is None or live["metadata"]["uid"] != meta["uid"]:
            raise errors.Conflict("the pod is gone")
        # Pods of one plan do not see each other: what is being created counts, from here on.
        others = [*self._host_pods.objects.values(), *self._creating.values()]
        beside = (host for host in others if hostpods.is_on(host, action.place))
        if crowded := hostpods.crowding(action.body, action.place, beside):
            raise errors.Conflict(crowded)
        self._creating[action.key] = action.body
        try:
            self._host_pods.learn(await self._api.create(kube.PODS, action.body))
        except errors.Refused as refused:
            # The namespace's own account comes a moment after the namespace.
            if refused.status == 403 and "service account" in str(refused):
                raise errors.Unreachable(str(refused)) from refused
            message = f"the host cluster refuses this pod: {refused}"
            await self._event(action.owner, action.pod, "HostRefused", message, "Warning")
            raise
        finally:
            del self._creating[action.key]

    async def _show(self, action: nodes_plan.Show) -> None:
        if action.unless is not None:
            space, name = action.unless
            there = await self._api.get(kube.PODS, name, space)
            if there is not None:
                self._host_pods.learn(there)
                raise errors.Conflict("the host pod is there after all")
        meta = action.pod["metadata"]
        found = await self._cluster(action.owner).patch(
            kube.PODS,
            meta["name"],
            {"metadata": {"uid": meta["uid"]}, "status": action.status},
            namespace=meta["namespace"],
            sub="status",
        )
        self._clusters[action.owner].learn("pods", found)
        if action.ready_since_ms:
            waited_ms = max(0, self._clock() - action.ready_since_ms)
            stages.STAGE_S.labels("ready", self._market).observe(waited_ms / 1000)
        if action.event is not None:
            await self._event(action.owner, action.pod, *action.event)

    async def _event(self, owner: str, pod: Object, reason: str, message: str, kind: str) -> None:
        meta = pod["metadata"]
        at = claims_objects.timestamp(self._clock())
        # The name follows from what is said, so saying it again changes nothing.
        mark = ids.digest("event", meta["uid"], reason, message)[:16]
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:200]}.{mark}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message[:1000],
            "type": kind,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": "bidplane"},
            "reportingComponent": "bidplane",
        }
        try:
            await self._cluster(owner).create(kube.EVENTS, body)
        except errors.Conflict:
            return


def _agent_of(event: Any) -> str | None:
    """Only agents have clusters; a tenant's record is nobody's business here."""
    if not isinstance(event, agents.AgentRegistered):
        return None
    return ids.agent_id(event.tenant, event.agent)
