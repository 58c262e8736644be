"""What to do about agents' clusters: their nodes, their pods and the host pods behind them. Pure.

Decides the order: a node before its pods, a host pod's end before its virtual pod's, pods before
the node that goes. Deletion travels both ways. Objects that carry no mark of ours are never
touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bidplane_streams.sinks import claims_objects, hostpods, names, podstatus, vnodes
from bidplane_topics.leases import LeaseChanged

Object = dict[str, Any]
Key = tuple[str, str]

BEAT_MS: Final = 10_000
LIVE: Final = ("bound", "notice")


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """What stands in one agent's cluster. ``ready`` False: its server does not answer; leave it."""

    owner: str
    pods: Mapping[Key, Object]
    claims: Mapping[Key, Object]
    nodes: Mapping[Key, Object]
    slices: Mapping[Key, Object]


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """Everything a plan reads. ``leases`` are those that have not ended, by id."""

    market: str
    leases: Mapping[str, LeaseChanged]
    clusters: Mapping[str, Cluster]
    host_pods: Mapping[Key, Object]
    beats: Mapping[str, int]
    told: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class PutNode:
    """Create or correct an agent's node and its slices."""

    owner: str
    place: hostpods.Place

    @property
    def key(self) -> str:
        """The node."""
        return f"{self.owner}/node/{self.place.piece}"


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveNode:
    """Take an agent's node and its slices away: no pod is left on it."""

    owner: str
    node: str
    slices: tuple[str, ...]

    @property
    def key(self) -> str:
        """The node."""
        return f"{self.owner}/node/{self.node}"


@dataclasses.dataclass(frozen=True, slots=True)
class CloseNode:
    """Let nothing new start on a node whose lease has ended while its pods still end."""

    owner: str
    node: str

    @property
    def key(self) -> str:
        """The node."""
        return f"{self.owner}/node/{self.node}"


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """Say that a node lives."""

    owner: str
    node: str

    @property
    def key(self) -> str:
        """The node's heart."""
        return f"{self.owner}/beat/{self.node}"


@dataclasses.dataclass(frozen=True, slots=True)
class CreateHost:
    """Start the host pod of a virtual pod, if its place still has room when it comes to that."""

    owner: str
    pod: Object
    body: Object
    place: hostpods.Place

    @property
    def key(self) -> str:
        """The pod."""
        return _pod_key(self.owner, self.pod)


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteHost:
    """End a host pod, with the grace its owner gave it."""

    owner: str
    host: Object
    grace_s: int | None

    @property
    def key(self) -> str:
        """The host pod."""
        meta = self.host["metadata"]
        return f"{self.owner}/host/{meta['namespace']}/{meta['name']}"


@dataclasses.dataclass(frozen=True, slots=True)
class Show:
    """Write a virtual pod's status; with ``event`` (reason, message, type), say it aloud too.

    ``unless`` names a host pod that must really be absent.
    """

    owner: str
    pod: Object
    status: Object
    event: tuple[str, str, str] | None = None
    unless: Key | None = None
    ready_since_ms: int = 0

    @property
    def key(self) -> str:
        """The pod."""
        return _pod_key(self.owner, self.pod)


@dataclasses.dataclass(frozen=True, slots=True)
class Tell:
    """An event on a virtual pod, once."""

    owner: str
    pod: Object
    reason: str
    message: str
    mark: str

    @property
    def key(self) -> str:
        """The pod and what it is told."""
        return f"{self.owner}/tell/{self.mark}"


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteVirtual:
    """End a virtual pod; ``final`` confirms the end that was asked for before."""

    owner: str
    pod: Object
    final: bool

    @property
    def key(self) -> str:
        """The pod."""
        return _pod_key(self.owner, self.pod)


Action = (
    PutNode | CloseNode | RemoveNode | Beat | CreateHost | DeleteHost | Show | Tell | DeleteVirtual
)


def plan(seen: Observed, now_ms: int) -> list[Action]:
    """The next step for every node and pod that is not as desired."""
    hosts = _hosts_by_uid(seen)
    actions: list[Action] = []
    for cluster in seen.clusters.values():
        places = _places(seen, cluster.owner)
        actions += _nodes(seen, cluster, places, now_ms)
        actions += _pods(seen, cluster, places, hosts, now_ms)
    actions += _orphans(seen)
    return actions


def _places(seen: Observed, owner: str) -> dict[str, hostpods.Place]:
    """The owner's live pieces by node name."""
    return {
        names.piece(lease.lease_id, number): hostpods.Place(lease, number, host)
        for lease in seen.leases.values()
        if f"{lease.tenant}/{lease.agent}" == owner and lease.state in LIVE
        for number, host in enumerate(names.nodes(lease))
    }


def _hosts_by_uid(seen: Observed) -> dict[str, Object]:
    return {_label(host, names.VIRTUAL_UID): host for host in seen.host_pods.values()}


def _nodes(
    seen: Observed, cluster: Cluster, places: Mapping[str, hostpods.Place], now_ms: int
) -> Iterator[Action]:
    for name, place in places.items():
        stands = vnodes.node_stands(cluster.nodes.get(("", name)), place.lease, place.host)
        for wanted in vnodes.slices(place.lease, place.number, place.host):
            found = cluster.slices.get(("", wanted["metadata"]["name"]))
            stands = stands and vnodes.slice_stands(found, wanted)
        if not stands:
            yield PutNode(cluster.owner, place)
        elif now_ms >= seen.beats.get(f"{cluster.owner}/{name}", 0):
            yield Beat(cluster.owner, name)
    yield from _leftover_nodes(seen, cluster, places)


def _leftover_nodes(
    seen: Observed, cluster: Cluster, places: Mapping[str, hostpods.Place]
) -> Iterator[Action]:
    busy = {pod["spec"].get("nodeName", "") for pod in cluster.pods.values()}
    slices: dict[str, list[str]] = {}
    for one in cluster.slices.values():
        if not _deleting(one):
            node_name = one["spec"].get("nodeName", "")
            slices.setdefault(node_name, []).append(one["metadata"]["name"])
    known = {name for _, name in cluster.nodes} | set(slices)
    for name in sorted(known - set(places)):
        node = cluster.nodes.get(("", name))
        other = node is not None and _label(node, names.MARKET) != seen.market
        # What a finalizer of the agent's keeps is the agent's: asking again changes nothing.
        kept = name not in slices and node is not None and _deleting(node)
        if other or kept:
            continue
        if name in busy and node is not None and not vnodes.is_closed(node):
            yield CloseNode(cluster.owner, name)
        if name not in busy or not name:
            yield RemoveNode(cluster.owner, name, tuple(sorted(slices.get(name, ()))))


def _pods(
    seen: Observed,
    cluster: Cluster,
    places: Mapping[str, hostpods.Place],
    hosts: Mapping[str, Object],
    now_ms: int,
) -> Iterator[Action]:
    ours = {name for _, name in cluster.nodes if _is_ours(seen, cluster, name)}
    for pod in cluster.pods.values():
        node = pod["spec"].get("nodeName", "")
        if node not in ours and node not in places:
            continue
        host = hosts.get(pod["metadata"]["uid"])
        if pod["metadata"].get("deletionTimestamp"):
            yield from _ending(cluster, pod, host)
        elif node not in places:
            yield DeleteVirtual(cluster.owner, pod, final=False)
        elif host is None:
            yield from _without_host(seen, cluster, pod, places[node], now_ms)
        else:
            yield from _with_host(seen, cluster, pod, host, places[node])


def _is_ours(seen: Observed, cluster: Cluster, name: str) -> bool:
    return _label(cluster.nodes[("", name)], names.MARKET) == seen.market


def _ending(cluster: Cluster, pod: Object, host: Object | None) -> Iterator[Action]:
    """The agent ended its pod: first the host pod, then the virtual one."""
    if host is None:
        if pod["metadata"].get("deletionGracePeriodSeconds") != 0:  # else a finalizer keeps it
            yield DeleteVirtual(cluster.owner, pod, final=True)
        return
    status = podstatus.mirrored(pod, host)
    if not podstatus.shows(pod, status) and podstatus.phase(pod) not in podstatus.TERMINAL:
        yield Show(cluster.owner, pod, status)
    if not host["metadata"].get("deletionTimestamp"):
        grace = pod["metadata"].get("deletionGracePeriodSeconds")
        # Zero would force it: the node must say itself that the pod is gone.
        yield DeleteHost(cluster.owner, host, None if grace is None else max(1, int(grace)))


def _without_host(
    seen: Observed, cluster: Cluster, pod: Object, place: hostpods.Place, now_ms: int
) -> Iterator[Action]:
    if podstatus.phase(pod) in podstatus.TERMINAL:
        return
    at = claims_objects.timestamp(now_ms)
    name = names.host_pod(pod["metadata"]["namespace"], pod["metadata"]["name"])
    host_key = (claims_objects.namespace_of(place.lease), name)
    if podstatus.condition(pod, podstatus.HOST_POD).get("status") == "True":
        status = podstatus.lost(pod, at)
        told = ("HostPodGone", status["message"], "Warning")
        yield Show(cluster.owner, pod, status, told, unless=host_key)
        return
    if host_key in seen.host_pods:  # an earlier pod of that name is still going
        return
    others = [host for host in seen.host_pods.values() if hostpods.is_on(host, place)]
    built = hostpods.translate(pod, place, cluster.claims, others)
    if isinstance(built, dict):
        yield CreateHost(cluster.owner, pod, built, place)
        return
    if isinstance(built, hostpods.Unsupported):
        reason, message = "NotSupported", "bidplane: " + "; ".join(built.reasons)
    else:
        reason, message = "WaitingForLease", f"bidplane: {built.reason}"
    known = podstatus.condition(pod, podstatus.SUPPORTED)
    if (known.get("reason"), known.get("message")) != (reason, message):
        status = podstatus.refused(pod, reason, message, at)
        yield Show(cluster.owner, pod, status, (reason, message, "Warning"))


def _with_host(
    seen: Observed, cluster: Cluster, pod: Object, host: Object, place: hostpods.Place
) -> Iterator[Action]:
    status = podstatus.mirrored(pod, host)
    terminal = podstatus.phase(host) in podstatus.TERMINAL
    if not podstatus.shows(pod, status):
        ready = podstatus.condition(host, "Ready").get("status") == "True"
        was = podstatus.condition(pod, "Ready").get("status") == "True"
        first = ready and not was and not podstatus.restarts(host)
        since_ms = max(place.lease.bound_at_ms, podstatus.created_ms(pod)) if first else 0
        yield Show(cluster.owner, pod, status, ready_since_ms=since_ms)
    elif terminal and not host["metadata"].get("deletionTimestamp"):
        yield DeleteHost(cluster.owner, host, None)
    if place.lease.state == "notice":
        mark = f"{pod['metadata']['uid']}/{place.lease.lease_id}"
        if mark not in seen.told:
            until = claims_objects.timestamp(place.lease.grace_until_ms)
            message = f"lease {place.lease.lease_id} has ended: its pods are deleted at {until}"
            yield Tell(cluster.owner, pod, "LeaseEnding", message, mark)


def _orphans(seen: Observed) -> Iterator[Action]:
    """Host pods whose virtual pod is gone from a cluster that we see whole."""
    uids = {
        owner: {pod["metadata"]["uid"] for pod in cluster.pods.values()}
        for owner, cluster in seen.clusters.items()
    }
    for host in seen.host_pods.values():
        owner = f"{_label(host, names.TENANT)}/{_label(host, names.AGENT)}"
        known = uids.get(owner)
        uid = _label(host, names.VIRTUAL_UID)
        if known is None or not uid or uid in known or host["metadata"].get("deletionTimestamp"):
            continue
        yield DeleteHost(owner, host, None)


def _deleting(found: Object) -> bool:
    return bool(found["metadata"].get("deletionTimestamp"))


def _label(found: Object, name: str) -> str:
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def _pod_key(owner: str, pod: Object) -> str:
    meta = pod["metadata"]
    return f"{owner}/pod/{meta['namespace']}/{meta['name']}"
