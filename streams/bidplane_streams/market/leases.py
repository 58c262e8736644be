"""The life of a lease: one pure state machine, and what it refunds.

Decides which step follows from which event: (pending →) awarded → bound → notice → ending → ended,
where any live state may go to ending. Refuses to know money's accounts or devices; the first event
applied wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from bidplane_topics.leases import EndCause, LeaseChanged
from bidplane_topics.money import share_floor

Row = LeaseChanged
Cause = Literal[
    "expired", "released", "pending_timeout", "bind_timeout", "bind_failed", "node_lost",
    "market_removed", "transferred",
]  # fmt: skip
LIVE = frozenset({"pending", "awarded", "bound", "notice"})
# Causes that are nobody's doing but the platform's, whose unused part comes back in full; a
# transfer's goes over to the buyer in full.
_IN_FULL: frozenset[EndCause] = frozenset(
    {"pending_timeout", "bind_timeout", "bind_failed", "node_lost", "market_removed", "transferred"}
)


class Term(NamedTuple):
    """What was paid for which time: a lease that was renewed may still be in an earlier one."""

    price_micros: int
    duration_ms: int
    ends_at_ms: int


def occupies(lease: Row) -> bool:
    """Whether claims of it may stand: never before it was awarded, not even while it ends."""
    return lease.bind_by_ms > 0 and lease.state != "ended"


def awarded(lease: Row, bind_by_ms: int) -> Row | None:
    """Nobody else holds the devices any more: the claims may stand. None if it does not wait."""
    if lease.state != "pending":
        return None
    return msgspec.structs.replace(lease, state="awarded", bind_by_ms=bind_by_ms)


def bound(lease: Row, at_ms: int, epoch: int) -> Row | None:
    """The claims stand: the clock starts. None where the report is late or of another epoch."""
    if lease.state != "awarded" or lease.epoch != epoch:
        return None
    return msgspec.structs.replace(
        lease, state="bound", bound_at_ms=at_ms, ends_at_ms=at_ms + lease.duration_ms
    )


def last_epoch(lease: Row) -> int:
    """The epoch that it will end with: whoever comes next needs a higher one."""
    return lease.epoch + (lease.state in LIVE)


def renewed(lease: Row, bid_id: str, price_micros: int, duration_ms: int) -> Row | None:
    """One term more, from the end of the last one on. None where the lease does not stand."""
    if lease.state != "bound":
        return None
    return msgspec.structs.replace(
        lease, price_micros=price_micros, duration_ms=duration_ms, term=lease.term + 1,
        ends_at_ms=lease.ends_at_ms + duration_ms, renewed_by=bid_id,
    )  # fmt: skip


def due(lease: Row, now_ms: int, grace_ms: int) -> Row | None:
    """The step that time alone causes at ``now_ms``, or None."""
    if lease.state == "pending" and now_ms >= lease.pending_until_ms:
        return ending(lease, "pending_timeout")
    if lease.state == "awarded" and now_ms >= lease.bind_by_ms:
        return ending(lease, "bind_timeout")
    if lease.state == "bound" and lease.standing and now_ms >= lease.ends_at_ms + grace_ms:
        return ending(lease, "expired")
    if lease.state == "bound" and now_ms >= lease.ends_at_ms:
        return msgspec.structs.replace(
            lease, state="notice", grace_until_ms=lease.ends_at_ms + grace_ms
        )
    if lease.state == "notice" and now_ms >= lease.grace_until_ms:
        return ending(lease, "expired")
    return None


def due_at_ms(lease: Row) -> int | None:
    """When ``due`` will next have something to say; None while only a report can move the lease."""
    match lease.state:
        case "pending":
            return lease.pending_until_ms
        case "awarded":
            return lease.bind_by_ms
        case "bound":
            return lease.ends_at_ms
        case "notice":
            return lease.grace_until_ms
        case _:
            return None


def ending(lease: Row, cause: Cause) -> Row | None:
    """Start the end: the epoch grows, so nothing the holder still writes counts. None if begun."""
    if lease.state not in LIVE:
        return None
    return msgspec.structs.replace(lease, state="ending", cause=cause, epoch=lease.epoch + 1)


def released(lease: Row, epoch: int) -> Row | None:
    """The sink confirms that nothing holds the devices. None unless it answers this very ending."""
    if lease.state != "ending" or lease.epoch != epoch:
        return None
    return msgspec.structs.replace(lease, state="ended")


def refund_micros(
    lease: Row, now_ms: int, slot_ms: int, fee_micros: int, earlier: Iterable[Term] = ()
) -> int:
    """What an ending lease gives back: whole unused slots, pro rata; a fee if the holder chose it.

    A lease that never was bound was never used. ``earlier``: the terms before the newest one, each
    of which has its own price.
    """
    newest = Term(lease.price_micros, lease.duration_ms, lease.ends_at_ms)
    unused = sum(_unused_micros(one, now_ms, slot_ms) for one in (newest, *earlier))
    return unused if lease.cause in _IN_FULL else max(0, unused - fee_micros)


def _unused_micros(term: Term, now_ms: int, slot_ms: int) -> int:
    slots = -(-term.duration_ms // slot_ms)
    used = 0
    if term.ends_at_ms:
        begun_ms = term.ends_at_ms - term.duration_ms
        used = min(slots, max(0, -(-(now_ms - begun_ms) // slot_ms)))
    return share_floor(term.price_micros, slots - used, slots)
