"""Credit on its way from an organisation to a tenant: from one partition of accounts to another.

No transaction spans partitions, so the sender debits its account and writes a record, and the
receiver credits once for every ``transfer_id``. Who cannot take the money sends it back.
"""

from __future__ import annotations

from bidplane_topics.event import Count, Event
from bidplane_topics.ids import MaybeName, Name
from bidplane_topics.money import Micros
from bidplane_topics.rejections import Rejection


class CreditSent(Event, frozen=True, kw_only=True):
    """On the tenant's partition: the organisation has paid; the tenant (or its agent) gets it."""

    transfer_id: str
    organisation: Name
    organisation_partition: Count
    tenant: Name
    agent: MaybeName = ""
    amount_micros: Micros


class CreditReturned(Event, frozen=True, kw_only=True):
    """On the organisation's partition: nobody took the money, and why; it goes back."""

    transfer_id: str
    organisation: Name
    tenant: Name
    agent: MaybeName = ""
    amount_micros: Micros
    reason: Rejection
