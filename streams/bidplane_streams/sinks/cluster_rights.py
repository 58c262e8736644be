"""What each process must be allowed to do in the host cluster, and whether it is.

Decides the table of rights, from the calls that the processes make, and asks the API server for
each of them (SelfSubjectAccessReview), which changes nothing. Refuses to grant any: an operator, or
the chart's roles, do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from bidplane_streams.sinks import kube

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
AT_ONCE: Final = 8


class Need(NamedTuple):
    """Verbs on a kind of object, in every namespace; ``sub`` is a subresource."""

    resource: kube.Resource
    verbs: tuple[str, ...]
    sub: str = ""

    @property
    def group(self) -> str:
        """The API group, empty for the core's."""
        parts = self.resource.base.split("/")
        return parts[2] if parts[1] == "apis" else ""

    @property
    def name(self) -> str:
        """As RBAC writes it: ``resourceclaims/status``."""
        return f"{self.resource.plural}/{self.sub}" if self.sub else self.resource.plural


_SEEN: Final = ("list", "watch")
# Server-side apply creates what is not there.
_APPLIED: Final = ("create", "patch")

# What makes a cluster ready for the first claims sink. A chart may have done it before.
SETUP: Final = (
    Need(kube.CRDS, ("get", *_APPLIED)),
    Need(kube.CLASSES, ("create",)),
    Need(kube.POLICIES, ("get", *_APPLIED)),
    Need(kube.POLICY_BINDINGS, ("get", *_APPLIED)),
)
NEEDS: Final[dict[str, tuple[Need, ...]]] = {
    "sink-claims": (
        Need(kube.CLAIMS, ("get", "create", "patch", "delete", *_SEEN)),
        Need(kube.CLAIMS, ("patch",), "status"),
        # Who writes an allocation needs this besides, where the API server tells the two apart.
        Need(kube.CLAIMS, ("patch",), "binding"),
        Need(kube.DEVICE_LEASES, ("get", "create", "delete", *_SEEN)),
        Need(kube.PODS, ("delete", *_SEEN)),
        Need(kube.SLICES, _SEEN),
        Need(kube.NODES, _SEEN),
        Need(kube.NAMESPACES, _APPLIED),
        Need(kube.NETWORK_POLICIES, _APPLIED),
    ),
    "sink-nodes": (Need(kube.PODS, ("get", "create", "delete", *_SEEN)),),
    "source-inventory": (
        Need(kube.NODES, _SEEN),
        Need(kube.SLICES, _SEEN),
        Need(kube.CLAIMS, _SEEN),
    ),
}


class Denied(NamedTuple):
    """A right that is missing: of whom, and which."""

    component: str
    verb: str
    group: str
    name: str

    def told(self) -> str:
        """As a sentence's end: ``create resourceclaims.resource.k8s.io``."""
        return f"{self.verb} {self.name}" + (f" in {self.group}" if self.group else "")


async def missing(api: kube.Kube, components: Iterable[str]) -> list[Denied]:
    """The rights that the user of ``api`` lacks for these components, in the tables' order.

    Those of the claims sink include what sets a cluster up (``is_of_setup``).
    """
    asked = [
        Denied(component, verb, need.group, need.name)
        for component in components
        for need in (*NEEDS.get(component, ()), *(SETUP if component == "sink-claims" else ()))
        for verb in need.verbs
    ]
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(one: Denied) -> bool:
        """Whether it is allowed."""
        async with slots:
            return await _allowed(api, one)

    answers = await asyncio.gather(*(ask(one) for one in asked))
    return [one for one, allowed in zip(asked, answers, strict=True) if not allowed]


def is_of_setup(one: Denied) -> bool:
    """Whether the right is needed only where the cluster is not set up yet."""
    return one.verb != "get" and one.name in {need.name for need in SETUP}


async def _allowed(api: kube.Kube, asked: Denied) -> bool:
    plural, _, sub = asked.name.partition("/")
    attributes = {"verb": asked.verb, "group": asked.group, "resource": plural, "subresource": sub}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.call("POST", REVIEWS, body=body)
    return bool(answer["status"].get("allowed"))
