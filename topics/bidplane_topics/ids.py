"""Names and content-derived ids.

Decides what a name may look like and how an id follows from what it identifies, so that a repeated
record has the same id and deduplicates itself. Refuses counters, clocks and randomness.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

import msgspec

from bidplane_topics.errors import ContractError

# A name becomes part of Kubernetes names (63 characters) and Kafka topics, so it is a short DNS
# label.
# It ends with a lookahead, since "$" also matches before a newline, in Python as in most languages.
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?(?![\s\S])"
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]

# The same, or nothing: for events that speak of an organisation or of a tenant.
MaybeName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN + r"|^(?![\s\S])")]

_NAME = re.compile(NAME_PATTERN)
ORGANISATION: Final = "org:"


def check_name(what: str, text: str) -> str:
    """Return ``text`` if it is a name, for command lines.

    Raises:
        ContractError: it is not; says what a name may hold.
    """
    if _NAME.match(text) is None:
        raise ContractError(
            f"{what} {text!r}: use 1 to 32 lower-case letters, digits and inner hyphens"
        )
    return text


def split_agent(agent_id: str) -> tuple[str, str]:
    """Split ``tenant/name`` and check both.

    Raises:
        ContractError: it is not of that form.
    """
    tenant, slash, name = agent_id.partition("/")
    if not slash:
        raise ContractError(f"agent {agent_id!r}: write it as TENANT/NAME")
    return check_name("tenant", tenant), check_name("agent", name)


def agent_id(tenant: str, agent: str) -> str:
    """An agent's id: ``tenant/name``."""
    return f"{tenant}/{agent}"


def organisation_id(organisation: str) -> str:
    """An organisation's id: ``org:name``, which no tenant and no agent can be called."""
    return f"{ORGANISATION}{organisation}"


def bid_id(tenant: str, agent: str, key_id: str, sequence: int, index: int) -> str:
    """A bid's id follows from who signed it and where it stood, so it cannot be ground for ties."""
    return f"{tenant}/{agent}/{key_id}/{sequence}/{index}"


def agent_of_bid(bid: str) -> tuple[str, str] | None:
    """The (tenant, agent) that a bid id names, or None where it is no bid id."""
    parts = bid.split("/")
    return (parts[0], parts[1]) if len(parts) == 5 else None


def lease_id(market: str, bid: str) -> str:
    """A lease's id: one award per bid, so (market, bid) names it. Fits a Kubernetes name."""
    return "l" + digest("lease", market, bid)[:24]


def key_id(public_key: bytes) -> str:
    """A signing key's id: the start of its SHA-256, so two keys cannot share one by accident."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def joined(*parts: object) -> str:
    """A readable compound id, e.g. of a settlement: (market, bid, cause, epoch)."""
    return "|".join(map(str, parts))


def digest(*parts: str) -> str:
    """SHA-256 over length-prefixed parts: no two lists of parts give the same bytes."""
    pieces: list[bytes] = []
    for part in parts:
        raw = part.encode()
        pieces += (len(raw).to_bytes(4, "big"), raw)
    return hashlib.sha256(b"".join(pieces)).hexdigest()
