"""One end for every order: its settlement, its outcome and its lease agree.

Decides from orders, settlements and outcomes alone, so it holds where rounds cannot be recomputed.
Refuses to know who should have won.
"""

from __future__ import annotations

from bidplane_agents.audit.books import Books, missing
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.settlements import LEASE_ENDS
from bidplane_topics import orders, registry
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported


def audit_fates(books: Books, findings: Findings) -> None:
    """Every order has at most one settlement and one terminal outcome, and both say the same."""
    settled = _settled(books)
    told = _told(books)
    for one in books.orders.all():
        order: orders.OrderPlaced = one.event
        ends, words = settled.get(order.bid_id, []), told.get(order.bid_id, [])
        for extra in (*ends[1:], *words[1:]):
            findings.check(
                1, False, extra.record, f"order {order.bid_id}", "one end", "another end"
            )
        if not ends and not words:
            continue
        _agree(books, findings, one, ends[:1], words[:1])


def _settled(books: Books) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for one in books.contents.all(registry.SETTLEMENTS):
        if one.event.cause not in LEASE_ENDS:
            found.setdefault(one.event.bid_id, []).append(one)
    return found


def _told(books: Books) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for one in books.contents.all(registry.OUTCOMES):
        event: OutcomeReported = one.event
        if event.kind in TERMINAL_BID_KINDS and event.bid_id:
            found.setdefault(event.bid_id, []).append(one)
    return found


def _agree(
    books: Books, findings: Findings, order: Seen, ends: list[Seen], words: list[Seen]
) -> None:
    event: orders.OrderPlaced = order.event
    known = [*ends, *words]
    late = any(books.contents.late(one) for one in known)
    at_ms = known[0].record.timestamp_ms
    if not ends:
        at = missing(registry.SETTLEMENTS, event.source, at_ms)
        findings.check(2, late, at, f"order {event.bid_id}", "a settlement", "none")
        return
    settlement: Settled = ends[0].event
    if not words:
        owed = books.owed_outcome(event.source, at_ms)
        at = missing(registry.OUTCOMES, event.source, at_ms)
        findings.check(1, late or not owed, at, f"order {event.bid_id}", "an outcome", "none")
    else:
        found: OutcomeReported = words[0].event
        findings.same(
            1, settlement.cause, found.kind, words[0].record, f"the end of {event.bid_id}"
        )
        why = found.kind in ("won", "cancelled") or found.reason is not None
        findings.check(1, why, words[0].record, f"the end of {event.bid_id}", "a reason", "none")
        findings.same(
            5, settlement.charge_micros, found.price_micros, words[0].record, "the price told"
        )
    most = event.value_micros * event.level_max
    findings.check(
        5, settlement.charge_micros <= most, ends[0].record, f"the charge of {event.bid_id}",
        f"at most {most}", settlement.charge_micros,
    )  # fmt: skip
    whose = (event.market, event.tenant, event.agent)
    given = (settlement.market, settlement.tenant, settlement.agent)
    findings.same(2, whose, given, ends[0].record, f"whose settlement {event.bid_id} is")
