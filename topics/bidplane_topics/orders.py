"""What the accounts lane lets into a market: authenticated, with money held.

``source`` is the accounts partition and ``seq`` grows by one per (source, market partition): a gap
stops the reader, since it would mean lost money.
"""

from __future__ import annotations

from typing import Literal

from bidplane_topics.bids import Alternative
from bidplane_topics.event import Count, Event, Millis
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros


class OrderPlaced(Event, frozen=True, kw_only=True):
    """An admitted bid. ``value_micros`` is per level if elastic; the hold is value · level_max.

    ``seal`` is the hex SHA-256 of the signature over the bid's envelope: the bidder and whoever may
    read bids or orders know it, nobody else. It salts receipts, so it must not be told further.
    ``renews`` names the lease whose next term it is for.
    """

    bid_id: str
    tenant: Name
    agent: Name
    market: Name
    source: Count
    seq: Count
    sequence: Count
    index: Count
    mode: Literal["rigid", "elastic"]
    value_micros: Micros
    level_min: Count = 1
    level_max: Count = 1
    not_before_ms: Millis = 0
    rest_until_ms: Millis = 0
    alternatives: tuple[Alternative, ...]
    seal: str = ""
    renews: str = ""


class CancelRequested(Event, frozen=True, kw_only=True):
    """The bidder asks to take an order out; the market settles it if it is still in the book."""

    bid_id: str
    tenant: Name
    agent: Name
    market: Name
    source: Count
    seq: Count


class OfferMade(Event, frozen=True, kw_only=True):
    """The holder offers its lease to the agent ``to`` (``tenant/name``) for ``price_micros``.

    A newer offer of the lease takes its place. ``command_id`` is answered by ``offered``.
    """

    offer_id: str
    command_id: str
    lease_id: str
    bid_id: str
    tenant: Name
    agent: Name
    market: Name
    to: str
    price_micros: Micros
    source: Count
    seq: Count


class OfferAccepted(Event, frozen=True, kw_only=True):
    """A buyer takes an offer; ``price_micros`` is held for it. ``bid_id`` is its command's id."""

    offer_id: str
    lease_id: str
    bid_id: str
    tenant: Name
    agent: Name
    market: Name
    price_micros: Micros
    source: Count
    seq: Count


class ReleaseRequested(Event, frozen=True, kw_only=True):
    """The holder gives a lease back before its end."""

    lease_id: str
    bid_id: str
    tenant: Name
    agent: Name
    market: Name
    source: Count
    seq: Count
