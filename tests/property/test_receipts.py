"""Receipts: every order's fate is in one, each leads to the root, and no byte of it can change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from bidplane_agents.audit import presented
from bidplane_agents.audit import receipts as auditors
from bidplane_streams.market import receipts
from bidplane_streams.market.effects import Effect
from bidplane_streams.market.market import MarketState
from bidplane_topics import codec, ids, orders, reports
from bidplane_topics.instances import Award, Instance, InstanceAlternative, InstanceBid, Result
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.outcomes import TERMINAL_BID_KINDS
from bidplane_topics.receipts import Leaf, OrderFate, Receipt, Terms
from bidplane_topics.rounds import RoundClosed

EXACT = settings(max_examples=60, derandomize=True, database=None, deadline=None)
T = builders.T0_MS
AGENTS = ("ann", "bob", "cid", "dora", "eve")
RECORD_LIMIT = 1024 * 1024


def order(number: int, agent: str, **changes: Any) -> OrderPlaced:
    """An order whose id is such as the accounts lane makes."""
    bid_id = ids.bid_id("t", agent, "0" * 16, number, 0)
    ways = changes.pop("ways", (builders.alternative(),))
    value = changes.pop("value_micros", 1000)
    return builders.order(bid_id, value, *ways, agent=agent, seq=number, **changes)


@st.composite
def books(draw: st.DrawFn) -> list[OrderPlaced]:
    """Orders that win, lose, rest, wait, expire or ask for what nobody sells."""
    return [
        order(
            number, draw(st.sampled_from(AGENTS)), value_micros=draw(st.integers(1, 10**6)),
            ways=(builders.alternative(
                draw(st.sampled_from(("1", "4", "8", "8", "64"))),
                draw(st.sampled_from((1000, 5000))),
            ),),
            rest_until_ms=T + draw(st.sampled_from((-T, 1500, 10**6))),
            not_before_ms=T + draw(st.sampled_from((-T, -T, -T, 10**5))),
        )
        for number in range(1, draw(st.integers(0, 12)) + 1)
    ]  # fmt: skip


def close(given_orders: Sequence[Any]) -> list[Effect]:
    """A market of two nodes closes a window with these orders and requests."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market())
    for name in ("n0", "n1"):
        feed.give(builders.node(name))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    for one in given_orders:
        feed.give(one)
    return feed.close()


def issued(effects: list[Effect]) -> dict[str, Receipt]:
    """The receipts by agent; nobody has two."""
    found = {}
    for one in builders.outcomes(effects, "receipt"):
        assert one.receipt is not None
        assert one.agent not in found
        found[one.agent] = one.receipt
    return found


def read(receipt: Receipt) -> presented.Presented:
    """A receipt with its texts read."""
    return presented.Presented(
        receipt, msgspec.json.decode(receipt.round, type=Terms),
        msgspec.json.decode(receipt.leaf, type=Leaf),
    )  # fmt: skip


def said(effects: list[Effect]) -> dict[str, OrderFate]:
    """All orders in all receipts, by bid."""
    leaves = [read(receipt).leaf for receipt in issued(effects).values()]
    return {one.bid_id: one for leaf in leaves for one in leaf.orders}


@EXACT
@given(books())
def test_every_order_that_was_decided_is_in_its_agents_receipt(book: list[OrderPlaced]) -> None:
    """An agent of whom an order ended gets a leaf of all its own, with fates and prices as told."""
    effects = close(book)
    told = {
        one.bid_id: (one.kind, one.price_micros)
        for one in builders.outcomes(effects, *TERMINAL_BID_KINDS)
    }
    fates = {}
    for agent, receipt in issued(effects).items():
        leaf = read(receipt).leaf
        assert leaf.agent == f"t/{agent}"
        assert (leaf.part, leaf.parts) == (1, 1)
        for one in leaf.orders:
            assert one.bid_id not in fates
            assert one.bid_id.startswith(f"t/{agent}/")
            fates[one.bid_id] = (one.fate, one.award.price_micros if one.award else 0)
    agents = {one.agent for one in book if one.bid_id in told}
    decided = {
        one.bid_id
        for one in book
        if one.agent in agents and (one.not_before_ms <= T + 2000 or one.bid_id in told)
    }
    assert fates == {bid: told.get(bid, ("rests", 0)) for bid in decided}


@EXACT
@given(books())
def test_every_receipt_leads_to_the_published_root(book: list[OrderPlaced]) -> None:
    """The auditor's own check finds each sound, and its round's terms are those published."""
    effects = close(book)
    (closed,) = builders.events(effects, RoundClosed)
    found = issued(effects)
    for receipt in found.values():
        given_receipt = read(receipt)
        assert presented.problem(given_receipt) == ""
        assert receipt.root == closed.root
        assert given_receipt.terms.leaves >= len(found)
        for name in ("market", "window", "closed_at_ms", "inputs", "previous_root", "beacon"):
            assert getattr(given_receipt.terms, name) == getattr(closed, name)


@EXACT
@given(books(), st.integers(0, 2**32))
def test_no_byte_of_a_receipt_can_change(book: list[OrderPlaced], seed: int) -> None:
    """Whatever byte is altered, the receipt is unreadable, unsound, or of another root."""
    dice = random.Random(seed)
    for receipt in issued(close(book)).values():
        raw = bytearray(codec.encode(receipt))
        for _ in range(40):
            at = dice.randrange(len(raw))
            forged = bytes(raw[:at]) + bytes([raw[at] ^ 1 << dice.randrange(7)]) + raw[at + 1 :]
            try:
                other = read(msgspec.json.decode(forged, type=Receipt))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            assert presented.problem(other) or other.receipt.root != receipt.root, forged


@EXACT
@given(books(), st.sampled_from(("value_micros", "seal")))
def test_any_altered_order_changes_the_root(book: list[OrderPlaced], field: str) -> None:
    """One order with another value or another seal, and the round has another root."""
    decided = said(close(book))
    for at, one in enumerate(book):
        if one.bid_id not in decided:
            continue
        altered: Any = one.value_micros + 1 if field == "value_micros" else "other"
        changed = msgspec.structs.replace(one, **{field: altered})
        before, after = (
            builders.events(close(some), RoundClosed)[0].root
            for some in (book, [*book[:at], changed, *book[at + 1 :]])
        )
        assert before != after


def test_a_leaf_cannot_be_guessed_from_its_siblings() -> None:
    """Two rounds that differ in one agent's seals alone give the others other siblings."""
    mine, rival = order(1, "ann"), order(2, "bob")
    other = msgspec.structs.replace(rival, seal="another")
    ours, theirs = (issued(close([mine, one])) for one in (rival, other))
    assert ours["bob"].leaf == theirs["bob"].leaf
    assert ours["ann"].salt == theirs["ann"].salt
    assert ours["ann"].proof != theirs["ann"].proof


def test_a_place_in_the_tree_tells_no_names() -> None:
    """Leaves stand in order of their hashes, so over many rounds the first name is not first."""
    places = set()
    for number in range(20):
        seal = ids.digest("seal", str(number))
        found = close([order(1, "ann", seal=seal), order(2, "bob"), order(3, "cid")])
        places.add(issued(found)["ann"].index)
    assert places == {0, 1, 2}


def test_orders_that_wait_or_were_cancelled_have_no_receipt() -> None:
    """Nothing was decided about them."""
    waits = order(1, "ann", not_before_ms=T + 10**6, rest_until_ms=T + 10**7)
    gone = order(2, "bob")
    cancel = orders.CancelRequested(
        bid_id=gone.bid_id, tenant="t", agent="bob", market="m", source=0, seq=3
    )
    assert issued(close([waits, gone, cancel])) == {}


def test_an_order_of_before_seals_still_gets_its_receipt() -> None:
    """Without a seal the salt follows from the beacon alone, and the receipt is sound as ever."""
    effects = close([order(1, "ann", seal="")])
    (closed,) = builders.events(effects, RoundClosed)
    (receipt,) = issued(effects).values()
    assert presented.problem(read(receipt)) == ""
    assert receipt.salt == ids.digest("salt", closed.beacon, "")


def crowded(count: int) -> tuple[RoundClosed, Instance, Result, list[OrderPlaced]]:
    """A round in which one agent has that many orders, each with many ways, and another has one."""
    ways = tuple(
        InstanceAlternative(
            pool=f"pool-{pool}", shape=shape, slots=10_000, tier=None if pool else 0
        )
        for pool in range(6) for shape in ("1", "2", "4", "8")
    )  # fmt: skip
    book = [order(number, "ann") for number in range(1, count + 1)] + [order(count + 1, "bob")]
    bids = tuple(
        InstanceBid(bid_id=one.bid_id, agent="t/ann", value_micros=1000, alternatives=ways)
        for one in book
    )
    won = {book[0].bid_id: Award(alternative=3, level=1, price_micros=7, devices=())}
    instance = Instance(market="m", window=1, beacon="00", slot_ms=1, pools=(), bids=bids)
    result = Result(
        market="m", window=1, rule="greedy", awards=won, prices={}, welfare_micros=0,
        revenue_micros=0,
    )  # fmt: skip
    return builders.events(close([]), RoundClosed)[0], instance, result, book


def test_an_agent_with_thousands_of_orders_gets_records_that_a_broker_takes() -> None:
    """Its orders go to several leaves, none too large, each once, and the auditor owes the same."""
    closed, instance, result, book = crowded(4096)
    fates: list[tuple[OrderPlaced, Any]] = [
        (one, "won" if one.bid_id in result.awards else "lost") for one in book
    ]
    made = receipts.issue(closed, instance, result, fates)
    assert auditors.owed(closed, instance, result, list(fates)) == auditors.Owed(*made)
    seen = []
    for outcome, _ in made.told:
        assert len(codec.encode(outcome)) < RECORD_LIMIT
        assert outcome.receipt is not None
        found = read(outcome.receipt)
        assert presented.problem(found) == ""
        seen += [one.bid_id for one in found.leaf.orders]
    assert sorted(seen) == sorted(one.bid_id for one in book)
    assert len({outcome.outcome_id for outcome, _ in made.told}) == len(made.told) > 10
