"""The embedded provider: each agent's control plane as child processes of the sink.

Decides where its files are and who its two users are: the agent, who is administrator of its own
cluster, and our node sync. One authority and one etcd per agent: none can reach another's objects.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from bidplane_streams.sinks import errors
from bidplane_streams.sinks.providers import base

AT_ONCE = 2
AGENT_USER = "agent"
SYNC_USER = "bidplane-sync"

# Makes a control plane from (folder, name): ``start``, ``stop``, ``kubeconfig(user)``.
MakePlane = Callable[[pathlib.Path, str], Any]


class ProcessProvider:
    """Runs control planes in a folder; they end with this process and keep their data."""

    name = "process"

    def __init__(
        self, clusters: pathlib.Path, make: MakePlane, failed: tuple[type[Exception], ...]
    ) -> None:
        """``make`` builds a plane; ``failed`` are the errors with which one does not start."""
        self._clusters = clusters
        self._make = make
        self._failed = failed
        self._planes: dict[str, Any] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._starting = asyncio.Semaphore(AT_ONCE)

    @property
    def synced(self) -> bool:
        """What runs is known: it runs here."""
        return True

    def ready(self) -> frozenset[str]:
        """The agents whose plane runs here."""
        return frozenset(self._planes)

    def standing(self) -> frozenset[str]:
        """The same: a plane that does not run here does not stand."""
        return self.ready()

    async def provide(self, agent: str) -> None:
        """Start the plane where it does not run, and write both kubeconfigs."""
        home = base.home_of(self._clusters, agent)
        turn = self._turns.setdefault(agent, asyncio.Lock())
        async with turn, self._starting:
            if agent in self._planes:  # somebody else made it while we waited
                return
            plane = self._make(home.parent, home.name)
            try:
                await plane.start()
            except self._failed as error:
                await plane.stop()
                raise errors.Unreachable(f"{agent}: {error}") from error
            except BaseException:
                await plane.stop()
                raise
            for user, file in (
                (SYNC_USER, base.SYNC_KUBECONFIG),
                (AGENT_USER, base.AGENT_KUBECONFIG),
            ):
                _publish(plane.kubeconfig(user), home / file)
            self._planes[agent] = plane

    async def withdraw(self, agent: str) -> None:
        """Stop the plane and take its kubeconfigs away."""
        plane = self._planes.pop(agent, None)
        home = base.home_of(self._clusters, agent)
        for file in (base.AGENT_KUBECONFIG, base.SYNC_KUBECONFIG):
            (home / file).unlink(missing_ok=True)
        if plane is not None:
            await plane.stop()

    def doubt(self) -> None:
        """There is nothing to read."""

    async def run(self) -> None:
        """There is nothing to follow."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Stop all planes; their kubeconfigs stay, since the next sink serves the same ports."""
        planes, self._planes = list(self._planes.values()), {}
        await asyncio.gather(*(plane.stop() for plane in planes))


def _publish(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a secret file so that readers see all of it or nothing."""
    draft = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, draft)
    draft.chmod(0o600)
    os.replace(draft, target)  # noqa: PTH105 - atomic, also over an existing file
