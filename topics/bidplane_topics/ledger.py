"""Money that moved, and the market's instruction to move it.

Every entry balances between two accounts. Accounts are named ``treasury``, ``revenue``,
``tenant/T``, ``agent/T/A`` (available) and ``hold/T/A``; only treasury and revenue may go negative.
"""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Part
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

EntryKind = Literal["grant", "refill", "hold", "charge", "unhold", "refund"]
SettlementCause = Literal["refused", "lost", "won", "cancelled", "expired", "voided", "ended"]


class Origin(Part, frozen=True, kw_only=True):
    """The record that caused an entry, and the entry's place among those it caused."""

    topic: str
    partition: Count
    offset: Count
    index: Count = 0


class LedgerPosted(Event, frozen=True, kw_only=True):
    """``amount_micros`` moved from ``debit`` to ``credit``. Audits follow ledger order."""

    entry_id: str
    kind: EntryKind
    debit: str
    credit: str
    amount_micros: Micros
    tenant: Name
    agent: str
    reference: str
    origin: Origin
    at_ms: Count


class Settled(Event, frozen=True, kw_only=True):
    """The market's word on an order's money; ``source`` is its partition, seq grows by one.

    won: charge ``charge_micros`` from the hold, free the rest. refused, lost, cancelled, expired:
    free the whole hold. voided, ended: give ``refund_micros`` back from revenue; the lease is over.
    """

    settlement_id: str
    market: Name
    bid_id: str
    tenant: Name
    agent: Name
    cause: SettlementCause
    charge_micros: Micros = 0
    refund_micros: Micros = 0
    lease_id: str = ""
    epoch: Count = 0
    source: Count
    seq: Count
