"""Double entry."""

from __future__ import annotations

import pytest

import builders
from bidplane_streams.market.ledger import TREASURY, Balance, Journal, available, hold
from bidplane_streams.market.rows import Rows
from bidplane_topics.ledger import LedgerPosted, Origin
from bidplane_topics.money import MICROS_MAX

ORIGIN = Origin(topic="source", partition=2, offset=9)


def journal() -> Journal:
    """A journal over no balances."""
    return Journal(Rows("balance", Balance), 2, ORIGIN, builders.T0_MS)


def test_an_entry_moves_money_between_two_accounts() -> None:
    """What one account loses the other gains, and the record says why."""
    book = journal()
    book.post("grant", TREASURY, available("t", "a"), 70, "g1", "t", "a")
    book.post("hold", available("t", "a"), hold("t", "a"), 30, "b1", "t", "a")
    assert book.balance(TREASURY) == -70
    assert book.balance(available("t", "a")) == 40
    assert book.balance(hold("t", "a")) == 30
    first, second = builders.events(list(book.entries), LedgerPosted)
    assert (first.debit, first.credit, first.amount_micros) == (TREASURY, "agent/t/a", 70)
    assert [first.origin.index, second.origin.index] == [0, 1]
    assert first.entry_id == "source|2|9|0"
    assert {entry.partition for entry in book.entries} == {2}


def test_nothing_moves_nothing() -> None:
    """An amount of zero writes no entry."""
    book = journal()
    book.post("unhold", hold("t", "a"), available("t", "a"), 0, "b1", "t", "a")
    assert book.entries == []


@pytest.mark.parametrize("amount", [1, -1, MICROS_MAX + 1])
def test_no_account_is_overdrawn(amount: int) -> None:
    """An agent's account never goes below zero, and no entry moves money backwards."""
    with pytest.raises(AssertionError):
        journal().post("hold", available("t", "a"), hold("t", "a"), amount, "b1", "t", "a")
