"""What a settlement moves, and what becomes of the money held for orders and paid for leases.

Decides the movements of each cause. Refuses to know why a market settled so: its replay does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.findings import Findings
from bidplane_topics import ids
from bidplane_topics.ledger import EntryKind, Settled

REVENUE: Final = "revenue"
TRANSIT: Final = "transit"
# What a lease ends with, and what an order or an acceptance does.
REFUNDS: Final = frozenset({"voided", "ended"})
LEASE_ENDS: Final = REFUNDS | {"sold"}
_UNKNOWN: Final = 2**53


class Route(NamedTuple):
    """Money from one account to another."""

    kind: EntryKind
    debit: str
    credit: str
    amount_micros: int


def available(agent_id: str) -> str:
    """The account an agent bids from."""
    return f"agent/{agent_id}"


def hold(agent_id: str) -> str:
    """The account of what is reserved for an agent's orders."""
    return f"hold/{agent_id}"


class Settlements:
    """Money held for each order until its settlement; and what each lease may give back."""

    def __init__(self, settled: Sequence[Seen], findings: Findings) -> None:
        """``settled``: all settlements of the partition."""
        self.findings = findings
        self.held: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        # A lease that was given away moved no money, and no entry tells of it.
        self._given = {
            one.event.lease_id: one.event.refundable_micros
            for one in settled
            if one.event.cause == "bought" and one.event.charge_micros == 0
        }

    def routes(self, cause: Seen) -> list[Route]:
        """What a settlement moves."""
        event: Settled = cause.event
        owner = ids.agent_id(event.tenant, event.agent)
        if event.cause in REFUNDS:
            self._lease_over(cause, "a refund", event.refund_micros)
            found = [Route("refund", REVENUE, available(owner), event.refund_micros)]
        elif event.cause == "sold":
            self._lease_over(cause, "a sale's refund", 0)
            found = [Route("transfer", TRANSIT, available(owner), event.paid_micros)]
        else:
            found = self._order_over(cause, owner)
        return [one for one in found if one.amount_micros]

    def _lease_over(self, cause: Seen, what: str, refund_micros: int) -> None:
        lease_id = cause.event.lease_id
        paid = self.paid.pop(lease_id, self._given.pop(lease_id, None))
        self.findings.check(
            2, paid is not None and refund_micros <= paid, cause.record, what,
            f"at most the {paid} paid, once", refund_micros,
        )  # fmt: skip

    def _order_over(self, cause: Seen, owner: str) -> list[Route]:
        event: Settled = cause.event
        dealt = event.cause in ("bought", "declined")
        # Of an offer for nothing no entry says that it was accepted: the replay does.
        held = self.held.pop(event.bid_id, 0 if dealt else None)
        self.findings.check(
            5, held is not None and event.charge_micros <= held, cause.record, "a charge",
            f"at most the {held} held for the order, once", event.charge_micros,
        )  # fmt: skip
        self.findings.check(
            5, event.cause in ("won", "bought") or event.charge_micros == 0, cause.record,
            f"the charge of an order that ended as {event.cause}", 0, event.charge_micros,
        )  # fmt: skip
        if event.cause == "bought":
            self.paid[event.lease_id] = event.refundable_micros
            self.findings.same(5, held, event.charge_micros, cause.record, "the price of a sale")
            return [Route("transfer", hold(owner), TRANSIT, event.charge_micros)]
        if event.cause == "won":  # a renewal pays for another term of the same lease
            before = self.paid.get(event.lease_id, 0)
            self.paid[event.lease_id] = min(_UNKNOWN, before + event.charge_micros)
        return [
            Route("charge", hold(owner), REVENUE, event.charge_micros),
            Route("unhold", hold(owner), available(owner), (held or 0) - event.charge_micros),
        ]

    def believe(self, reference: str) -> None:
        """A settlement that retention took is known from an entry: its reference names it."""
        parts = reference.split("|")
        if len(parts) != 4 or parts[2] in REFUNDS:
            return
        market, bid, cause, _ = parts
        lease_id = ids.lease_id(market, bid)
        if cause == "sold":
            self.paid.pop(lease_id, None)
            return
        self.held.pop(bid, None)
        # How much may come back of a sale, only the settlement said; and what a renewal paid for,
        # which may be gone too, no entry tells.
        if cause in ("won", "bought"):
            self.paid[lease_id] = _UNKNOWN
