"""An offer's id: it says everything that the buyer's side must know to hold the price.

Decides how an offer is written as one word and read again. Refuses to know whether it stands: the
market alone does. The check digits catch a slip of the hand; they prove nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bidplane_topics import ids
from bidplane_topics.errors import ContractError
from bidplane_topics.money import MICROS_MAX

_WORD: Final = "offer"
_CHECK_DIGITS: Final = 12


class Terms(msgspec.Struct, frozen=True):
    """A lease of ``market``, for the agent ``to`` (``tenant/name``), at this price."""

    market: str
    lease_id: str
    to: str
    price_micros: int


def offer_id(terms: Terms) -> str:
    """``offer:MARKET:LEASE:TENANT/NAME:MICROS:CHECK``; the same terms have the same id."""
    words = (_WORD, terms.market, terms.lease_id, terms.to, str(terms.price_micros))
    return ":".join((*words, ids.digest(*words)[:_CHECK_DIGITS]))


def terms_of(text: str) -> Terms | None:
    """What an offer's id says; None where nobody can have written it so."""
    parts = text.split(":")
    if len(parts) != 6 or not parts[4].isdecimal():
        return None
    terms = Terms(market=parts[1], lease_id=parts[2], to=parts[3], price_micros=int(parts[4]))
    known = terms.price_micros <= MICROS_MAX and is_agent(terms.to)
    return terms if known and offer_id(terms) == text else None


def is_agent(text: str) -> bool:
    """Whether this is ``tenant/name``."""
    try:
        ids.split_agent(text)
    except ContractError:
        return False
    return True
