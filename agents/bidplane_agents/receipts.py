"""Receipts among an agent's outcomes: which one covers a bid or a round, and what it says.

Decides which receipt is meant. Refuses to check it: that is the auditor's (`bidplane audit
--receipt`), which anyone may run and which shares nothing with the market that issued it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from bidplane_agents.errors import BadInput
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.receipts import Leaf, Receipt, Terms

Text = TypeVar("Text", Leaf, Terms)


def leaf_of(receipt: Receipt) -> Leaf:
    """The agent's orders and what became of them, as the receipt's text says.

    Raises:
        BadInput: the text is no leaf; names the field.
    """
    return _read("leaf", receipt.leaf, Leaf)


def terms_of(receipt: Receipt) -> Terms:
    """What the round was held by, as the receipt's text says.

    Raises:
        BadInput: the text says no terms; names the field.
    """
    return _read("round", receipt.round, Terms)


def _read(field: str, text: str, kind: type[Text]) -> Text:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"`$.{field}` holds a text that cannot be used: {error}") from error


def of_bid(outcomes: Iterable[OutcomeReported], bid_id: str) -> Receipt:
    """The newest receipt that covers a bid: that of the round in which it ended, if it has.

    Raises:
        BadInput: no receipt that is kept covers it.
    """
    found = None
    for one in outcomes:
        if one.receipt is not None and any(
            order.bid_id == bid_id for order in leaf_of(one.receipt).orders
        ):
            found = one.receipt
    if found is None:
        raise BadInput(
            f"no receipt of bid {bid_id!r} is kept: check the id; a receipt comes when a window "
            "with the bid closes, and never for a bid that was not admitted or cancelled before"
        )
    return found


def of_round(outcomes: Iterable[OutcomeReported], window: int, market: str = "") -> Receipt:
    """The receipt of a round.

    Raises:
        BadInput: none is kept, or several are.
    """
    found = [
        (one.market, one.receipt) for one in outcomes
        if one.receipt is not None and one.window == window and market in ("", one.market)
    ]  # fmt: skip
    if len(found) == 1:
        return found[0][1]
    names = sorted({name for name, _ in found})
    if not found:
        raise BadInput(f"no receipt of window {window} is kept: you had no bid in that round")
    if len(names) > 1:
        raise BadInput(f"window {window} closed in {', '.join(names)}: add --market")
    raise BadInput(f"window {window} gave {len(found)} receipts: name a bid that it should cover")
