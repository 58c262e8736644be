"""The Kubernetes API as plain JSON: the only importer of kubernetes_asyncio in sinks and sources.

Decides how a call is made, how long it may take, and which error class an answer belongs to.
Refuses to know what the objects mean. Objects are dictionaries: typed models were left out, since a
watch of ten thousand pods would spend its time building objects of which a plan reads five fields.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import aiohttp
import orjson
import yaml
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config.config_exception import ConfigException

from bidplane_streams.sinks import errors

Object = dict[str, Any]

CALL_TIMEOUT_S: Final = 20.0
# The server ends a watch after this; ours ends a little later should the server have vanished.
WATCH_TIMEOUT_S: Final = 240
PAGE: Final = 500
# The first word of a watch; the others are the server's.
OPENED: Final = "OPENED"
# A watch sends an object as one line; etcd takes none that is longer.
LONGEST_LINE: Final = 2 * 1024 * 1024

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"


class Resource(NamedTuple):
    """A kind of object: ``base`` is ``/api/v1`` or ``/apis/GROUP/VERSION``."""

    base: str
    plural: str
    namespaced: bool = True

    def path(self, name: str = "", namespace: str = "", sub: str = "") -> str:
        """The path of a collection, an object or a subresource."""
        parts = [self.base]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, sub) if part]
        return "/".join(parts)


PODS: Final = Resource("/api/v1", "pods")
NODES: Final = Resource("/api/v1", "nodes", namespaced=False)
EVENTS: Final = Resource("/api/v1", "events")
NAMESPACES: Final = Resource("/api/v1", "namespaces", namespaced=False)
SECRETS: Final = Resource("/api/v1", "secrets")
CONFIG_MAPS: Final = Resource("/api/v1", "configmaps")
SERVICES: Final = Resource("/api/v1", "services")
STATEFUL_SETS: Final = Resource("/apis/apps/v1", "statefulsets")
NODE_LEASES: Final = Resource("/apis/coordination.k8s.io/v1", "leases")
CLAIMS: Final = Resource("/apis/resource.k8s.io/v1", "resourceclaims")
SLICES: Final = Resource("/apis/resource.k8s.io/v1", "resourceslices", namespaced=False)
CLASSES: Final = Resource("/apis/resource.k8s.io/v1", "deviceclasses", namespaced=False)
CRDS: Final = Resource(
    "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False
)
DEVICE_LEASES: Final = Resource("/apis/bidplane.io/v1", "deviceleases")
NETWORK_POLICIES: Final = Resource("/apis/networking.k8s.io/v1", "networkpolicies")
POLICIES: Final = Resource(
    "/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies", namespaced=False
)
POLICY_BINDINGS: Final = Resource(
    "/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", namespaced=False
)
WHO_AM_I: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
# Where a pod finds its ServiceAccount's token and authority.
SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


class Kube:
    """One API server, spoken to as one user. ``where`` names it in errors."""

    def __init__(self, api: client.ApiClient, where: str) -> None:
        """Use ``connect``."""
        self._api = api
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None
        self.where = where

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
        await self._api.close()

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """The object, or None where there is none."""
        try:
            return await self.call("GET", resource.path(name, namespace))
        except errors.Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def list_all(
        self, resource: Resource, namespace: str = "", labels: str = ""
    ) -> tuple[list[Object], str]:
        """All objects, and the version at which the list is true."""
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        items: list[Object] = []
        while True:
            page = await self.call("GET", resource.path(namespace=namespace), query=query)
            items += page["items"]
            more = page["metadata"].get("continue")
            if not more:
                return items, page["metadata"]["resourceVersion"]
            query = query | {"continue": more}

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object. Raises Conflict where its name is taken."""
        namespace = body["metadata"].get("namespace", "")
        return await self.call("POST", resource.path(namespace=namespace), body=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Object | list[Object],
        *,
        namespace: str = "",
        sub: str = "",
        how: str = MERGE,
    ) -> Object:
        """Patch an object. Raises Conflict where it is gone or a JSON patch's ``test`` fails."""
        query = {"fieldManager": "bidplane", "force": "true"} if how == APPLY else None
        path = resource.path(name, namespace, sub)
        return await self.call("PATCH", path, body=body, query=query, content_type=how)

    async def apply(self, resource: Resource, body: Object) -> Object:
        """Server-side apply: creates the object or owns these fields of it."""
        meta = body["metadata"]
        return await self.patch(
            resource, meta["name"], body, namespace=meta.get("namespace", ""), how=APPLY
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        grace_s: int | None = None,
    ) -> Object | None:
        """Delete the object if it is still the one with ``uid``; one that is gone is fine.

        What is left of it while finalizers hold it, or None.
        """
        assert name, "without a name it would be the whole collection"
        body: Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        with contextlib.suppress(errors.Conflict):  # another object by now: ours is gone
            try:
                left = await self.call("DELETE", resource.path(name, namespace), body=body)
            except errors.Refused as refused:
                if refused.status != 404:
                    raise
            else:
                return None if left.get("kind") == "Status" else left
        return None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Object | list[Object] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request, decoded.

        Raises:
            Unreachable, Conflict, Gone, Refused: see errors.
        """
        try:
            response = await self._request(
                method, path, body, query, content_type, aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
            )
            raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Unreachable(f"{self.where}: {_words(error)}") from error
        if response.status >= 300:
            raise _error(self.where, method, path, response.status, raw)
        return _decoded(self.where, raw)

    async def watch(
        self, resource: Resource, version: str, labels: str = "", namespace: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes after ``version`` as (ADDED | MODIFIED | DELETED | BOOKMARK, object).

        Before them comes (OPENED, {}): the server watches, though nothing may change for long.
        Ends when the server ends the watch.

        Raises:
            Gone: the version is too old; list again (the client library would retry it for ever).
            Unreachable: the connection broke.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_TIMEOUT_S),
        } | ({"labelSelector": labels} if labels else {})
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=WATCH_TIMEOUT_S + 15)
        try:
            path = resource.path(namespace=namespace)
            response = await self._request("GET", path, None, query, "application/json", timeout)
            try:
                if response.status >= 300:
                    raw = await response.read()
                    raise _error(self.where, "GET", path, response.status, raw)
                yield OPENED, {}
                async for line in response.content:
                    yield _event(self.where, line)
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise errors.Unreachable(f"{self.where}: {_words(error)}") from error

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | list[Object] | None,
        query: dict[str, str] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        # The library knows certificates, tokens and proxies. Its way of making a request is left
        # out: it walks every body, and looks for a proxy and a password in files each time.
        headers = {
            "Accept": "application/json", "Content-Type": content_type, "User-Agent": "bidplane",
        }  # fmt: skip
        await self._api.update_params_for_auth(headers, [], ["BearerToken"])
        rest = self._api.rest_client
        return await self._opened().request(
            method,
            self.where + path,
            params=query,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            timeout=timeout,
            proxy=self._proxy,
            proxy_headers=rest.proxy_headers,
            server_hostname=rest.server_hostname,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            rest = self._api.rest_client
            self._proxy = rest.proxy or _proxy(self.where)
            self._session = aiohttp.ClientSession(
                connector=rest.pool_manager.connector, connector_owner=False,
                read_bufsize=LONGEST_LINE,
            )  # fmt: skip
        return self._session


async def connect(kubeconfig: str) -> Kube:
    """An API client from a kubeconfig file, or from the pod it runs in where the path is empty.

    Talks to nobody yet. A pod's token is read again every minute: the kubelet renews it.

    Raises:
        BadSetting: the file is missing or is no kubeconfig.
    """
    settings = client.Configuration()
    try:
        if kubeconfig:
            _check_readable(kubeconfig)
            await config.load_kube_config(kubeconfig, client_configuration=settings)
        else:
            mine = pathlib.Path(os.environ.get("BIDPLANE_SERVICE_ACCOUNT_DIR") or SERVICE_ACCOUNT)
            config.load_incluster_config(
                settings, token_filename=mine / "token", cert_filename=mine / "ca.crt"
            )
        api = client.ApiClient(settings)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise _no_kubeconfig(kubeconfig, "it is no kubeconfig") from error
    except (ConfigException, OSError, ValueError) as error:
        raise _no_kubeconfig(kubeconfig, _words(error)) from error
    return Kube(api, settings.host)


async def connect_given(content: bytes, where: str) -> Kube:
    """An API client from what a kubeconfig file would hold; ``where`` names it in errors.

    Raises:
        BadSetting: it is no kubeconfig.
    """
    settings = client.Configuration()
    try:
        given = yaml.safe_load(content)
        await config.load_kube_config_from_dict(given, client_configuration=settings)
        return Kube(client.ApiClient(settings), settings.host)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise errors.BadSetting(f"{where}: it is no kubeconfig") from error
    except (ConfigException, OSError, ValueError) as error:
        raise errors.BadSetting(f"{where}: {_words(error)}") from error


def _proxy(where: str) -> str | None:
    """The environment's proxy for a server, as curl and kubectl would choose it."""
    address = urllib.parse.urlsplit(where)
    if urllib.request.proxy_bypass(address.hostname or ""):
        return None
    return urllib.request.getproxies().get(address.scheme)


def _no_kubeconfig(kubeconfig: str, why: str) -> errors.BadSetting:
    advice = "give a file that kubectl accepts with --kubeconfig"
    if kubeconfig:
        return errors.BadSetting(f"kubeconfig {kubeconfig}: {why}; {advice}")
    return errors.BadSetting(f"no kubeconfig, and this is no pod of a cluster ({why}): {advice}")


def _check_readable(kubeconfig: str) -> None:
    if not pathlib.Path(kubeconfig).is_file():
        raise errors.BadSetting(
            f"kubeconfig {kubeconfig}: no such file; give one with --kubeconfig"
        )


def _event(where: str, line: bytes) -> tuple[str, Object]:
    change = orjson.loads(line)
    if change["type"] == "ERROR":
        status = change["object"]
        code = int(status.get("code", 500))
        raise _error(where, "WATCH", "", code, orjson.dumps(status))
    return change["type"], change["object"]


def _decoded(where: str, raw: bytes) -> Object:
    try:
        decoded: Object = orjson.loads(raw)
    except ValueError as error:
        raise errors.Unreachable(f"{where}: the answer is no JSON") from error
    return decoded


def _error(where: str, method: str, path: str, status: int, raw: bytes) -> errors.SinkError:
    said, causes = _said(raw)
    sentence = f"{where}: {method} {path}: {status} {said}"
    if status == 410:
        return errors.Gone(sentence)
    gone = method == "PATCH" and status == 404
    if status == 409 or gone or _test_failed(status, said + causes):
        return errors.Conflict(sentence)
    if status in {408, 429} or status >= 500:
        return errors.Unreachable(sentence)
    return errors.Refused(sentence, status)


def _said(raw: bytes) -> tuple[str, str]:
    """The server's sentence, and the details in which it hides why a JSON patch did not apply."""
    try:
        status = orjson.loads(raw)
        causes = (status.get("details") or {}).get("causes") or ()
        return str(status.get("message", ""))[:500], " ".join(str(one) for one in causes)[:500]
    except (ValueError, AttributeError):
        return raw[:200].decode(errors="replace"), ""


def _test_failed(status: int, said: str) -> bool:
    # A JSON patch whose test fails, or whose path is not there any more. A generic answer without a
    # field is the patch's; a validation error names one.
    generic = "the server rejected our request due to an error in our request"
    words = ("testing value", "testing path", "test failed", "doc is missing", generic)
    return status in {400, 422} and any(word in said for word in words)


def _words(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
