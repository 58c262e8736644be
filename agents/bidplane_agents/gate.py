"""What a device server asks before it serves: is this lease, under this epoch, the holder now?

Decides it from the outcomes that the market told: a lease's right begins with ``bound``, and ends
with its time, with the first word of its end, or with a higher epoch on any of its devices. Refuses
to serve and to hold anything: a server that does not ask is not stopped by anybody.

    gate = Gate(device.uuid for device in mine)
    following = asyncio.create_task(gate.follow(connection, ["research"]))
    ...
    if not gate.allows(request.lease_id, request.epoch):
        ...  # refuse; the holder may ask again if its lease is new
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from bidplane_agents import clock as clocks
from bidplane_agents import log
from bidplane_agents.connection import Connection
from bidplane_topics import codec, registry
from bidplane_topics.outcomes import OutcomeReported

_OVER: Final = frozenset({"ending", "ended", "voided", "transferred"})


class Right(msgspec.Struct, frozen=True):
    """A lease that may be served: its epoch, until when, on which devices by uuid."""

    epoch: int
    ends_at_ms: int
    devices: frozenset[str]


class Gate:
    """Who may use a server's devices. ``early_ms`` stops that much before a lease's end."""

    def __init__(
        self, devices: Iterable[str], *, early_ms: int = 0, clock: clocks.Clock = clocks.now_ms
    ) -> None:
        """``devices`` are the uuids that this server has; it serves no lease of others."""
        self._devices = frozenset(devices)
        self._early_ms, self._clock = early_ms, clock
        self._rights: dict[str, Right] = {}
        self._epochs: dict[str, int] = {}
        self._over: dict[str, int] = {}

    def hear(self, outcome: OutcomeReported) -> None:
        """Take note of an outcome; the router may repeat some, and late ones change nothing."""
        lease = outcome.lease_id
        if outcome.kind in _OVER:
            # An ending tells the epoch that it spent itself.
            self._over[lease] = max(self._over.get(lease, 0), outcome.epoch)
            self._rights.pop(lease, None)
        # A renewal is told as won, of a lease that has an end already.
        elif outcome.kind in ("bound", "won") and outcome.ends_at_ms:
            self._begin(outcome)

    def _begin(self, outcome: OutcomeReported) -> None:
        known = self._rights.get(outcome.lease_id)
        mine = frozenset(device.uuid for device in outcome.devices) & self._devices
        if not mine or outcome.epoch <= self._over.get(outcome.lease_id, -1):
            return
        ends_at_ms = max(outcome.ends_at_ms, 0 if known is None else known.ends_at_ms)
        self._rights[outcome.lease_id] = Right(outcome.epoch, ends_at_ms, mine)
        for uuid in mine:
            self._epochs[uuid] = max(self._epochs.get(uuid, 0), outcome.epoch)

    def allows(self, lease_id: str, epoch: int) -> bool:
        """Whether the holder of this lease, under this epoch, has its devices now."""
        right = self._rights.get(lease_id)
        if right is None or right.epoch != epoch:
            return False
        newest = all(self._epochs[uuid] <= epoch for uuid in right.devices)
        return newest and self._clock() < right.ends_at_ms - self._early_ms

    async def follow(self, connection: Connection, tenants: Iterable[str]) -> None:
        """Hear what the agents of these tenants are told, from what is kept on, for ever.

        Raises:
            Unreachable: Kafka does not answer at first.
        """
        async with asyncio.TaskGroup() as group:
            for tenant in tenants:
                group.create_task(self._listen(connection, tenant))

    async def _listen(self, connection: Connection, tenant: str) -> None:
        tail = log.Tail(connection, registry.allocations(tenant).name)
        async with contextlib.aclosing(tail.records()) as records:
            async for record in records:
                self.hear(codec.decode(registry.OUTCOMES, record.value))
