"""The claims sink: leases become ResourceClaims in the host cluster, and end in order.

Decides what is read, when it may be believed, and what is told to the market. What to do is
``claims_plan``'s; how claims come and go is ``claims_binding``'s and ``claims_ending``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bidplane_streams.sinks import (
    claims_binding,
    claims_ending,
    claims_plan,
    claims_seen,
    hardware,
    hostsetup,
    kube,
    lease_stages,
    mirror,
    patience,
    records,
    standing,
    worker,
)
from bidplane_topics import leases, markets, registry, reports

log = logging.getLogger(__name__)

Object = dict[str, Any]
LOST_AFTER_MS: Final = 40_000


class ClaimsSink:
    """Runs one market's leases in one host cluster. ``clock`` gives milliseconds."""

    name = "claims"

    def __init__(
        self,
        api: kube.Kube,
        bootstrap: str,
        market: str,
        wake: asyncio.Event,
        *,
        ensure: bool = True,
        classes: Mapping[str, str] | None = None,
        lost_after_ms: int = LOST_AFTER_MS,
        clock: worker.Clock = worker.now_ms,
    ) -> None:
        """Talks to nobody yet."""
        self._api = api
        self._market = market
        self._ensure = ensure
        self._classes = dict(classes or {})
        self._lost_after_ms = lost_after_ms
        self._clock = clock
        self._writer = records.Writer(bootstrap)
        self._leases: records.Table[leases.LeaseChanged] = records.Table(
            bootstrap, registry.LEASES, self._lease_key, wake, lambda lease: lease.state != "ended"
        )
        self._markets: records.Table[Any] = records.Table(
            bootstrap, registry.MARKETS, records.market_or_node, wake
        )
        self._standing = standing.Standing(bootstrap, market, self._markets, wake)
        self._tables: tuple[records.Table[Any], ...] = (
            self._leases,
            self._markets,
            *self._standing.tables,
        )
        self._claims = mirror.Mirror(api, kube.CLAIMS, wake)
        self._anchors = mirror.Mirror(api, kube.DEVICE_LEASES, wake)
        self._pods = mirror.Mirror(api, kube.PODS, wake, project=claims_seen.project_pod)
        self._slices = mirror.Mirror(api, kube.SLICES, wake, project=hardware.project)
        self._nodes = mirror.Mirror(api, kube.NODES, wake, project=claims_seen.project_node)
        self._mirrors = (self._claims, self._anchors, self._pods, self._slices, self._nodes)
        self._read = hardware.Hardware({}, frozenset())
        self._read_at = -1
        self._missing_since_ms: dict[str, int] = {}
        self._said: dict[str, claims_plan.Said] = {}
        self._seen = claims_seen.Claims(market)
        self._wanted: dict[str, claims_plan.Desired] = {}
        self._planned_s = 0.0
        self._binding = claims_binding.Binding(
            api, market, self._claims, self._anchors, self._shall_stand, clock
        )
        self._ending = claims_ending.Ending(
            api, market, self._claims, self._anchors, self._pods
        )  # fmt: skip
        self._stages = lease_stages.LeaseStages(market, clock)

    def _lease_key(self, lease: leases.LeaseChanged) -> str | None:
        # What is leased on standing claims needs none of its own.
        ours = lease.market == self._market and not lease.standing
        return lease.lease_id if ours else None

    @property
    def _parts(self) -> list[records.Table[Any] | mirror.Mirror]:
        return [*self._tables, *self._mirrors]

    async def run(self) -> None:
        """Set the host cluster up, then keep mirrors and tables true."""
        if self._ensure:
            await patience.until_answered(self._api.where, self._set_up)
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(part.run())

    async def _set_up(self) -> None:
        await hostsetup.ensure(self._api, self._classes)

    async def close(self) -> None:
        """Close connections."""
        await self._writer.stop()
        await self._api.close()

    def doubt(self) -> None:
        """Read leases and objects again before anything is planned."""
        for part in self._parts:
            part.doubt()

    def observe(self) -> claims_plan.Observed | None:
        """What is true now; None until leases are read to their end and all mirrors are whole."""
        unread = any(not one.fresh for one in self._tables)
        if unread or any(not one.synced or one.broken for one in self._mirrors):
            return None
        self._note_missing_nodes()
        claims = self._seen.read(self._claims.objects)
        return claims_plan.Observed(
            market=self._market,
            partition=self._partition(),
            leases=self._desired(),
            held=self._held(claims),
            leased=self._standing.leased(),
            busy=frozenset(self._binding.busy),
            taken=claims_seen.places(claims.values()),
            hardware=self._hardware(),
            missing_since_ms=self._missing_since_ms,
            lost_after_ms=self._lost_after_ms,
            said=self._said,
        )

    def _desired(self) -> dict[str, claims_plan.Desired]:
        partition = self._partition()
        wanted = self._standing.wanted()
        found = [(key, one, partition) for key, one in wanted.items()]
        found += [(key, row.event, row.partition) for key, row in self._leases.rows.items()]
        before = self._wanted
        self._wanted = {
            key: known
            if (known := before.get(key)) is not None
            and known.event is event
            and known.partition == number
            else claims_plan.Desired(event, number)
            for key, event, number in found
        }
        return self._wanted

    def _shall_stand(self, lease: leases.LeaseChanged) -> bool:
        row = self._leases.rows.get(lease.lease_id)
        if row is None:
            return lease.lease_id in self._standing.wanted()
        return row.event.epoch == lease.epoch and row.event.state not in {"ending", "ended"}

    def _held(self, claims: Mapping[mirror.Key, claims_seen.Seen]) -> dict[str, claims_plan.Held]:
        found = claims_seen.held(self._market, claims, self._pods, self._anchors)
        spare = {name for name in found if name.startswith(standing.PREFIX)}
        spare -= self._standing.wanted().keys()
        for name in spare - self._standing.dropped(spare):
            del found[name]
        return found

    def _hardware(self) -> hardware.Hardware:
        # Thousands of devices that hardly ever change: read again only when a slice did.
        if self._read_at != self._slices.changes:
            self._read = hardware.read(self._slices.objects.values())
            self._read_at = self._slices.changes
        return self._read

    def plan(self, observed: claims_plan.Observed, now_ms: int) -> Sequence[claims_plan.Action]:
        """See ``claims_plan``."""
        self._planned_s = time.monotonic()
        return claims_plan.plan(observed, now_ms)

    async def apply(self, action: claims_plan.Action) -> None:
        """Take one step; see ``base.Sink``."""
        match action:
            case claims_plan.Bind():
                await self._bind(action)
            case claims_plan.Revoke():
                await self._ending.revoke(action)
            case claims_plan.Release():
                await self._release(action)
            case claims_plan.Report():
                await self._report(action)

    async def _bind(self, action: claims_plan.Bind) -> None:
        await self._binding.bind(action.lease, action.held, self._planned_s)
        row = self._leases.rows.get(action.lease.lease_id)
        if row is not None and action.lease.state == "awarded":
            self._stages.allocated(row.at_ms)

    async def _release(self, action: claims_plan.Release) -> None:
        await self._ending.refuse_while_used(action.lease_id, action.held)
        if (row := self._leases.rows.get(action.lease_id)) is not None:
            self._stages.evicted(action.lease_id, row.at_ms)
        await self._ending.free(action.held)
        self._stages.deallocated(action.lease_id)

    async def _report(self, action: claims_plan.Report) -> None:
        subject = action.subject
        if isinstance(action.event, reports.SinkAlive):
            await self._api.call("GET", "/version")  # alive means: the API server answers us
            subject = action.event.sink
        await self._writer.send(registry.REPORTS, action.partition, subject, action.event)
        if action.times == 0 and not isinstance(action.event, reports.SinkAlive):
            log.info("%s: %s", type(action.event).__name__, action.subject)
        self._said[action.subject] = claims_plan.said(action, self._clock())

    def _partition(self) -> int:
        row = self._markets.rows.get(self._market)
        declared = row is not None and isinstance(row.event, markets.MarketDeclared)
        return int(row.event.partition) if row is not None and declared else -1

    def _note_missing_nodes(self) -> None:
        used = {one.node for row in self._leases.rows.values() for one in row.event.devices}
        used |= self._standing.leased().keys()
        now_ms = self._clock()
        missing: dict[str, int] = {}
        for node in used:
            found = self._nodes.objects.get(("", node))
            if found is None or not found["ready"]:
                missing[node] = self._missing_since_ms.get(node, now_ms)
        self._missing_since_ms = missing
        live = self._leases.rows.keys() | missing.keys() | {claims_plan.ALIVE}
        self._said = {key: value for key, value in self._said.items() if key in live}
