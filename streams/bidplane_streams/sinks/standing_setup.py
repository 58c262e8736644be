"""Whether a host cluster has what the claims sink needs, looked at without changing it.

Decides, object by object, whether it is missing, as wanted, or different. Refuses to mend: the
claims sink does when it starts (``hostsetup.ensure``), or the chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from bidplane_streams.sinks import device_classes, errors, hostsetup, kube

State = Literal["missing", "there", "differs"]


class Stood(NamedTuple):
    """One object: its kind, its name, and how it stands."""

    kind: str
    name: str
    state: State


async def look(api: kube.Kube, user: str, further: Mapping[str, str]) -> list[Stood]:
    """Every object of the set-up for claims sinks that run as ``user``.

    ``further``: classes that the operator sells besides, by driver. A DeviceClass that exists is
    there, whatever it says: a vendor's own is left as it is.

    Raises:
        SinkError: the API server does not answer, or refuses.
    """
    sold = device_classes.sold(further)
    found = [await _one(api, kube.CRDS, hostsetup.device_lease_kind())]
    for wanted in sold.objects:
        name = str(wanted["metadata"]["name"])
        there = await api.get(kube.CLASSES, name)
        found.append(Stood("DeviceClass", name, "there" if there else "missing"))
    for policy in hostsetup.policies(user, sold):
        found.append(await _one(api, kube.POLICIES, policy))
        binding = hostsetup.binding(policy["metadata"]["name"])
        found.append(await _one(api, kube.POLICY_BINDINGS, binding))
    return found


async def _one(api: kube.Kube, resource: kube.Resource, wanted: dict[str, Any]) -> Stood:
    name, kind = str(wanted["metadata"]["name"]), str(wanted["kind"])
    there = await api.get(resource, name)
    if there is None:
        return Stood(kind, name, "missing")
    return Stood(kind, name, "there" if hostsetup.stands(there, wanted) else "differs")


async def user_of_policies(api: kube.Kube) -> str:
    """The user that claims sinks of this cluster run as, as its policy says; empty without one.

    Raises:
        SinkError: the API server does not answer, or refuses.
    """
    policy = await api.get(kube.POLICIES, hostsetup.ALLOCATE)
    spec = {} if policy is None else policy["spec"]
    for one in spec.get("matchConditions", []):
        if one["name"] == hostsetup.NOT_US:
            return str(one["expression"]).partition('"')[2].rpartition('"')[0]
    return ""


async def is_served(api: kube.Kube, path: str) -> bool:
    """Whether the API server knows an API group and version (``/apis/GROUP/VERSION``).

    Raises:
        SinkError: the API server does not answer, or refuses.
    """
    try:
        await api.call("GET", path)
    except errors.Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True
