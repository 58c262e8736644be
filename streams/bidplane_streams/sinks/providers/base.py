"""What a provider of control planes is: the small interface behind `bidplane sink clusters`.

Decides the shape. Refuses to know how a control plane is run: local processes, a chart, vCluster or
Kamaji all fit.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Protocol

# The files of one agent's control plane, in CLUSTERS_DIR/TENANT/NAME.
AGENT_KUBECONFIG = "kubeconfig"
SYNC_KUBECONFIG = "sync.kubeconfig"


class Provider(Protocol):
    """Gives agents control planes. Every method may be repeated: it converges."""

    name: str

    def ready(self) -> frozenset[str]:
        """The agents (TENANT/NAME) whose control plane serves, as far as this process knows."""
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

    async def close(self) -> None:
        """Stop everything that this process runs."""
        ...


# A provider is made from the folder that keeps its control planes.
Factory = Callable[[pathlib.Path], Provider]


def home_of(clusters: pathlib.Path, agent: str) -> pathlib.Path:
    """Where one agent's files are."""
    tenant, _, name = agent.partition("/")
    return clusters / tenant / name
