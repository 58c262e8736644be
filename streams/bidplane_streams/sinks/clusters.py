"""Registered agents into control planes: the clusters sink.

Decides which agents have a control plane: those whose registration says so. Refuses to know how
one is run (providers), and who may bid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from bidplane_streams.sinks import errors, metrics, records
from bidplane_streams.sinks.providers.base import Provider
from bidplane_topics import ids, registry
from bidplane_topics.agents import AgentRegistered


class Observed(NamedTuple):
    """Who should have a control plane, whose serves, and whose stands, serving or not."""

    wanted: frozenset[str]
    ready: frozenset[str]
    standing: frozenset[str]


class Provide(NamedTuple):
    """Give an agent its control plane."""

    key: str


class Withdraw(NamedTuple):
    """Stop an agent's control plane."""

    key: str


class ClustersSink:
    """Keeps a control plane for every agent that is registered with one."""

    name = "clusters"

    def __init__(self, kafka: str, provider: Provider, wake: asyncio.Event) -> None:
        """``wake`` is set when a registration changes."""
        self._provider = provider
        self._failed: set[str] = set()
        self._agents: records.Table[AgentRegistered] = records.Table(
            kafka, registry.AGENTS, _agent_of, wake
        )

    def observe(self) -> Observed | None:
        """Registrations and planes; None until all of both are read."""
        if not self._agents.fresh or not self._provider.synced:
            return None
        rows = self._agents.rows
        wanted = frozenset(name for name, row in rows.items() if row.event.cluster)
        observed = Observed(wanted, self._provider.ready(), self._provider.standing())
        self._count(observed)
        return observed

    def _count(self, observed: Observed) -> None:
        missing = observed.wanted - observed.ready
        self._failed &= missing
        found = {
            "wanted": observed.wanted, "ready": observed.wanted & observed.ready,
            "starting": missing - self._failed, "failed": self._failed,
        }  # fmt: skip
        for state, agents in found.items():
            metrics.PLANES.labels(state).set(len(agents))

    def plan(self, observed: Observed, now_ms: int) -> Sequence[Provide | Withdraw]:
        """Start what is wanted, stop what is not."""
        del now_ms
        return plan(observed)

    async def apply(self, action: Provide | Withdraw) -> None:
        """Start or stop one plane."""
        if isinstance(action, Provide):
            try:
                await self._provider.provide(action.key)
            except errors.SinkError:
                self._failed.add(action.key)
                raise
        else:
            await self._provider.withdraw(action.key)

    def doubt(self) -> None:
        """Read registrations and planes again."""
        self._agents.doubt()
        self._provider.doubt()

    async def run(self) -> None:
        """Follow registrations and planes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._agents.run())
            group.create_task(self._provider.run())

    async def close(self) -> None:
        """Stop the planes that this process runs."""
        await self._provider.close()


def plan(observed: Observed) -> list[Provide | Withdraw]:
    """One step for each agent that is not as registered."""
    steps: list[Provide | Withdraw] = [
        Provide(agent) for agent in sorted(observed.wanted - observed.ready)
    ]
    steps += [Withdraw(agent) for agent in sorted(observed.standing - observed.wanted)]
    return steps


def _agent_of(event: Any) -> str | None:
    """Only agents have control planes; a tenant's record is nobody's business here."""
    if not isinstance(event, AgentRegistered):
        return None
    return ids.agent_id(event.tenant, event.agent)
