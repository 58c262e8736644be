"""Telemetry to usage: how busy each lease's devices were, minute by minute.

Decides the window (by the broker's append time, so that nobody's clock matters) and its mean. A
window is published soon after its end. Faust's ``on_window_close`` is not used: it fires for one
partition per worker only. A crash may publish a window twice, or not if its lease falls silent at
that moment: (lease, window start) tells, and money never depends on it. Which readings count is
``telemetry_gate``'s.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import faust

from bidplane_streams import clock, metrics
from bidplane_streams.processors import telemetry_gate
from bidplane_topics import codec, registry
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.telemetry import DeviceSampled, UsageMeasured

KEPT_S: Final = 3600
_LATE_MS: Final = 2_000


class Row(NamedTuple):
    """What a window knows of a lease. A tuple, since Faust's changelog keeps plain JSON."""

    tenant: str
    agent: str
    samples: int
    busy_permille_sum: int
    memory_mib_max: int


def added(row: Row | None, sample: DeviceSampled) -> Row:
    """The row with one more reading; a row of another agent is none of this lease's."""
    before = row or Row(sample.tenant, sample.agent, 0, 0, 0)
    if before[:2] != (sample.tenant, sample.agent):
        before = Row(sample.tenant, sample.agent, 0, 0, 0)
    return before._replace(
        samples=before.samples + 1,
        busy_permille_sum=before.busy_permille_sum + sample.busy_permille,
        memory_mib_max=max(before.memory_mib_max, sample.memory_mib),
    )


def measured(lease_id: str, start_ms: int, end_ms: int, row: Row) -> UsageMeasured:
    """The event of a window that is over."""
    return UsageMeasured(
        lease_id=lease_id, tenant=row.tenant, agent=row.agent, window_start_ms=start_ms,
        window_end_ms=end_ms, samples=row.samples,
        busy_permille_mean=row.busy_permille_sum // row.samples,
        memory_mib_max=row.memory_mib_max,
    )  # fmt: skip


def decoded(value: bytes | None) -> DeviceSampled | None:
    """A reading, or None for bytes that are none: lost, and counted."""
    try:
        sample: DeviceSampled = codec.decode(registry.TELEMETRY, value)
    except MalformedRecord:
        metrics.USAGE_SAMPLES.labels("malformed").inc()
        return None
    return sample


def attach(
    app: faust.App, partitions: int, window_s: int, gate: telemetry_gate.Gate
) -> None:  # fmt: skip
    """Add the processor to ``app``; ``partitions`` is the telemetry topic's count."""
    source = app.topic(
        registry.TELEMETRY.name, key_serializer="raw", value_serializer="raw",
        partitions=partitions,
    )  # fmt: skip
    target = app.topic(registry.USAGE.name, key_serializer="raw", value_serializer="raw")
    table = app.Table("usage-windows", default=list, partitions=partitions).tumbling(
        window_s, expires=KEPT_S
    )
    # Windows that wait to be published: (lease, start) to the row so far.
    waiting: dict[tuple[str, int], Row] = {}

    async def publish(lease_id: str, start_ms: int, row: Row) -> None:
        """Write the event of a window that is over."""
        event = measured(lease_id, start_ms, start_ms + window_s * 1000, row)
        await target.send(key=lease_id.encode(), value=codec.encode(event))

    @app.agent(source, name="usage")  # type: ignore[untyped-decorator, unused-ignore]
    async def usage(stream: Any) -> None:
        """Count readings per lease and window."""
        async for event in stream.events():
            sample = decoded(event.value)
            if sample is None:
                continue
            lease_id = sample.lease_id
            start_ms = int(event.message.timestamp) // window_s * window_s * 1000
            state = gate.state(event.message.key, sample, start_ms)
            metrics.USAGE_SAMPLES.labels(state).inc()
            if state != telemetry_gate.COUNTED:
                continue
            kept = table[lease_id].current(event)
            row = added(Row(*kept) if kept else None, sample)
            table[lease_id] = list(row)
            waiting[lease_id, start_ms] = row

    @app.timer(interval=1.0)  # type: ignore[untyped-decorator, unused-ignore]
    async def flush() -> None:
        """Publish the windows that are over."""
        now_ms = clock.now_ms()
        for lease_id, start_ms in sorted(waiting):
            if start_ms + window_s * 1000 + _LATE_MS <= now_ms:
                row = waiting.pop((lease_id, start_ms))
                if gate.owns(row.tenant, row.agent, lease_id):
                    await publish(lease_id, start_ms, row)
