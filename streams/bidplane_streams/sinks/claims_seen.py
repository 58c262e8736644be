"""What the claims sink sees of the host cluster: small copies of objects, and whose they are. Pure.

Decides which claims, anchors and pods belong to which lease, and who holds which device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bidplane_streams.sinks import claims_objects, claims_plan, hardware, mirror, names

Object = dict[str, Any]


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
    market: str, claims: mirror.Mirror, pods: mirror.Mirror, anchors: mirror.Mirror
) -> dict[str, claims_plan.Held]:
    """What stands for each lease of the market: our claims, every pod on them, our anchors."""
    found: dict[str, tuple[list[Object], list[Object], list[Object]]] = {}
    owner: dict[tuple[str, str], str] = {}
    for key, claim in claims.objects.items():
        if claims_objects.is_ours(claim, market):
            lease = names.lease_of(claim)
            owner[key] = lease
            found.setdefault(lease, ([], [], []))[0].append(claim)
    for anchor in anchors.objects.values():
        if names.annotation(anchor, names.MARKET) == market:
            found.setdefault(names.lease_of(anchor), ([], [], []))[2].append(anchor)
    for (space, _), pod in pods.objects.items():
        # A marked pod counts even where its claims are gone: it must go as well.
        users = {owner.get((space, used), "") for used in pod["uses"]} | {marked(pod, market)}
        for lease in users - {""}:
            found.setdefault(lease, ([], [], []))[1].append(pod)
    return {
        lease: claims_plan.Held(tuple(one), tuple(two), tuple(three))
        for lease, (one, two, three) in found.items()
    }


def taken(market: str, claims: Any) -> Mapping[hardware.Address, tuple[str, bool]]:
    """Who holds each allocated device: (lease, True) for our claims, (claim, False) for others'.

    A share of ours stands under the device's name with its id, and as a mark under the name with a
    slash; another's share makes the whole device another's.
    """
    found: dict[hardware.Address, tuple[str, bool]] = {}
    for claim in claims:
        ours = claims_objects.is_ours(claim, market)
        meta = claim["metadata"]
        holder = names.lease_of(claim) if ours else f"{meta['namespace']}/{meta['name']}"
        results = zip(
            claims_objects.allocated(claim), claims_objects.allocated_shares(claim), strict=True
        )
        for (_, driver, pool, device), share in results:
            if share and ours:
                found[(driver, pool, f"{device}/{share}")] = (holder, ours)
            found[(driver, pool, f"{device}/" if share and ours else device)] = (holder, ours)
    return found
