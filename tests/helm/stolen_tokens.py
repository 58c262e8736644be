"""What somebody with the token of a sink would try in the host cluster, and what the server says.

Every attempt is a dry run: admission judges it, and nothing is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import sinks_world
from bidplane_streams.sinks import names

LEVEL: Final = "pod-security.kubernetes.io/enforce"
LOOSE: Final = "bp-without-level"
FOREIGN: Final = "bp-of-somebody-else"
ACCOUNT: Final = "other"
Object = dict[str, Any]
Attempts = dict[str, str]


def grounds() -> Iterator[Object]:
    """Two namespaces that an administrator made: an agent's without a level, and nobody's."""
    meta = {"apiVersion": "v1", "kind": "Namespace"}
    yield meta | {"metadata": {"name": LOOSE, "labels": {names.TENANT: "research"}}}
    yield meta | {"metadata": {"name": FOREIGN}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    for name in ("default", ACCOUNT):
        yield account | {"metadata": {"name": name, "namespace": LOOSE}}
    yield account | {"metadata": {"name": "default", "namespace": FOREIGN}}


def on_spaces(kubectl: Callable[..., str], user: str, own: str) -> Attempts:
    """What the claims sink's user is told, by attempt; ``own`` is an agent's namespace."""
    agents = {names.TENANT: "research", names.AGENT: "tuner"}
    wanted = {
        "as it is": (own, {**agents, LEVEL: "baseline"}),
        "privileged": (own, {**agents, LEVEL: "privileged"}),
        "old level": (own, {**agents, LEVEL: "baseline", f"{LEVEL}-version": "v1.0"}),
        "no level": ("bp-new", agents),
        "no tenant": ("bp-new", {LEVEL: "baseline"}),
    }
    words = ("apply", "--server-side", "--force-conflicts")
    return {
        name: _told(kubectl, user, words, _space(space, labels))
        for name, (space, labels) in wanted.items()
    }


def on_pods(kubectl: Callable[..., str], user: str) -> Attempts:
    """What the nodes sink's user is told, by attempt."""
    mount = {"name": "node", "hostPath": {"path": "/"}}
    wanted: dict[str, tuple[str, Object, Object]] = {
        "plain": (LOOSE, {}, {}),
        "plain, elsewhere": (FOREIGN, {}, {}),
        "network": (LOOSE, {"hostNetwork": True}, {}),
        "processes": (LOOSE, {"hostPID": True}, {}),
        "memory": (LOOSE, {"hostIPC": True}, {}),
        "disk": (LOOSE, {"volumes": [mount]}, {}),
        "account": (LOOSE, {"serviceAccountName": ACCOUNT}, {}),
        "privileged": (LOOSE, {}, {"privileged": True}),
        "capability": (LOOSE, {}, {"capabilities": {"add": ["SYS_ADMIN"]}}),
    }
    return {
        name: _told(kubectl, user, ("create",), _pod(space, spec, context))
        for name, (space, spec, context) in wanted.items()
    }


def _space(name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _pod(space: str, spec: Object, context: Object) -> Object:
    container = {"name": "main", "image": "train", "securityContext": context}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": space},
        "spec": {"containers": [container], **spec},
    }


def _told(kubectl: Callable[..., str], user: str, words: tuple[str, ...], body: Object) -> str:
    """The refusal; empty where it was admitted."""
    how = ("--as", user, "--validate=false", "--dry-run=server", "-f", "-")
    try:
        kubectl(*words, *how, stdin=json.dumps(body))
    except sinks_world.Refused as refused:
        return str(refused)
    return ""
