"""A copy of one kind of object, kept true by list and watch.

Decides when the copy may be believed: after a whole list, until the connection breaks for long.
Refuses to know what the objects are for. On "too old" it lists again by itself, since the client's
own watch would ask for the same stale version for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bidplane_streams.sinks import errors, kube, patience

Key = tuple[str, str]
Project = Callable[[kube.Object], kube.Object]

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
GRAVES: Final = 4096


def key_of(found: kube.Object) -> Key:
    """(namespace, name); the namespace is empty for cluster-wide objects."""
    meta = found["metadata"]
    return meta.get("namespace", ""), meta["name"]


class Mirror:
    """All objects of ``resource`` (with ``labels``, in ``namespace``); ``wake`` is set on changes.

    ``project`` drops what no plan reads, for memory's sake.
    """

    def __init__(
        self,
        api: kube.Kube,
        resource: kube.Resource,
        wake: asyncio.Event,
        *,
        labels: str = "",
        namespace: str = "",
        project: Project | None = None,
    ) -> None:
        """Does nothing until ``run``."""
        self.objects: dict[Key, kube.Object] = {}
        self.changes = 0
        self._api = api
        self._resource = resource
        self._labels = labels
        self._namespace = namespace
        self._wake = wake
        self._project = project or _trimmed
        self._synced = asyncio.Event()
        self._broken_since: float | None = None
        self._relist = False
        self._watching: asyncio.Future[str] | None = None
        # Versions of what was deleted, so that a late answer to a write raises no ghost.
        self._graves: dict[Key, int] = {}

    @property
    def synced(self) -> bool:
        """Whether a whole list has arrived and nothing has been doubted since."""
        return self._synced.is_set()

    @property
    def broken(self) -> bool:
        """Whether the API server does not answer at present."""
        return self._broken_since is not None

    def doubt(self) -> None:
        """Believe nothing until the next whole list, e.g. after the process was frozen."""
        self._synced.clear()
        self._relist = True
        if self._watching is not None:
            self._watching.cancel()

    def learn(self, found: kube.Object) -> None:
        """Take the server's answer to a write, unless something newer is known already."""
        key = key_of(found)
        known = self.objects.get(key)
        floor = _version(known) if known is not None else self._graves.get(key, -1)
        if _version(found) > floor:
            self.objects[key] = self._project(found)
            self.changes += 1

    def forget(self, found: kube.Object) -> None:
        """Take it that an object is gone, in the version in which we last had it."""
        known = self.objects.get(key_of(found))
        if known is None or _version(known) <= _version(found):
            self._bury(found)

    async def run(self) -> None:
        """List and watch until cancelled; a server that does not answer is asked again."""
        delay = RETRY_FIRST_S
        version = ""
        while True:
            try:
                if not version or self._relist:
                    version = await self._list()
                version = await self._watch_until_doubt(version)
                delay = RETRY_FIRST_S
            except errors.Gone:
                version = ""
            except errors.SinkError as error:
                self._complain(error)
                version = version if isinstance(error, errors.Unreachable) else ""
                await asyncio.sleep(delay)
                delay = min(RETRY_MOST_S, delay * 2)

    async def _list(self) -> str:
        self._relist = False
        items, version = await self._api.list_all(
            self._resource, namespace=self._namespace, labels=self._labels
        )
        self.objects = {key_of(item): self._project(item) for item in items}
        self.changes += 1
        self._answered()
        self._synced.set()
        self._wake.set()
        return version

    async def _watch_until_doubt(self, version: str) -> str:
        self._watching = asyncio.ensure_future(self._watch(version))
        try:
            return await self._watching
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._watching.cancel()
                raise
            return ""
        finally:
            self._watching = None

    async def _watch(self, version: str) -> str:
        async for kind, found in self._api.watch(
            self._resource, version, self._labels, self._namespace
        ):
            self._answered()
            if kind == kube.OPENED:  # and no longer broken: whoever waited for that may plan
                self._wake.set()
                continue
            version = found["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._bury(found)
            elif kind != "BOOKMARK":
                self.learn(found)
            self._wake.set()
        return version

    def _bury(self, found: kube.Object) -> None:
        self.objects.pop(key_of(found), None)
        self.changes += 1
        if len(self._graves) >= GRAVES:
            self._graves.pop(next(iter(self._graves)))
        self._graves[key_of(found)] = _version(found)

    def _answered(self) -> None:
        self._broken_since = None
        patience.VOICE.answered(self._api.where)

    def _complain(self, error: errors.SinkError) -> None:
        if self._broken_since is None:
            self._broken_since = time.monotonic()
        patience.VOICE.failed(self._api.where, error)


def _version(found: kube.Object) -> int:
    # Comparable as integers since Kubernetes 1.35.
    text = str(found["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0


def _trimmed(found: kube.Object) -> kube.Object:
    found["metadata"].pop("managedFields", None)
    return found
