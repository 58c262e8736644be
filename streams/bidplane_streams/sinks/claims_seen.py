"""What the claims sink sees of the host cluster: small copies of objects, and whose they are. Pure.

Decides which claims, anchors and pods belong to which lease, and who holds which device. A plan is
made many times a second over all claims, so what a claim says is read once for each version of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bidplane_streams.sinks import claims_objects, claims_plan, hardware, mirror, names

Object = dict[str, Any]
# Who holds a device: (lease, True) for our claims, (namespace/claim, False) for others'.
Holder = tuple[str, bool]


class Seen(NamedTuple):
    """What a claim says: the lease that it is for if it is ours, and the places that it takes."""

    claim: Object
    lease: str
    places: tuple[tuple[hardware.Address, Holder], ...]


class Claims:
    """The claims of a mirror as one market sees them."""

    def __init__(self, market: str) -> None:
        """Nothing is read yet."""
        self._market = market
        self._seen: dict[mirror.Key, Seen] = {}

    def read(self, objects: Mapping[mirror.Key, Object]) -> Mapping[mirror.Key, Seen]:
        """All of them; those that are no other objects than before are not read again."""
        before = self._seen
        self._seen = {
            key: known
            if (known := before.get(key)) is not None and known.claim is claim
            else seen(self._market, claim)
            for key, claim in objects.items()
        }
        return self._seen


def project_pod(found: Object) -> Object:
    """A pod with only what plans read: which claims it uses, which lease it is marked with."""
    if "uses" in found:
        return found
    meta = found["metadata"]
    wanted = (
        "name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )  # fmt: skip
    uses = [
        one["resourceClaimName"]
        for one in found["spec"].get("resourceClaims") or ()
        if one.get("resourceClaimName")
    ]
    return {
        "metadata": {key: meta[key] for key in wanted if key in meta},
        "uses": uses,
        "grace_s": found["spec"].get("terminationGracePeriodSeconds", 30),
    }


def project_node(found: Object) -> Object:
    """A node with only its name and whether it is ready."""
    meta = found["metadata"]
    conditions = (found.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return {
        "metadata": {"name": meta["name"], "resourceVersion": meta["resourceVersion"]},
        "ready": ready,
    }


def marked(pod: Object, market: str) -> str:
    """The lease that a pod is marked with by the nodes sink of this market, or nothing."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(names.LEASE, "")) if labels.get(names.MARKET) == market else ""


def held(
    market: str, claims: Mapping[mirror.Key, Seen], pods: mirror.Mirror, anchors: mirror.Mirror
) -> dict[str, claims_plan.Held]:
    """What stands for each lease of the market: our claims, every pod on them, our anchors."""
    found: dict[str, tuple[list[Object], list[Object], list[Object]]] = {}
    for one in claims.values():
        if one.lease:
            found.setdefault(one.lease, ([], [], []))[0].append(one.claim)
    for anchor in anchors.objects.values():
        if names.annotation(anchor, names.MARKET) == market:
            found.setdefault(names.lease_of(anchor), ([], [], []))[2].append(anchor)
    for (space, _), pod in pods.objects.items():
        # A marked pod counts even where its claims are gone: it must go as well.
        used = (claims.get((space, name)) for name in pod["uses"])
        users = {one.lease for one in used if one is not None} | {marked(pod, market)}
        for lease in users - {""}:
            found.setdefault(lease, ([], [], []))[1].append(pod)
    return {
        lease: claims_plan.Held(tuple(one), tuple(two), tuple(three))
        for lease, (one, two, three) in found.items()
    }


def taken(market: str, claims: Iterable[Object]) -> Mapping[hardware.Address, Holder]:
    """Who holds each allocated device; see ``seen`` for shares."""
    return places(seen(market, one) for one in claims)


def places(claims: Iterable[Seen]) -> Mapping[hardware.Address, Holder]:
    """Who holds each allocated device of claims that were read."""
    found: dict[hardware.Address, Holder] = {}
    for one in claims:
        found.update(one.places)
    return found


def seen(market: str, claim: Object) -> Seen:
    """Read a claim.

    A share of ours stands under the device's name with its id, and as a mark under the name with a
    slash; another's share makes the whole device another's.
    """
    ours = claims_objects.is_ours(claim, market)
    meta = claim["metadata"]
    lease = names.lease_of(claim) if ours else ""
    holder = (lease, True) if ours else (f"{meta['namespace']}/{meta['name']}", False)
    found: list[tuple[hardware.Address, Holder]] = []
    for _, driver, pool, device, share in claims_objects.allocated_places(claim):
        if share and ours:
            found.append(((driver, pool, f"{device}/{share}"), holder))
        found.append(((driver, pool, f"{device}/" if share and ours else device), holder))
    return Seen(claim, lease, tuple(found))
