"""What the claims sink needs in the host cluster before it binds: a kind, classes, a monopoly.

Decides who may allocate the market's devices: only the user this sink runs as. The API server does
not detect a double allocation, so everybody else, kube-scheduler included, is refused by admission.
DeviceClasses that exist (a vendor's driver brings them) are left as they are. What stands as wanted
is not written again: the Helm chart makes kind and policies, and its sink may only read them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from bidplane_streams.sinks import device_classes, errors, kube, names
from bidplane_streams.sinks.device_classes import Sold

Object = dict[str, Any]

ALLOCATE: Final = "bidplane-allocate"
CLAIM: Final = "bidplane-claim"
TEMPLATE: Final = "bidplane-claim-template"
NOT_US: Final = "not-the-sink"


async def ensure(api: kube.Kube, further: Mapping[str, str]) -> None:
    """Create or correct everything; the same objects however often it runs.

    ``further``: classes that the operator sells besides, by driver.
    """
    user, sold = await whoami(api), device_classes.sold(further)
    await _check_user(api, user)
    await _apply(api, kube.CRDS, device_lease_kind())
    for one in sold.objects:
        with contextlib.suppress(errors.Conflict):
            await api.create(kube.CLASSES, one)
    for policy in policies(user, sold):
        await _apply(api, kube.POLICIES, policy)
        await _apply(api, kube.POLICY_BINDINGS, binding(policy["metadata"]["name"]))


async def _apply(api: kube.Kube, resource: kube.Resource, wanted: Object) -> None:
    """Write an object unless it stands as wanted.

    Raises:
        BadSetting: it must be written and we may not: it is somebody else's to keep.
    """
    name = str(wanted["metadata"]["name"])
    if stands(await api.get(resource, name), wanted):
        return
    try:
        await api.apply(resource, wanted)
    except errors.Refused as refused:
        if refused.status != 403:
            raise
        raise errors.BadSetting(
            f"{wanted['kind']} {name} is not as this sink needs it, which may not write it: give "
            f"the chart and the sink the same device classes ({refused})"
        ) from refused


def stands(found: Any, wanted: Any) -> bool:
    """Whether ``found`` says all that ``wanted`` says; the server's defaults may stand besides.

    What is wanted empty may be left out: the server does not keep empty lists.
    """
    if wanted in ([], {}) and not found:
        return True
    if isinstance(wanted, dict):
        there = found if isinstance(found, dict) else {}
        return all(stands(there.get(key), one) for key, one in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(found, list) and len(found) == len(wanted)
        return same and all(map(stands, found, wanted))
    return bool(found == wanted)


async def _check_user(api: kube.Kube, user: str) -> None:
    """Leave the devices to the user who has them: a policy for another would stop its sinks.

    Raises:
        BadSetting: claims sinks of this cluster run as somebody else.
    """
    policy = await api.get(kube.POLICIES, ALLOCATE)
    conditions = {} if policy is None else policy["spec"]
    for one in conditions.get("matchConditions", []):
        if one["name"] == NOT_US and one["expression"] != _others(user):
            raise errors.BadSetting(
                f"claims sinks of this cluster run as another user than {user}: use the same "
                f"kubeconfig, or delete the ValidatingAdmissionPolicy {ALLOCATE} to take over"
            )


async def whoami(api: kube.Kube) -> str:
    """The user name that the API server knows us by."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await api.call("POST", kube.WHO_AM_I, body=body)
    return str(answer["status"]["userInfo"]["username"])


def device_lease_kind() -> Object:
    """The CRD of DeviceLease: the anchor of a lease's claims, and what an operator lists."""
    columns = [
        {"name": "Market", "type": "string", "jsonPath": ".spec.market"},
        {"name": "Agent", "type": "string", "jsonPath": ".spec.agent"},
        {"name": "Shape", "type": "string", "jsonPath": ".spec.shape"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    fields = {
        "market": {"type": "string"},
        "agent": {"type": "string"},
        "shape": {"type": "string"},
        "devices": {"type": "integer"},
    }
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "deviceleases.bidplane.io"},
        "spec": {
            "group": "bidplane.io",
            "scope": "Namespaced",
            "names": {"plural": "deviceleases", "singular": "devicelease", "kind": "DeviceLease"},
            "versions": [version],
        },
    }


def policies(user: str, sold: Sold) -> list[Object]:
    """The admission policies under which only ``user`` deals in the market's devices."""
    return [
        _allocate_policy(user, sold),
        _class_policy(CLAIM, "resourceclaims", "object.spec", user, sold),
        _class_policy(TEMPLATE, "resourceclaimtemplates", "object.spec.spec", user, sold),
    ]


def binding(policy: str) -> Object:
    """Put a policy into force everywhere."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy},
        "spec": {"policyName": policy, "validationActions": ["Deny"]},
    }


def _allocate_policy(user: str, sold: Sold) -> Object:
    drivers = json.dumps(list(sold.drivers))
    variables = []
    for word, thing in (("before", "oldObject"), ("after", "object")):
        results = f"{thing}.?status.?allocation.?devices.?results.orValue([])"
        one = 'r.request + "/" + r.driver + "/" + r.pool + "/" + r.device'
        one += ' + "/" + string(r.?shareID.orValue(""))'
        variables.append(
            {
                "name": word,
                "expression": f"{results}.filter(r, r.driver in {drivers}).map(r, {one})",
            }
        )
        reserved = f"{thing}.?status.?reservedFor.orValue([])"
        anchors = f'{reserved}.filter(r, r.resource == "deviceleases").map(r, r.name)'
        variables.append({"name": f"anchors_{word}", "expression": anchors})
    ours = f'"{names.LEASE}" in oldObject.metadata.?annotations.orValue({{}})'
    variables.append({"name": "ours", "expression": ours})
    # The controller manager may still clear what others had allocated before the market was here.
    same = "variables.after == variables.before || (size(variables.after) == 0 && !variables.ours)"
    anchored = "!variables.ours || variables.anchors_after == variables.anchors_before"
    return _policy(
        ALLOCATE,
        "UPDATE",
        "resourceclaims/status",
        user,
        variables=variables,
        validations=[
            _rule(same, "these devices are allocated by bidplane alone: bid for them"),
            _rule(anchored, "the reservation of a lease belongs to bidplane"),
        ],
    )


def _class_policy(name: str, plural: str, spec: str, user: str, sold: Sold) -> Object:
    classes = json.dumps(list(sold.classes))
    asks = (
        f"{spec}.?devices.?requests.orValue([]).exists(r,"
        f' r.?exactly.?deviceClassName.orValue("") in {classes}'
        f" || r.?firstAvailable.orValue([]).exists(s, s.deviceClassName in {classes}))"
    )
    return _policy(
        name,
        "CREATE",
        plural,
        user,
        variables=[],
        validations=[_rule(f"!{asks}", "devices of this class are sold by bidplane: bid for them")],
    )


def _others(user: str) -> str:
    return f"request.userInfo.username != {json.dumps(user)}"


def _rule(expression: str, message: str) -> Object:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _policy(
    name: str,
    operation: str,
    resource: str,
    user: str,
    *,
    variables: list[Object],
    validations: list[Object],
) -> Object:
    rule = {
        "apiGroups": ["resource.k8s.io"],
        "apiVersions": ["v1"],
        "operations": [operation],
        "resources": [resource],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": NOT_US, "expression": _others(user)}],
            "variables": variables,
            "validations": validations,
        },
    }
