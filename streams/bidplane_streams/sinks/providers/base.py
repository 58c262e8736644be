"""What a provider of control planes is: the small interface behind `bidplane sink clusters`.

Decides the shape. Refuses to know how a control plane is run: local processes, a chart, vCluster or
Kamaji all fit.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

# What one agent's kubeconfigs are called: files in CLUSTERS_DIR/TENANT/NAME, keys of Secrets.
AGENT_KUBECONFIG = "kubeconfig"
SYNC_KUBECONFIG = "sync.kubeconfig"


class Provider(Protocol):
    """Gives agents control planes. Every method may be repeated: it converges."""

    name: str

    @property
    def synced(self) -> bool:
        """Whether ``ready`` and ``standing`` may be believed."""
        ...

    def ready(self) -> frozenset[str]:
        """The agents (TENANT/NAME) whose control plane serves, as far as this process knows."""
        ...

    def standing(self) -> frozenset[str]:
        """The agents whose control plane was not withdrawn, whether it serves or not."""
        ...

    async def provide(self, agent: str) -> None:
        """Make the agent's control plane serve, and write its kubeconfigs.

        Raises:
            SinkError: it does not serve; trying again may help.
        """
        ...

    async def withdraw(self, agent: str) -> None:
        """Stop the agent's control plane and take its kubeconfigs away; its data stays."""
        ...

    def doubt(self) -> None:
        """Believe nothing until it is read again: this process was frozen."""
        ...

    async def run(self) -> None:
        """Keep what ``ready`` reads true, until cancelled."""
        ...

    async def close(self) -> None:
        """Stop everything that this process runs."""
        ...


class Planes(NamedTuple):
    """How planes stand in a cluster. Addresses are URLs with ``{name}`` and ``{namespace}``."""

    namespace: str = "bidplane-planes"
    address: str = "https://{name}.{namespace}.svc:6443"
    agent_address: str = ""
    helm: str = "helm"
    chart: str = ""
    values: str = ""


class Settings(NamedTuple):
    """What providers are made from; each takes the part that concerns it."""

    folder: pathlib.Path
    kubeconfig: str = ""
    planes: Planes = Planes()


# Makes a provider; the event is to be set when what it observes changes.
Factory = Callable[[Settings, asyncio.Event], Awaitable[Provider]]


def home_of(clusters: pathlib.Path, agent: str) -> pathlib.Path:
    """Where one agent's files are."""
    tenant, _, name = agent.partition("/")
    return clusters / tenant / name
