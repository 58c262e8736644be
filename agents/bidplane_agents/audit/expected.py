"""Outputs that a market should have written, held against what it wrote.

Decides whether an output is there, once and right. Refuses to know why it should be.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from bidplane_agents.audit.answers import worded
from bidplane_agents.audit.books import Books, missing
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.findings import Findings
from bidplane_topics import ids, registry
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection

_ORDER: tuple[str, ...] = ("pending", "awarded", "bound", "notice", "ending", "ended")
# Which promise a field of a lease belongs to, where it is not the third.
_PROMISE_OF_FIELD = {
    "devices": 4, "nodes": 4, "shape": 4, "level": 4, "market_pool": 4, "price_micros": 5,
}  # fmt: skip


def _step(lease: LeaseChanged) -> tuple[int, int]:
    """How far a lease is on its way; while it is bound its terms count up."""
    return _ORDER.index(lease.state), lease.term


class Expected:
    """Claims a market's outputs and judges them into ``findings``."""

    def __init__(self, books: Books, partition: int, findings: Findings) -> None:
        """``partition`` of the market."""
        self.books, self.partition, self.findings = books, partition, findings

    def awarded_lease(self, lease_id: str) -> Seen | None:
        """The earliest record of a lease that is kept: it names the devices awarded."""
        return self.books.first_of_lease.get(lease_id)

    def lease(self, wanted: LeaseChanged, at_ms: int) -> None:
        """A lease is published in this state."""
        seen = self.books.leases.claim((wanted.lease_id, wanted.state, wanted.term))
        if seen is None:
            last = self.books.last_of_lease.get(wanted.lease_id)
            later = last is not None and _step(last.event) > _step(wanted)
            self.findings.check(
                3, later, missing(registry.LEASES, self.partition, at_ms),
                f"lease {wanted.lease_id}", wanted.state, "no such record",
            )  # fmt: skip
            return
        found: LeaseChanged = seen.event
        promise = next(
            (promise for field, promise in _PROMISE_OF_FIELD.items()
             if getattr(found, field) != getattr(wanted, field)), 3,
        )  # fmt: skip
        self.findings.same(promise, wanted, found, seen.record, f"lease {wanted.lease_id}")
        self._place(seen, self.partition, 3)

    def settled(self, wanted: Settled, source: int, at_ms: int) -> None:
        """The accounts partition ``source`` is told what becomes of the money."""
        seen = self.books.settlements.claim(wanted.settlement_id)
        if seen is None:
            self.findings.check(
                2, False, missing(registry.SETTLEMENTS, source, at_ms),
                f"settlement {wanted.settlement_id}", "a record", "none",
            )  # fmt: skip
            return
        promise = 5 if seen.event.charge_micros != wanted.charge_micros else 2
        what = f"settlement {wanted.settlement_id}"
        self.findings.same(promise, wanted, seen.event, seen.record, what)
        self._place(seen, source, 2)

    def told(
        self, wanted: OutcomeReported, source: int, reasons: Collection[Rejection] = ()
    ) -> None:
        """The agent is told, with one of ``reasons``; the evidence is for it alone to judge."""
        seen = self.books.outcomes.claim(wanted.outcome_id)
        if seen is None:
            owed = self.books.owed_outcome(source, wanted.at_ms)
            self.findings.check(
                1, not owed, missing(registry.OUTCOMES, source, wanted.at_ms),
                f"outcome {wanted.outcome_id}", "a record", "none",
            )  # fmt: skip
            return
        found: OutcomeReported = seen.event
        reason = found.reason
        right = reason in reasons if reasons else reason is None
        self.findings.check(
            1, right, seen.record, f"why {wanted.outcome_id}", sorted(reasons) or "none", reason
        )
        wanted = msgspec.structs.replace(
            wanted, reason=reason, sentence=worded(found), evidence=found.evidence, v=found.v,
        )  # fmt: skip
        priced = (wanted.price_micros, wanted.receipt) == (found.price_micros, found.receipt)
        promise = 1 if priced else 5
        self.findings.same(promise, wanted, found, seen.record, f"outcome {wanted.outcome_id}")
        self._place(seen, source, 1)

    def _place(self, seen: Seen, partition: int, promise: int) -> None:
        if seen.record.partition != partition:
            self.findings.same(
                promise, partition, seen.record.partition, seen.record, "its partition"
            )


def settlement(
    lease_or_order: tuple[str, str, str, str], cause: str, epoch: int, *, lease_id: str = "",
    charge_micros: int = 0, refund_micros: int = 0, paid_micros: int = 0,
    refundable_micros: int = 0, source: int, seq: int,
) -> Settled:  # fmt: skip
    """A settlement of (market, bid, tenant, agent)."""
    market, bid, tenant, agent = lease_or_order
    return Settled(
        settlement_id=ids.joined(market, bid, cause, epoch), market=market, bid_id=bid,
        tenant=tenant, agent=agent, cause=cause, charge_micros=charge_micros,  # type: ignore[arg-type]
        refund_micros=refund_micros, paid_micros=paid_micros,
        refundable_micros=refundable_micros, lease_id=lease_id, epoch=epoch, source=source, seq=seq,
    )  # fmt: skip
