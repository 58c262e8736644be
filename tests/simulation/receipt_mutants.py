"""Ways to falsify receipts and the seals that salt them.

Decides how such a falsification looks. Every mutant returns the new records, or None where this log
offers no occasion for it.
"""

from __future__ import annotations

import random
from typing import Any

import orjson

from bidplane_agents.audit import merkle
from bidplane_topics import registry
from simulation.audit_mutants import Mutant, Records, alter, body, drop, has, pick, put, repeat


def proves_in_two_steps(event: dict[str, Any]) -> bool:
    """A receipt whose siblings can change places."""
    return event["kind"] == "receipt" and len(set(event["receipt"]["proof"])) > 1


def rewrite_receipt(records: Records, rng: random.Random) -> Records | None:
    """A receipt says another price than was paid, in a tree of its own that fits."""

    def told_a_price(event: dict[str, Any]) -> bool:
        return event["kind"] == "receipt" and '"price_micros":' in event["receipt"]["leaf"]

    at = pick(records, rng, registry.OUTCOMES, told_a_price)
    if at is None:
        return None
    event = body(records[at])
    found = event["receipt"]
    found["leaf"] = found["leaf"].replace('"price_micros":', '"price_micros":1', 1)
    salted = bytes.fromhex(found["salt"]) + found["leaf"].encode()
    path = [bytes.fromhex(one) for one in found["proof"]]
    leaves = orjson.loads(found["round"])["leaves"]
    tree = merkle.climb(merkle.leaf(salted), found["index"], leaves, path)
    assert tree is not None
    found["root"] = merkle.node(merkle.leaf(found["round"].encode()), tree).hex()
    return [*records[:at], records[at]._replace(value=orjson.dumps(event)), *records[at + 1 :]]


R = registry
MUTANTS: dict[str, Mutant] = {
    "drop a receipt": drop(R.OUTCOMES, has(kind="receipt")),
    "repeat a receipt": repeat(R.OUTCOMES, has(kind="receipt")),
    "hand a receipt to another agent":
        alter(R.OUTCOMES, put(agent="thief"), has(kind="receipt")),
    "tell another price in a receipt": rewrite_receipt,
    "prove a receipt otherwise":
        alter(R.OUTCOMES, lambda e: e["receipt"]["proof"].reverse(), proves_in_two_steps),
    "salt a receipt otherwise":
        alter(R.OUTCOMES, lambda e: put(salt="1" * 64)(e["receipt"]), has(kind="receipt")),
    "change an order's seal": alter(R.ORDERS, put(seal="1" * 64), has(type="order_placed")),
    "take an order's seal away": alter(R.ORDERS, put(seal=""), has(type="order_placed")),
}  # fmt: skip
