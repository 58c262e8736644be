"""Every reason to say no. Declaration order is precedence: the first that applies is the one told.

Each alternative of a bid has a reason of its own; the one that got furthest is told.

``is_transient`` says whether the same bid may succeed later without change.
"""

from __future__ import annotations

import enum
from typing import assert_never


class Rejection(enum.StrEnum):
    """Why a record, a bid, an order or a lease was refused or ended."""

    # -- the record: dead letters only, since nobody is proven to have sent it
    OVERSIZED = "oversized"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    MALFORMED = "malformed"
    MISROUTED = "misrouted"
    UNKNOWN_AGENT = "unknown_agent"
    CONFLICT = "conflict"
    # -- the command: judged by the accounts lane
    REPLAYED = "replayed"
    EXPIRED = "expired"
    UNSUPPORTED = "unsupported"
    UNKNOWN_MARKET = "unknown_market"
    UNKNOWN_BID = "unknown_bid"
    UNKNOWN_LEASE = "unknown_lease"
    UNKNOWN_OFFER = "unknown_offer"
    NO_FUNDS = "no_funds"
    TOO_MANY_ORDERS = "too_many_orders"
    # -- the order: judged by the markets lane
    MARKET_REMOVED = "market_removed"
    VALUE_TOO_LARGE = "value_too_large"
    TOO_LONG = "too_long"
    NO_MATCHING_POOL = "no_matching_pool"
    SHAPE_NOT_SOLD = "shape_not_sold"
    BELOW_RESERVE = "below_reserve"
    LEASE_NOT_BOUND = "lease_not_bound"
    LEASE_ENDED = "lease_ended"
    NOT_RENEWABLE = "not_renewable"
    RENEWAL_OPEN = "renewal_open"
    RENEWAL_CLOSED = "renewal_closed"
    # -- the clearing
    SUPPLY_STALE = "supply_stale"
    NO_CAPACITY = "no_capacity"
    OUTBID = "outbid"
    # -- the lease
    PENDING_TIMEOUT = "pending_timeout"
    BIND_TIMEOUT = "bind_timeout"
    BIND_FAILED = "bind_failed"
    NODE_LOST = "node_lost"
    SALE_FAILED = "sale_failed"


def is_transient(reason: Rejection) -> bool:  # noqa: C901, PLR0911, PLR0912 - one exhaustive match
    """Whether the same bid, signed anew, may succeed later."""
    match reason:
        case Rejection.OVERSIZED | Rejection.UNSIGNED | Rejection.FORGED | Rejection.MALFORMED:
            return False
        case Rejection.UNKNOWN_KEY | Rejection.UNKNOWN_AGENT:
            return True  # registration may still be on its way
        case Rejection.MISROUTED | Rejection.CONFLICT | Rejection.UNSUPPORTED:
            return False
        case Rejection.REPLAYED | Rejection.EXPIRED:
            return True
        case Rejection.UNKNOWN_MARKET | Rejection.MARKET_REMOVED:
            return True
        case Rejection.UNKNOWN_BID | Rejection.UNKNOWN_LEASE | Rejection.LEASE_ENDED:
            return False
        case Rejection.UNKNOWN_OFFER:
            return False
        case Rejection.NO_FUNDS | Rejection.TOO_MANY_ORDERS | Rejection.LEASE_NOT_BOUND:
            return True
        case Rejection.NOT_RENEWABLE:
            return False
        case Rejection.RENEWAL_OPEN | Rejection.RENEWAL_CLOSED:
            return True
        case Rejection.SUPPLY_STALE | Rejection.NO_CAPACITY | Rejection.OUTBID:
            return True
        case Rejection.VALUE_TOO_LARGE | Rejection.TOO_LONG:
            return False
        case Rejection.NO_MATCHING_POOL | Rejection.SHAPE_NOT_SOLD | Rejection.BELOW_RESERVE:
            return True
        case Rejection.BIND_TIMEOUT | Rejection.BIND_FAILED | Rejection.NODE_LOST:
            return True
        case Rejection.PENDING_TIMEOUT | Rejection.SALE_FAILED:
            return True
        case _:
            assert_never(reason)


_SENTENCES: dict[Rejection, str] = {
    Rejection.OVERSIZED: "The record is larger than 64 KiB: send fewer commands in one record.",
    Rejection.UNSIGNED: "The record lacks the headers bidplane-key and bidplane-signature.",
    Rejection.UNKNOWN_KEY: "No registered agent has this key, or the key is not valid now.",
    Rejection.FORGED: "The signature does not match the record.",
    Rejection.MALFORMED: "The record does not decode.",
    Rejection.MISROUTED: "The record is on a partition that is not its own.",
    Rejection.UNKNOWN_AGENT: "No such agent is registered.",
    Rejection.CONFLICT: "The record contradicts what an earlier one has fixed.",
    Rejection.REPLAYED: "The sequence is not above the last one of this key: sign it anew.",
    Rejection.EXPIRED: "Its time was over: it came too late, or rested and won in no window.",
    Rejection.UNSUPPORTED: "This version does not know the command yet.",
    Rejection.UNKNOWN_MARKET: "No such market: see `bidplane market list`.",
    Rejection.UNKNOWN_BID: "No such order of yours is in a book: it is settled or never was.",
    Rejection.UNKNOWN_LEASE: "You hold no such lease.",
    Rejection.UNKNOWN_OFFER: "No such offer to you stands: ask the holder for its newest offer.",
    Rejection.NO_FUNDS: "Nothing is available, or less than the offer costs: `bidplane balance`.",
    Rejection.TOO_MANY_ORDERS: "You have 4,096 open orders: wait for them, or cancel some.",
    Rejection.MARKET_REMOVED: "The market was removed before the order could be cleared.",
    Rejection.VALUE_TOO_LARGE: "The value is beyond what the market can compare (2^42).",
    Rejection.TOO_LONG: "Every alternative lasts longer than the market allows.",
    Rejection.NO_MATCHING_POOL: "No pool meets a selector of the bid: see `bidplane market pools`.",
    Rejection.SHAPE_NOT_SOLD: "No matching pool could hold the shape even when empty.",
    Rejection.BELOW_RESERVE: "The value is below the reserve of every matching pool.",
    Rejection.LEASE_NOT_BOUND: "The lease's newest term has not begun: try again when it has.",
    Rejection.LEASE_ENDED: "The lease was already ending when the request was applied.",
    Rejection.NOT_RENEWABLE: "Only 1, 2, 4 or 8 whole devices of one node are renewed, as one.",
    Rejection.RENEWAL_OPEN: "A renewal of this lease is in the book: cancel that one first.",
    Rejection.RENEWAL_CLOSED: "The lease's devices are not on sale while they are in use.",
    Rejection.SUPPLY_STALE: "The sink of this market was silent, so nothing was sold.",
    Rejection.NO_CAPACITY: "No free devices could hold the shape in this window.",
    Rejection.OUTBID: "Bids of higher value per unit took the devices.",
    Rejection.PENDING_TIMEOUT: "The last holder did not leave in time; you were refunded in full.",
    Rejection.BIND_TIMEOUT: "The claims did not stand in time; you were refunded in full.",
    Rejection.BIND_FAILED: "The claims could not be made; you were refunded in full.",
    Rejection.NODE_LOST: "The node was lost; the unused part was refunded.",
    Rejection.SALE_FAILED: "The buyer's lease never stood; the unused part was refunded.",
}  # fmt: skip


def sentence(reason: Rejection) -> str:
    """What the agent reads: what happened and the next step."""
    return _SENTENCES[reason]
