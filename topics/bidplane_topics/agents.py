"""Who may bid, and who gives them money: written by operators, read by the accounts lane.

A tenant lives on one partition, named explicitly; its agents are sub-accounts there, so one place
judges the tenant's and the agent's limits.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

FOREVER_MS = 2**53 - 1


class TenantRegistered(Event, frozen=True, kw_only=True):
    """A tenant, and the partition of every topic that is partitioned by tenant."""

    tenant: Name
    partition: Count


class AgentKey(Part, frozen=True, kw_only=True):
    """A public Ed25519 key (base64) and when it counts, by the broker's append time."""

    key_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$", max_length=16)]
    public_key: Annotated[str, msgspec.Meta(min_length=44, max_length=44)]
    not_before_ms: Millis = 0
    not_after_ms: Millis = FOREVER_MS


class AgentRegistered(Event, frozen=True, kw_only=True):
    """An agent with all of its keys; ``cluster`` asks for a control plane of its own."""

    tenant: Name
    agent: Name
    keys: tuple[AgentKey, ...]
    cluster: bool = False


class CreditGranted(Event, frozen=True, kw_only=True):
    """Money moves down the tree: from the treasury to a tenant, or from a tenant to its agent.

    ``agent`` empty credits the tenant's own account. ``source`` "treasury" passes through the
    tenant in one step; "tenant" takes what the tenant already has and is refused beyond it.
    """

    grant_id: str
    tenant: Name
    agent: str = ""
    amount_micros: Micros
    source: Literal["treasury", "tenant"] = "treasury"


class RefillSet(Event, frozen=True, kw_only=True):
    """From now on the agent gets ``amount_micros`` from the treasury for every whole period."""

    tenant: Name
    agent: Name
    amount_micros: Micros
    period_ms: Annotated[int, msgspec.Meta(ge=1000, le=2**53 - 1)]
