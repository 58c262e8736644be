"""One control plane's objects in a cluster: their names, marks and Secrets, and when it serves.

Pure. Decides by which marks a plane is known again and what makes it ready. The mark ``edition`` is
written last of all: a plane that carries it has everything that belongs to it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from bidplane_streams.sinks import names
from bidplane_streams.sinks.providers import base, issued
from bidplane_topics import ids

Object = dict[str, Any]

EDITION: Final = f"{names.DOMAIN}/edition"
RENEW_AT: Final = f"{names.DOMAIN}/renew-at-ms"
OURS: Final = "app.kubernetes.io/name=virtual-cluster,app.kubernetes.io/managed-by=bidplane"
# Which of its two kubeconfigs a Secret holds.
KUBECONFIG: Final = f"{names.DOMAIN}/kubeconfig"
AGENTS: Final = "agent"
SYNCS: Final = "sync"
HOLDS: Final = {AGENTS: base.AGENT_KUBECONFIG, SYNCS: base.SYNC_KUBECONFIG}


def name_of(agent: str) -> str:
    """The plane's name."""
    return names.plane(*ids.split_agent(agent))


def authority(agent: str) -> str:
    """The Secret that no pod mounts."""
    return f"{name_of(agent)}-authority"


def pki(agent: str) -> str:
    """The Secret with the files of the plane's programs."""
    return f"{name_of(agent)}-pki"


def kubeconfig(agent: str, kind: str) -> str:
    """The Secret with one of the kubeconfigs."""
    return f"{name_of(agent)}-{kind}"


def secret(name: str, agent: str, namespace: str, files: Mapping[str, bytes]) -> Object:
    """A Secret of an agent's plane."""
    tenant, own = ids.split_agent(agent)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/part-of": "bidplane",
                "app.kubernetes.io/managed-by": "bidplane",
                names.TENANT: tenant,
                names.AGENT: own,
            },
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(data).decode() for name, data in sorted(files.items())},
    }


def kubeconfigs(agent: str, namespace: str, made: issued.Issued) -> list[Object]:
    """The Secrets with both kubeconfigs, labelled with whose they are."""
    bodies = []
    for kind, key in HOLDS.items():
        files = {key: made.kubeconfigs[key]}
        body = secret(kubeconfig(agent, kind), agent, namespace, files)
        body["metadata"]["labels"][KUBECONFIG] = kind
        bodies.append(body)
    return bodies


def files_of(found: Object | None) -> dict[str, bytes]:
    """What a Secret holds."""
    data = (found or {}).get("data") or {}
    return {name: base64.b64decode(text) for name, text in data.items()}


def values(agent: str, made: issued.Issued) -> Object:
    """What the chart is told."""
    digest = hashlib.sha256()
    for name, content in sorted(made.mounted.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return {
        "agent": agent,
        "replicas": 1,
        "pki": {"secret": pki(agent), "digest": digest.hexdigest()[:32]},
    }


def committed(edition: str, renew_at_ms: int) -> Object:
    """The patch that says: all of it stands."""
    return {"metadata": {"annotations": {EDITION: edition, RENEW_AT: str(renew_at_ms)}}}


def asleep() -> Object:
    """The patch that ends a plane's programs and keeps its data."""
    return {"metadata": {"annotations": {EDITION: None}}, "spec": {"replicas": 0}}


def owner_of(found: Object) -> str:
    """Whose plane a StatefulSet is."""
    return names.annotation(found, names.AGENT)


def stands(found: Object) -> bool:
    """Whether a plane was not put to sleep."""
    return bool(found["spec"].get("replicas", 1))


def unsettled(found: Object | None) -> str:
    """Why a plane that was put to sleep may not be woken yet; empty when it may."""
    if found is None or stands(found):
        return ""
    left = (found.get("status") or {}).get("replicas", 0)
    return _unseen(found) or (f"{left} pods of its last life are left" if left else "")


def unready(found: Object | None) -> str:
    """Why a plane's newest pod does not serve; empty when it does."""
    if found is None:
        return "it is gone"
    status, wanted = found.get("status") or {}, found["spec"].get("replicas", 1)
    if unseen := _unseen(found):
        return unseen
    moved = status.get("currentRevision") == status.get("updateRevision")
    ready = status.get("readyReplicas", 0)
    if not moved or ready < wanted or status.get("updatedReplicas", wanted) < wanted:
        return f"{ready} of {wanted} pods ready" + ("" if moved else ", an older one")
    return ""


def _unseen(found: Object) -> str:
    seen = (found.get("status") or {}).get("observedGeneration")
    same = seen == found["metadata"].get("generation")
    return "" if same else "the StatefulSet controller has not seen it yet"


def serves(found: Object, edition: str, now_ms: int) -> bool:
    """Whether a plane runs as this edition of the chart says, with certificates not yet due."""
    due = names.annotation(found, RENEW_AT)
    lasts = due.isdigit() and now_ms < int(due)
    as_said = names.annotation(found, EDITION) == edition
    return stands(found) and as_said and lasts and not unready(found)
