"""Ways to falsify what a log says of leases that wait, or that agents sell each other.

Decides nothing but which record lies; how, audit_mutants.py says.
"""

from __future__ import annotations

from bidplane_topics import registry as R  # noqa: N812 - a table of topics reads best so
from simulation.audit_mutants import Mutant, add, alter, drop, has, put, repeat

MUTANTS: dict[str, Mutant] = {
    "pay a seller twice": repeat(R.SETTLEMENTS, has(cause="sold")),
    "book a sale twice": repeat(R.LEDGER, has(kind="transfer")),
    "pay a seller more": alter(R.SETTLEMENTS, add("paid_micros", 1), has(cause="sold")),
    "charge a buyer less":
        alter(R.SETTLEMENTS, add("charge_micros", -1),
              lambda e: e["cause"] == "bought" and e["charge_micros"] > 0),
    "promise a buyer more back":
        alter(R.SETTLEMENTS, add("refundable_micros", 1), has(cause="bought")),
    "keep what a late acceptance held": drop(R.SETTLEMENTS, has(cause="declined")),
    "raise an offer": alter(R.ORDERS, add("price_micros", 1), has(type="offer_made")),
    "take an offer for another": alter(R.ORDERS, put(agent="agent-9"), has(type="offer_accepted")),
    "hush an offer": drop(R.OUTCOMES, has(kind="offered")),
    "let a lease stand before its turn":
        alter(R.LEASES, put(state="awarded", bind_by_ms=2**50), has(state="pending")),
}  # fmt: skip
