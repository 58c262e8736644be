"""What the API server accepts, as JSON Schemas for kubeconform, of what the chart renders.

Decides how the server's OpenAPI becomes strict schemas: fields that it does not list are refused,
descriptions are left out. Kinds of other projects' CRDs lie beside them, written by hand.
``python tests/helm/server_schemas.py`` starts a control plane and writes tests/helm/schemas.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import sys
import tempfile
from typing import Any, Final

from bidplane_streams.embedded import controlplane
from bidplane_streams.sinks import kube

HOME: Final = pathlib.Path(__file__).parent / "schemas"
SHARED: Final = "_definitions.json"
REF: Final = "#/definitions/"
CORE: Final = "io.k8s.api."
KINDS: Final = (
    "core.v1.ConfigMap", "core.v1.Namespace", "core.v1.Secret", "core.v1.Service",
    "core.v1.ServiceAccount", "apps.v1.Deployment", "apps.v1.StatefulSet", "batch.v1.Job",
    "batch.v1.CronJob",
    "policy.v1.PodDisruptionBudget", "networking.k8s.io.v1.NetworkPolicy",
    "autoscaling.v2.HorizontalPodAutoscaler", "rbac.authorization.k8s.io.v1.Role",
    "rbac.authorization.k8s.io.v1.RoleBinding", "rbac.authorization.k8s.io.v1.ClusterRole",
    "rbac.authorization.k8s.io.v1.ClusterRoleBinding",
    "apiextensions.k8s.io.v1.CustomResourceDefinition",
    "admissionregistration.k8s.io.v1.ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io.v1.ValidatingAdmissionPolicyBinding",
)  # fmt: skip
KEPT: Final = ("type", "required", "enum", "format", "items", "properties", "additionalProperties")
Schema = dict[str, Any]


async def openapi(home: pathlib.Path) -> Schema:
    """The OpenAPI of a control plane that runs for this question alone."""
    plane = controlplane.ControlPlane(home, "schemas", controlplane.Flavour.HOST)
    try:
        await plane.start()
        api = await kube.connect(str(plane.kubeconfig()))
        try:
            return await api.call("GET", "/openapi/v2")
        finally:
            await api.close()
    finally:
        await plane.stop()


def files(document: Schema) -> dict[str, str]:
    """Every file by name: the definitions that are reached, and one reference for each kind."""
    known: Schema = document["definitions"]
    roots = {_file(kind): _definition(known, kind) for kind in KINDS}
    reached: Schema = {}
    waiting = list(roots.values())
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = _strict(name, known[name])
            waiting += _references(reached[name])
    found = {name: {"$ref": SHARED + REF + root} for name, root in roots.items()}
    written = {name: _text(one) for name, one in found.items()}
    rows = ",\n".join(
        f"{json.dumps(name)}:{_text(reached[name]).strip()}" for name in sorted(reached)
    )
    return written | {SHARED: f'{{"definitions":{{\n{rows}\n}}}}\n'}


def _text(one: Schema) -> str:
    return json.dumps(one, sort_keys=True, separators=(",", ":")) + "\n"


def _file(kind: str) -> str:
    group, version, name = kind.rsplit(".", 2)
    short = "" if group == "core" else f"{group.partition('.')[0]}-"
    return f"{name.lower()}-{short}{version}.json"


def _definition(known: Schema, kind: str) -> str:
    group, version, name = kind.rsplit(".", 2)
    wanted = {"group": "" if group == "core" else group, "version": version, "kind": name}
    for key, one in known.items():
        if one.get("x-kubernetes-group-version-kind") == [wanted]:
            return key
    raise KeyError(kind)


def _strict(name: str, one: Any) -> Any:
    if name.endswith("api.resource.Quantity"):
        return {"type": ["string", "number"]}
    if one.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    if "$ref" in one:
        return {"$ref": one["$ref"]}
    found = {key: one[key] for key in KEPT if key in one}
    if "properties" in found:
        inner = {key: _strict("", value) for key, value in found["properties"].items()}
        found |= {"properties": inner, "additionalProperties": False}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _strict("", found[key])
    return found


def _references(one: Any) -> list[str]:
    if isinstance(one, dict):
        own = [one["$ref"].removeprefix(REF)] if isinstance(one.get("$ref"), str) else []
        return own + [name for value in one.values() for name in _references(value)]
    return [name for value in one for name in _references(value)] if isinstance(one, list) else []


def main() -> None:
    """Ask a server, and write what it says."""
    with tempfile.TemporaryDirectory() as home:
        document = asyncio.run(openapi(pathlib.Path(home)))
    HOME.mkdir(exist_ok=True)
    for name, text in files(document).items():
        (HOME / name).write_text(text)
        sys.stdout.write(f"{name}\t{len(text)}\n")


if __name__ == "__main__":
    main()
