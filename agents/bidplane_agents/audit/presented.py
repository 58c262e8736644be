"""A receipt that somebody presents, checked without any log.

Decides whether its leaf leads to its root and says nothing impossible. Refuses to believe either:
that the root is the market's is for the published round to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import orjson

from bidplane_agents.audit import merkle
from bidplane_agents.errors import BadInput
from bidplane_topics import codec, ids
from bidplane_topics.receipts import Leaf, OrderFate, Receipt, Terms

Shape = TypeVar("Shape", Receipt, Leaf, Terms)


class Presented(NamedTuple):
    """A receipt with its two texts read."""

    receipt: Receipt
    terms: Terms
    leaf: Leaf


def load(path: Path) -> Presented:
    """Read a receipt's file, as `bidplane receipt --out` writes it.

    Raises:
        BadInput: it is no receipt; names the file and the field.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file with a receipt") from error
    receipt = _read(f"{path}", raw, Receipt)
    return Presented(
        receipt,
        _read(f"{path}: the text at `$.round`", receipt.round.encode(), Terms),
        _read(f"{path}: the text at `$.leaf`", receipt.leaf.encode(), Leaf),
    )


def _read(where: str, raw: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        words, _, field = str(error).rpartition(" - at ")
        said = f"{field}: {words}" if words else str(error)
        raise BadInput(f"{where}: {said}: this is no receipt") from error


def problem(given: Presented) -> str:
    """The first thing that fails, in one sentence without its full stop; empty where all holds."""
    return _texts(given) or _way(given) or _agents(given) or _orders(given)


def _texts(given: Presented) -> str:
    """What was hashed may be read in one way only: no key stands twice, all are in order."""
    for name, text in (("round", given.receipt.round), ("leaf", given.receipt.leaf)):
        try:
            canonical = codec.canonical(orjson.loads(text)).decode()
        except (ValueError, TypeError):
            canonical = ""
        if canonical != text:
            return f"the text at `$.{name}` is not canonical JSON"
    return ""


def _way(given: Presented) -> str:
    receipt, leaves = given.receipt, given.terms.leaves
    salted = bytes.fromhex(receipt.salt) + receipt.leaf.encode()
    path = [bytes.fromhex(one) for one in receipt.proof]
    tree = merkle.climb(merkle.leaf(salted), receipt.index, leaves, path)
    if tree is None:
        return (
            f"a proof of {len(path)} siblings cannot be that of place {receipt.index} among "
            f"{leaves} leaves"
        )
    found = merkle.node(merkle.leaf(receipt.round.encode()), tree).hex()
    if found != receipt.root:
        return f"leaf, proof and round lead to the root {found}, the receipt names {receipt.root}"
    return ""


def _agents(given: Presented) -> str:
    leaf = given.leaf
    names = [order.bid_id for order in leaf.orders]
    if names != sorted(set(names)):
        return "its bids are not in order, or one stands twice"
    if not 1 <= leaf.part <= leaf.parts:
        return f"part {leaf.part} of {leaf.parts} does not exist"
    for name in names:
        owner = ids.agent_of_bid(name)
        if owner is None or ids.agent_id(*owner) != leaf.agent:
            return f"bid {name} is not of {leaf.agent}"
    return ""


def _orders(given: Presented) -> str:
    for order in given.leaf.orders:
        if said := _order(order):
            return f"bid {order.bid_id} {said}"
    return ""


def _order(order: OrderFate) -> str:
    won = order.award
    if (order.fate == "won") != (won is not None):
        return f"is {order.fate}, but the award is {'missing' if won is None else 'there'}"
    if won is None:
        return ""
    if order.cleared is None or won.alternative >= len(order.cleared.alternatives):
        return "won an alternative that it did not have"
    if not order.level_min <= won.level <= order.level_max:
        return f"won level {won.level}, outside {order.level_min} to {order.level_max}"
    if won.price_micros > order.value_micros * won.level:
        return f"pays {won.price_micros}, more than it bid: {order.value_micros * won.level}"
    return ""
