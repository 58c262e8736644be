"""What a pod's containers find on a node: files, environment, command line; on paths of this host.

Decides how a path of a container is told apart from a path of this machine: each mount is a folder
of the pod's, and commands, arguments and environment are written anew with its name. What lies in
the image is mapped by the caller. A field that is not known here is an error, not an omission.
"""

from __future__ import annotations

import base64
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from bidplane_streams.sinks import kube

Object = dict[str, Any]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CLAIMS_OF_VOLUMES = kube.Resource("/api/v1", "persistentvolumeclaims")
VOLUMES = kube.Resource("/api/v1", "persistentvolumes", namespaced=False)
ACCOUNTS = kube.Resource("/api/v1", "serviceaccounts")
VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Contents:
    """The contents of one pod under a folder of its own; ``address`` is the pod's IP."""

    def __init__(self, api: kube.Kube, pod: Object, home: pathlib.Path, address: str) -> None:
        """``write`` fills the folder."""
        self._api = api
        self._pod = pod
        self._space = pod["metadata"]["namespace"]
        self._home = home
        self._address = address
        self.folders: dict[str, pathlib.Path] = {}

    async def write(self) -> None:
        """Every volume, as the kubelet would fill it."""
        for volume in self._pod["spec"].get("volumes") or ():
            name = volume["name"]
            place = self._home / "volumes" / name
            if "persistentVolumeClaim" in volume:
                place = await self._persistent(volume["persistentVolumeClaim"]["claimName"])
            place.mkdir(parents=True, exist_ok=True)
            self.folders[name] = place
            for file, content in (await self._files(volume)).items():
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                target.chmod(0o600)

    async def _persistent(self, claim: str) -> pathlib.Path:
        found = await self._get(CLAIMS_OF_VOLUMES, claim)
        volume = await self._api.get(VOLUMES, found["spec"]["volumeName"])
        assert volume is not None
        return pathlib.Path(volume["spec"]["hostPath"]["path"])

    async def _files(self, volume: Object) -> dict[str, bytes]:
        source = {key: value for key, value in volume.items() if key != "name"}
        if source.keys() & {"emptyDir", "persistentVolumeClaim"}:
            return {}
        if "projected" in source:
            found: dict[str, bytes] = {}
            for one in source["projected"]["sources"]:
                found |= await self._source(one)
            return found
        return await self._source(source)

    async def _source(self, source: Object) -> dict[str, bytes]:
        ((kind, said),) = source.items()
        if kind == "serviceAccountToken":
            return {said["path"]: (await self._token(said)).encode()}
        if kind == "downwardAPI":
            return {
                one["path"]: self.field(one["fieldRef"]["fieldPath"]).encode()
                for one in said["items"]
            }
        data = await self._data(kind, said.get("name") or said["secretName"], said)
        items = said.get("items")
        if items is None:
            return data
        return {one["path"]: data[one["key"]] for one in items}

    async def _data(self, kind: str, name: str, said: Object) -> dict[str, bytes]:
        resource = {"secret": kube.SECRETS, "configMap": kube.CONFIG_MAPS}[kind]
        found = await self._api.get(resource, name, self._space)
        if found is None:
            assert said.get("optional"), f"no {kind} {self._space}/{name}"
            return {}
        data = found.get("data") or {}
        if kind == "secret":
            return {key: base64.b64decode(text) for key, text in data.items()}
        return {key: text.encode() for key, text in data.items()}

    async def _get(self, resource: kube.Resource, name: str) -> Object:
        found = await self._api.get(resource, name, self._space)
        assert found is not None, f"no {resource.plural} {self._space}/{name}"
        return found

    async def _token(self, said: Object) -> str:
        meta = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": said.get("expirationSeconds", 3600),
                "audiences": [said["audience"]] if said.get("audience") else [],
                "boundObjectRef": bound,
            },
        }
        account = self._pod["spec"]["serviceAccountName"]
        path = ACCOUNTS.path(account, self._space, "token")
        made = await self._api.call("POST", path, body=body)
        return str(made["status"]["token"])

    def field(self, path: str) -> str:
        """A field of the downward API."""
        if path == "status.podIP":
            return self._address
        if path == "status.hostIP":
            return "127.0.0.1"
        keyed = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
        if keyed:
            return str((self._pod["metadata"].get(keyed[1]) or {}).get(keyed[2], ""))
        found: Any = self._pod
        for part in path.split("."):
            found = found[part]
        return str(found)

    async def environment(self, container: Object) -> dict[str, str]:
        """A container's environment, with this machine's paths and the pod's own address."""
        found: dict[str, str] = {}
        for one in container.get("envFrom") or ():
            ((kind, said),) = ((key, value) for key, value in one.items() if key != "prefix")
            data = await self._data(kind.removesuffix("Ref"), said["name"], said)
            found |= {one.get("prefix", "") + key: text.decode() for key, text in data.items()}
        for one in container.get("env") or ():
            value = one.get("value", "")
            if "valueFrom" in one:
                value = await self._from(one["valueFrom"])
            if value is not None:
                found[one["name"]] = VARIABLE.sub(lambda m: found.get(m[1], m[0]), value)
        return found

    async def _from(self, source: Object) -> str | None:
        ((kind, said),) = source.items()
        if kind == "fieldRef":
            return self.field(said["fieldPath"])
        if kind == "resourceFieldRef":
            return "1"
        data = await self._data(kind.removesuffix("KeyRef"), said["name"], said)
        if said["key"] not in data:
            assert said.get("optional"), f"no key {said['key']} in {said['name']}"
            return None
        return data[said["key"]].decode()

    def mounts(self, container: Object) -> dict[str, str]:
        """Where a container's paths lie on this machine, longer ones first."""
        found = {}
        for one in container.get("volumeMounts") or ():
            place = self.folders[one["name"]] / one.get("subPath", "")
            found[one["mountPath"].rstrip("/")] = str(place)
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def relocated(text: str, places: Mapping[str, str]) -> str:
    """``text`` with every path that begins with a known folder on this machine's own."""
    if not places:
        return text
    known = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w./-])({known})(?=/|$|[^\w.-])")
    return pattern.sub(lambda match: places[match[1]], text)
