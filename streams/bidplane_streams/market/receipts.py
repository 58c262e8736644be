"""A round's root, and the receipt of every agent whose orders it decided.

Decides what the leaves say and how they are salted (README, "The round's root"). Refuses to judge:
what became of an order was decided before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import msgspec

from bidplane_streams.market import merkle, optimum
from bidplane_streams.market.effects import Effect, Emit
from bidplane_topics import codec, ids
from bidplane_topics.instances import Instance, InstanceBid, Result
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported
from bidplane_topics.receipts import (
    LEAF_TEXT_MAX,
    Cleared,
    Fate,
    OrderFate,
    Receipt,
    Terms,
    Won,
)
from bidplane_topics.rounds import RoundClosed

Decided = list[tuple[OrderPlaced, Fate]]


class Issued(NamedTuple):
    """The root, and what to tell: each outcome with the accounts partition that it goes to."""

    root: str
    told: list[tuple[OutcomeReported, int]]


class _Leaf(NamedTuple):
    order: OrderPlaced  # any of the agent's: it says whose leaf it is
    ended: bool  # an order that only rests is told of in the round that ends it
    part: int
    text: bytes
    salt: str
    hash: bytes


def decided(book: Iterable[OrderPlaced], caused: Iterable[Effect], now_ms: int) -> Decided:
    """What became of each order that was in the book when the window closed.

    An order that waits for its time is left out: nothing was decided about it.
    """
    ends = {
        one.event.bid_id: cast("Fate", one.event.kind)
        for one in caused
        if isinstance(one, Emit)
        and isinstance(one.event, OutcomeReported)
        and one.event.kind in TERMINAL_BID_KINDS
    }
    return [
        (order, ends.get(order.bid_id, "rests"))
        for order in book
        if order.bid_id in ends or order.not_before_ms <= now_ms
    ]


def issue(closed: RoundClosed, instance: Instance, result: Result, orders: Decided) -> Issued:
    """The root of a round (``closed.root`` is not looked at) and all its receipts."""
    leaves = _leaves(closed.beacon, instance, result, orders)
    # By hash, not by name: an agent's place would tell it which names took part beside it.
    tree_order = sorted(range(len(leaves)), key=lambda at: leaves[at].hash)
    tree = merkle.Tree([leaves[at].hash for at in tree_order])
    terms = codec.canonical(_terms(closed, instance, len(leaves)))
    head = merkle.leaf(terms)
    root = merkle.node(head, tree.root).hex()
    place = {at: index for index, at in enumerate(tree_order)}
    text = terms.decode()
    told = []
    for at, leaf in enumerate(leaves):
        if not leaf.ended:
            continue
        receipt = Receipt(
            root=root, round=text, index=place[at], salt=leaf.salt, leaf=leaf.text.decode(),
            proof=tuple(sibling.hex() for sibling in tree.proof(place[at])),
        )  # fmt: skip
        told.append((_told(closed, leaf, receipt), leaf.order.source))
    return Issued(root, told)


def _terms(closed: RoundClosed, instance: Instance, leaves: int) -> Terms:
    pools = sorted(instance.pools, key=lambda pool: pool.name)
    exact = closed.rule == optimum.RULE
    return Terms(
        market=closed.market, window=closed.window, closed_at_ms=closed.closed_at_ms,
        inputs=closed.inputs, previous_root=closed.previous_root, rule=closed.rule,
        rule_version=closed.rule_version, slot_ms=closed.slot_ms, beacon=closed.beacon,
        pools=hashlib.sha256(codec.canonical(pools)).hexdigest(), leaves=leaves,
        bound_micros=closed.bound_micros if exact else msgspec.UNSET,
        fell_back=closed.fell_back if exact else msgspec.UNSET,
    )  # fmt: skip


def _leaves(
    beacon: str, instance: Instance, result: Result, orders: Decided
) -> list[_Leaf]:  # fmt: skip
    """All leaves, by agent and part."""
    cleared = {bid.bid_id: bid for bid in instance.bids}
    whose: dict[str, Decided] = {}
    for order, fate in sorted(orders, key=lambda one: one[0].bid_id):
        whose.setdefault(ids.agent_id(order.tenant, order.agent), []).append((order, fate))
    found = []
    for agent in sorted(whose):
        texts = [_order_text(*one, cleared, result) for one in whose[agent]]
        spans = list(_parts(texts))
        for part, span in enumerate(spans, start=1):
            text = b'{"agent":%b,"orders":[%b],"part":%d,"parts":%d}' % (
                codec.canonical(agent), b",".join(texts[span]), part, len(spans),
            )  # fmt: skip
            mine = [order for order, _ in whose[agent][span]]
            ended = any(fate != "rests" for _, fate in whose[agent][span])
            salt = ids.digest("salt", beacon, *sorted(order.seal for order in mine))
            hashed = merkle.leaf(bytes.fromhex(salt) + text)
            found.append(_Leaf(mine[0], ended, part, text, salt, hashed))
    return found


def _parts(texts: Sequence[bytes]) -> Iterator[slice]:
    """Runs of orders that fit one leaf; an order is never split."""
    start, size = 0, 0
    for at, text in enumerate(texts):
        if at > start and size + len(text) > LEAF_TEXT_MAX:
            yield slice(start, at)
            start, size = at, 0
        size += len(text)
    yield slice(start, len(texts))


def _order_text(
    order: OrderPlaced, fate: Fate, cleared: dict[str, InstanceBid], result: Result
) -> bytes:
    bid, award = cleared.get(order.bid_id), result.awards.get(order.bid_id)
    return codec.canonical(
        OrderFate(
            bid_id=order.bid_id, fate=fate, mode=order.mode, value_micros=order.value_micros,
            level_min=order.level_min, level_max=order.level_max,
            cleared=None if bid is None else Cleared(
                tier=bid.tier, weight=bid.weight, boost_micros=bid.boost_micros,
                alternatives=bid.alternatives,
            ),
            award=None if award is None else Won(
                alternative=award.alternative, level=award.level, price_micros=award.price_micros
            ),
        )
    )  # fmt: skip


def _told(closed: RoundClosed, leaf: _Leaf, receipt: Receipt) -> OutcomeReported:
    order = leaf.order
    agent = ids.agent_id(order.tenant, order.agent)
    return OutcomeReported(
        outcome_id=ids.joined("receipt", closed.market, closed.window, agent, leaf.part),
        kind="receipt", tenant=order.tenant, agent=order.agent, at_ms=closed.closed_at_ms,
        market=closed.market, window=closed.window, receipt=receipt,
    )  # fmt: skip
