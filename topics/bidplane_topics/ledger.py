"""Money that moved, and the market's instruction to move it.

Every entry balances between two accounts. Accounts are named ``treasury``, ``revenue``, ``expired``
(what decayed), ``transit`` (on its way between partitions), ``organisation/O``, ``tenant/T``,
``agent/T/A`` (available) and ``hold/T/A``. Only treasury, revenue and transit may go negative; over
all partitions transit is what one side of a transfer has still to book.
"""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Part
from bidplane_topics.ids import MaybeName, Name
from bidplane_topics.money import Micros

EntryKind = Literal[
    "grant", "refill", "hold", "charge", "unhold", "refund", "decay", "transit", "transfer"
]  # fmt: skip
SettlementCause = Literal[
    "refused", "lost", "won", "cancelled", "expired", "voided", "ended", "declined", "bought",
    "sold",
]  # fmt: skip


class Origin(Part, frozen=True, kw_only=True):
    """The record that caused an entry, and the entry's place among those it caused."""

    topic: str
    partition: Count
    offset: Count
    index: Count = 0


class LedgerPosted(Event, frozen=True, kw_only=True):
    """``amount_micros`` moved from ``debit`` to ``credit``. Audits follow ledger order.

    The reference of a refill or decay is the account and the period's end: ``account|until_ms``.
    ``tenant`` is empty in an entry that concerns an organisation alone.
    """

    entry_id: str
    kind: EntryKind
    debit: str
    credit: str
    amount_micros: Micros
    tenant: MaybeName
    agent: str
    organisation: MaybeName = ""
    reference: str
    origin: Origin
    at_ms: Count


class Settled(Event, frozen=True, kw_only=True):
    """The market's word on an order's money; ``source`` is its partition, seq grows by one.

    won: charge ``charge_micros`` from the hold, free the rest. refused, lost, cancelled, expired:
    free the whole hold. voided, ended: give ``refund_micros`` back from revenue; the lease is over.

    A lease that one agent sells to another has two: bought moves ``charge_micros`` from the buyer's
    hold to transit, and its lease may later get ``refundable_micros`` back at most; sold moves
    ``paid_micros`` from transit to the seller, whose lease is over. declined: an acceptance came to
    nothing, free its whole hold.
    """

    settlement_id: str
    market: Name
    bid_id: str
    tenant: Name
    agent: Name
    cause: SettlementCause
    charge_micros: Micros = 0
    refund_micros: Micros = 0
    paid_micros: Micros = 0
    refundable_micros: Micros = 0
    lease_id: str = ""
    epoch: Count = 0
    source: Count
    seq: Count
