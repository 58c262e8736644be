"""Who may bid, and who gives them money: written by operators, read by the accounts lane.

A tenant lives on one partition, named explicitly; its agents are sub-accounts there, so one place
judges the tenant's and the agent's limits. An organisation's account lives on one partition too,
its own: what it gives to a tenant travels as a record (``transit.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bidplane_topics.event import Count, Event, Millis, Part
from bidplane_topics.ids import MaybeName, Name
from bidplane_topics.money import Micros

FOREVER_MS = 2**53 - 1

Period = Annotated[int, msgspec.Meta(ge=1000, le=2**53 - 1)]
Decay = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class OrganisationRegistered(Event, frozen=True, kw_only=True):
    """An organisation, and the partition that its account lives on, for ever."""

    organisation: Name
    partition: Count


class TenantRegistered(Event, frozen=True, kw_only=True):
    """A tenant, and the partition of every topic that is partitioned by tenant.

    With an ``organisation`` its money comes from that organisation alone. Neither ever changes.
    """

    tenant: Name
    partition: Count
    organisation: MaybeName = ""


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
    tenant in one step, and is refused where the tenant belongs to an organisation; "tenant" takes
    what the tenant already has and is refused beyond it.
    """

    grant_id: str
    tenant: Name
    agent: str = ""
    amount_micros: Micros
    source: Literal["treasury", "tenant"] = "treasury"


class OrganisationFunded(Event, frozen=True, kw_only=True):
    """Money from the treasury raises what an organisation may give: its limit."""

    grant_id: str
    organisation: Name
    amount_micros: Micros


class CreditAllotted(Event, frozen=True, kw_only=True):
    """An organisation gives money to its tenant, or through it to an agent; refused beyond it.

    Written to the organisation's partition. ``tenant_partition`` is where the tenant lives.
    """

    grant_id: str
    organisation: Name
    tenant: Name
    tenant_partition: Count
    agent: MaybeName = ""
    amount_micros: Micros


class RefillSet(Event, frozen=True, kw_only=True):
    """From now on the agent gets ``amount_micros`` from the treasury for every whole period.

    A short form of ``BudgetSet``: no decay, from the treasury.
    """

    tenant: Name
    agent: Name
    amount_micros: Micros
    period_ms: Period


class BudgetSet(Event, frozen=True, kw_only=True):
    """What every whole period does to an account, from now on: first it decays, then it refills.

    The account is an organisation's (``organisation`` alone), a tenant's (``tenant`` alone) or an
    agent's (``tenant`` and ``agent``). ``decay_permille`` of what is available then, never of what
    is held, expires. ``source`` "tenant" pays an agent's refill from its tenant: a period that the
    tenant cannot pay waits until it can. "treasury" is refused for a tenant that belongs to an
    organisation, and for its agents.
    """

    organisation: MaybeName = ""
    tenant: MaybeName = ""
    agent: MaybeName = ""
    amount_micros: Micros = 0
    period_ms: Period
    decay_permille: Decay = 0
    source: Literal["treasury", "tenant"] = "treasury"

    def __post_init__(self) -> None:
        """Exactly one account, and money from above it."""
        if bool(self.organisation) == bool(self.tenant) or (self.agent and not self.tenant):
            raise ValueError("a budget names an organisation, a tenant, or a tenant and its agent")
        if self.source == "tenant" and not self.agent:
            raise ValueError("only an agent's refill can come from its tenant")
