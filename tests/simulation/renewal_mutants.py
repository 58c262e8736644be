"""Ways to falsify what a log says of leases that are renewed.

Decides nothing but which record lies; how, audit_mutants.py says.
"""

from __future__ import annotations

from typing import Any

from bidplane_topics import registry as R  # noqa: N812 - a table of topics reads best so
from simulation.audit_mutants import Mutant, add, alter, drop, put


def _renewed(event: dict[str, Any]) -> bool:
    return bool(event["state"] == "bound" and event["term"])


def _for_another_term(event: dict[str, Any]) -> bool:
    return event["type"] == "order_placed" and bool(event["renews"])


def _word_of_a_term(event: dict[str, Any]) -> bool:
    return bool(event["kind"] == "won" and event["outcome_id"].count("|") == 3)


MUTANTS: dict[str, Mutant] = {
    "let a term last longer": alter(R.LEASES, add("ends_at_ms", 1), _renewed),
    "sell a term for less": alter(R.LEASES, add("price_micros", -1), _renewed),
    "give a term away uncounted": alter(R.LEASES, add("term", 1), _renewed),
    "fence a holder that stays": alter(R.LEASES, add("epoch", 1), _renewed),
    "renew for another bid": alter(R.LEASES, put(renewed_by="nobody"), _renewed),
    "renew another lease": alter(R.ORDERS, put(renews="l0"), _for_another_term),
    "make a renewal any bid": alter(R.ORDERS, put(renews=""), _for_another_term),
    "hush a renewal": drop(R.OUTCOMES, _word_of_a_term),
    "tell another end of a term": alter(R.OUTCOMES, add("ends_at_ms", 1), _word_of_a_term),
}  # fmt: skip
