"""How busy leased devices are. Money never depends on it: lossy transport is fine."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bidplane_topics.event import Count, Event, Millis
from bidplane_topics.ids import Name


class DeviceSampled(Event, frozen=True, kw_only=True):
    """One reading of one leased device by its agent or an exporter."""

    tenant: Name
    agent: Name
    lease_id: str
    node: str
    device: str
    busy_permille: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    memory_mib: Count = 0
    at_ms: Millis


class UsageMeasured(Event, frozen=True, kw_only=True):
    """A lease's readings in one tumbling window: how many, and their mean."""

    lease_id: str
    tenant: Name
    agent: Name
    window_start_ms: Millis
    window_end_ms: Millis
    samples: Count
    busy_permille_mean: Count
    memory_mib_max: Count
