"""Which outcome is bad news for whom: kinds of outcomes become exceptions.

Decides nothing else; the market judged already.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bidplane_agents import errors
from bidplane_topics.outcomes import OutcomeReported

_REFUSALS: Final[dict[str, type[errors.Refusal]]] = {
    "refused": errors.BidRefused,
    "replayed": errors.BidRefused,
    "declined": errors.CommandDeclined,
    "lost": errors.BidLost,
    "cancelled": errors.BidLost,
    "expired": errors.BidLost,
    "voided": errors.LeaseVoided,
    "ending": errors.LeaseVoided,
    "ended": errors.LeaseVoided,
    "transferred": errors.LeaseVoided,
}


def refusal(outcome: OutcomeReported, hoped_for: Collection[str]) -> errors.Refusal | None:
    """The exception for ``outcome``, or None while one of the kinds hoped for may still come."""
    if outcome.kind in ("ending", "transferred") and "ended" in hoped_for:
        return None
    kind = _REFUSALS.get(outcome.kind)
    return None if kind is None else kind(outcome)
