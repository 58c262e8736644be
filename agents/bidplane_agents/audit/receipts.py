"""The root of a round and the receipts that it owes, told a second time.

Decides what every leaf should say, byte by byte (market/README.md, "The round's root"). Refuses to
know how an order's fate was found.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from bidplane_agents.audit import merkle
from bidplane_topics import codec, ids
from bidplane_topics.instances import Award, Instance, InstanceBid, Result
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.receipts import LEAF_TEXT_MAX, Receipt
from bidplane_topics.rounds import RoundClosed

# An order that a round decided, and what became of it.
Fates = list[tuple[OrderPlaced, str]]


class Owed(NamedTuple):
    """The root, and every receipt with the partition of its agent's tenant."""

    root: str
    told: list[tuple[OutcomeReported, int]]


class _Leaf(NamedTuple):
    outcome_id: str
    order: OrderPlaced
    told: bool
    text: str
    salt: str
    hash: bytes


def owed(closed: RoundClosed, instance: Instance, result: Result, fates: Fates) -> Owed:
    """What the round must have published and told; its own root is not looked at."""
    bids = {bid.bid_id: bid for bid in instance.bids}
    whose: dict[str, Fates] = {}
    for one in fates:
        whose.setdefault(ids.agent_id(one[0].tenant, one[0].agent), []).append(one)
    leaves = [
        leaf
        for agent in sorted(whose)
        for leaf in _leaves_of(closed, agent, bids, result, whose[agent])
    ]
    ranked = sorted(leaf.hash for leaf in leaves)
    tree = merkle.Tree(ranked)
    terms = _terms(closed, instance, len(leaves))
    root = merkle.node(merkle.leaf(terms), tree.root()).hex()
    told = []
    for leaf in (one for one in leaves if one.told):
        index = ranked.index(leaf.hash)
        receipt = Receipt(
            root=root, round=terms.decode(), index=index, salt=leaf.salt, leaf=leaf.text,
            proof=tuple(one.hex() for one in tree.path(index)),
        )  # fmt: skip
        outcome = OutcomeReported(
            outcome_id=leaf.outcome_id, kind="receipt", tenant=leaf.order.tenant,
            agent=leaf.order.agent, at_ms=closed.closed_at_ms, market=closed.market,
            window=closed.window, receipt=receipt,
        )  # fmt: skip
        told.append((outcome, leaf.order.source))
    return Owed(root, told)


def _terms(closed: RoundClosed, instance: Instance, leaves: int) -> bytes:
    pools = sorted(instance.pools, key=lambda pool: pool.name)
    return codec.canonical({
        "market": closed.market, "window": closed.window, "closed_at_ms": closed.closed_at_ms,
        "inputs": closed.inputs, "previous_root": closed.previous_root, "rule": closed.rule,
        "rule_version": closed.rule_version, "slot_ms": closed.slot_ms, "beacon": closed.beacon,
        "pools": hashlib.sha256(codec.canonical(pools)).hexdigest(), "leaves": leaves,
        **({"bound_micros": closed.bound_micros, "fell_back": closed.fell_back}
           if closed.rule == "exact" else {}),
    })  # fmt: skip


def _leaves_of(
    closed: RoundClosed, agent: str, bids: dict[str, InstanceBid], result: Result, fates: Fates
) -> list[_Leaf]:
    """The leaf of one agent, or several where its orders are many."""
    parts: list[Fates] = [[]]
    size = 0
    said = {
        order.bid_id: _said(order, fate, bids.get(order.bid_id), result.awards.get(order.bid_id))
        for order, fate in fates
    }
    for order, fate in sorted(fates, key=lambda one: one[0].bid_id):
        length = len(codec.canonical(said[order.bid_id]))
        if parts[-1] and size + length > LEAF_TEXT_MAX:
            parts.append([])
            size = 0
        parts[-1].append((order, fate))
        size += length
    found = []
    for number, part in enumerate(parts, start=1):
        body = {
            "agent": agent, "part": number, "parts": len(parts),
            "orders": [said[order.bid_id] for order, _ in part],
        }  # fmt: skip
        text = codec.canonical(body)
        salt = salt_of(closed.beacon, [order.seal for order, _ in part])
        name = ids.joined("receipt", closed.market, closed.window, agent, number)
        hashed = merkle.leaf(bytes.fromhex(salt) + text)
        told = {fate for _, fate in part} != {"rests"}
        found.append(_Leaf(name, part[0][0], told, text.decode(), salt, hashed))
    return found


def salt_of(beacon: str, seals: list[str]) -> str:
    """The salt of a leaf, in hex: from the window's beacon and its orders' seals."""
    return ids.digest("salt", beacon, *sorted(seals))


def _said(
    order: OrderPlaced, fate: str, bid: InstanceBid | None, award: Award | None
) -> dict[str, Any]:
    return {
        "bid_id": order.bid_id, "fate": fate, "mode": order.mode,
        "value_micros": order.value_micros, "level_min": order.level_min,
        "level_max": order.level_max,
        "cleared": None if bid is None else {
            "tier": bid.tier, "weight": bid.weight, "boost_micros": bid.boost_micros,
            "alternatives": [
                {"pool": one.pool, "shape": one.shape, "slots": one.slots}
                | ({} if one.tier is None else {"tier": one.tier})
                | ({} if one.pinned is None else {"pinned": one.pinned})
                for one in bid.alternatives
            ],
        },
        "award": None if award is None else {
            "alternative": award.alternative, "level": award.level,
            "price_micros": award.price_micros,
        },
    }  # fmt: skip
