"""The accounts, case by case: who is believed, what is held, what is told."""

from __future__ import annotations

from typing import Any

import pytest

import builders
from bidplane_streams.market import admission, ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import Emit, SequenceGap
from bidplane_topics import agents, bids, ids, markets, orders, registry
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.rejections import Rejection

BID = ids.bid_id("t", "a", builders.key(0).key_id, 1, 0)
LEASE = ids.lease_id("m", BID)


def funded(money: int = 1000) -> builders.Feed[AccountsState]:
    """A tenant with one agent, its key 0, some money and market m on partition 3."""
    feed = builders.Feed(AccountsState(0))
    for event in (builders.tenant(), builders.agent(), builders.market("m", 3)):
        feed.give(event)
    feed.give(builders.grant(money))
    return feed


def balances(feed: builders.Feed[AccountsState]) -> tuple[int, int]:
    """Available and held micro-credits of the agent."""
    accounts = (ledger.available("t", "a"), ledger.hold("t", "a"))
    rows = [feed.state.balances.get(account) for account in accounts]
    return rows[0].micros if rows[0] else 0, rows[1].micros if rows[1] else 0


def reasons(effects: list[Any]) -> list[tuple[str, Rejection | None]]:
    """Kind and reason of every outcome."""
    return [(one.kind, one.reason) for one in builders.outcomes(effects)]


# -- registrations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (builders.tenant("u", partition=1), Rejection.MISROUTED),
        (builders.agent("a", tenant="nobody"), Rejection.UNKNOWN_AGENT),
        (builders.agent("b", 0), Rejection.CONFLICT),
        (builders.grant(5, "nobody"), Rejection.UNKNOWN_AGENT),
        (builders.grant(5, tenant="nobody"), Rejection.UNKNOWN_AGENT),
        (builders.grant(5, source="tenant", grant_id="h"), Rejection.NO_FUNDS),
        (agents.RefillSet(tenant="t", agent="x", amount_micros=1, period_ms=1000),
         Rejection.UNKNOWN_AGENT),
        (builders.signed(1, builders.place(), number=5), Rejection.UNKNOWN_KEY),
        (builders.signed(1, builders.place(), name="b"), Rejection.UNKNOWN_KEY),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_a_dead_letter(event: Any, reason: Rejection) -> None:
    """A record that contradicts the state changes nothing and is told to nobody."""
    feed = funded()
    if isinstance(event, agents.CreditGranted):
        event = builders.grant(
            5, event.agent, tenant=event.tenant, source=event.source, grant_id="other"
        )
    before = builders.dump(feed.state)
    effects = feed.give(event)
    assert [one.reason for one in builders.dead(effects)] == [reason]
    assert len(effects) == 1
    assert builders.dump(feed.state) == before


@pytest.mark.parametrize("public_key", ["A" * 44, "!" * 44, builders.key(1).public_text()])
def test_a_key_is_what_its_id_says(public_key: str) -> None:
    """A key whose id is not its digest is refused."""
    key = agents.AgentKey(key_id=builders.key(2).key_id, public_key=public_key)
    event = agents.AgentRegistered(tenant="t", agent="a", keys=(key,))
    assert [one.reason for one in builders.dead(funded().give(event))] == [Rejection.MALFORMED]


def test_a_key_counts_within_its_time_and_until_it_is_dropped() -> None:
    """A key is refused before and after its validity, and once a registration leaves it out."""
    feed = funded()
    now_ms = feed.now_ms
    timed = builders.agent_key(1, not_before_ms=now_ms + 10, not_after_ms=now_ms + 20)
    feed.give(agents.AgentRegistered(tenant="t", agent="a", keys=(builders.agent_key(0), timed)))
    early = feed.give(builders.signed(1, builders.place(), number=1), 9)
    assert builders.dead(early)
    assert not builders.dead(feed.give(builders.signed(1, builders.place(), number=1), 1))
    assert builders.dead(feed.give(builders.signed(2, builders.place(), number=1), 10))
    feed.give(builders.agent("a", 1))
    assert builders.dead(feed.give(builders.signed(1, builders.place())))


def test_a_key_that_comes_back_remembers_its_sequence() -> None:
    """Dropping a key and registering it again opens no door to replays."""
    feed = funded()
    feed.give(builders.signed(5, builders.place()))
    feed.give(builders.agent("a", 1))
    feed.give(builders.agent("a", 0, 1))
    assert reasons(feed.give(builders.signed(5, builders.place()))) == [
        ("replayed", Rejection.REPLAYED)
    ]


# -- money from above ------------------------------------------------------------------------------


def test_a_grant_counts_once() -> None:
    """A repeated grant id moves nothing and says nothing."""
    feed = funded(1000)
    assert feed.give(builders.grant(1000)) == []
    assert balances(feed) == (1000, 0)


def test_a_grant_of_nothing_is_told_to_nobody() -> None:
    """It moves no money, so an outcome of it would have no cause in the ledger."""
    feed = funded()
    effects = feed.give(builders.grant(0, grant_id="nothing"))
    assert not builders.outcomes(effects, "granted")
    assert not builders.events(effects, LedgerPosted)


def test_a_tenant_hands_on_what_it_has() -> None:
    """A grant from the tenant's own account stops at its balance."""
    feed = funded(0)
    feed.give(builders.grant(50, "", grant_id="to-tenant"))
    feed.give(builders.grant(40, source="tenant", grant_id="first"))
    assert builders.dead(feed.give(builders.grant(11, source="tenant", grant_id="second")))
    feed.give(builders.grant(10, source="tenant", grant_id="third"))
    assert balances(feed) == (50, 0)


def test_refills_accrue_by_whole_periods_when_touched() -> None:
    """Two and a half periods pay twice, and the half is not lost."""
    feed = funded(0)
    feed.give(agents.RefillSet(tenant="t", agent="a", amount_micros=7, period_ms=1000))
    touch = bids.Cancel(bid_id="nothing")
    feed.give(builders.signed(1, touch), 2500)
    assert balances(feed) == (14, 0)
    feed.give(builders.signed(2, touch), 499)
    assert balances(feed) == (14, 0)
    feed.give(builders.signed(3, touch), 1)
    assert balances(feed) == (21, 0)


def test_a_new_refill_pays_the_old_one_first() -> None:
    """Changing a refill settles what had accrued at the old rate."""
    feed = funded(0)
    feed.give(agents.RefillSet(tenant="t", agent="a", amount_micros=7, period_ms=1000))
    again = agents.RefillSet(tenant="t", agent="a", amount_micros=2**53 - 1, period_ms=1000)
    feed.give(again, 3000)
    assert balances(feed) == (21, 0)
    effects = feed.give(builders.signed(1, bids.Cancel(bid_id="nothing")), 5000)
    builders.check_wire(effects)
    assert [one.kind for one in builders.events(effects, LedgerPosted)] == ["refill"]


# -- bids ------------------------------------------------------------------------------------------


def test_a_bid_becomes_an_order_with_its_money_held() -> None:
    """An admitted bid goes to its market's partition, numbered, and its agent knows the balance."""
    feed = funded(1000)
    effects = feed.give(builders.signed(1, builders.place(300), builders.place(300)))
    first, second = builders.events(effects, orders.OrderPlaced)
    assert (first.bid_id, first.value_micros, first.seq, second.seq) == (BID, 300, 1, 2)
    emitted = [one for one in effects if isinstance(one, Emit)]
    assert {one.partition for one in emitted if one.topic is registry.ORDERS} == {3}
    assert balances(feed) == (400, 600)
    told = builders.outcomes(effects, "held")
    assert told[1].evidence == {"available_micros": 400, "held_micros": 600, "asked_micros": 300}


def test_a_bid_beyond_the_money_is_held_as_far_as_it_goes() -> None:
    """The second bid gets what the first left, the third is refused."""
    feed = funded(1000)
    effects = feed.give(builders.signed(1, *[builders.place(700)] * 3))
    placed = builders.events(effects, orders.OrderPlaced)
    assert [one.value_micros for one in placed] == [700, 300]
    assert reasons(effects)[2] == ("refused", Rejection.NO_FUNDS)


def test_an_agents_open_orders_are_bounded() -> None:
    """Tiny bids cannot fill a book; a settled one, even after a restart, makes room again."""
    feed = funded(admission.OPEN_ORDERS_MAX + 10)
    for sequence in range(1, admission.OPEN_ORDERS_MAX // 64 + 1):
        feed.give(builders.signed(sequence, *[builders.place(1)] * 64))
    last = admission.OPEN_ORDERS_MAX // 64 + 1
    effects = feed.give(builders.signed(last, builders.place(1)))
    assert ("refused", Rejection.TOO_MANY_ORDERS) in reasons(effects)
    feed.give(builders.settled(BID, "lost", 1))
    restored = AccountsState(0)
    for key, value in feed.state.drain().items():
        restored.restore(key, value)
    again = builders.Feed(restored)
    effects = again.give(builders.signed(last + 1, *[builders.place(1)] * 2))
    assert [kind for kind, _ in reasons(effects)] == ["held", "refused"]


@pytest.mark.parametrize(
    ("signed", "kind", "reason"),
    [
        (builders.signed(1, builders.place(), expires_at_ms=1), "refused", Rejection.EXPIRED),
        (builders.signed(1, builders.place(market="x")), "refused", Rejection.UNKNOWN_MARKET),
        (builders.signed(1, bids.Cancel(bid_id="x")), "declined", Rejection.UNKNOWN_BID),
        (builders.signed(1, bids.Release(lease_id="x")), "declined", Rejection.UNKNOWN_LEASE),
        (builders.signed(1, bids.Offer(lease_id="x", to="t/b", price_micros=1)), "declined",
         Rejection.UNKNOWN_LEASE),
        (builders.signed(1, bids.Cancel(bid_id="x"), expires_at_ms=1), "declined",
         Rejection.EXPIRED),
        (builders.signed(1, bids.Offer(lease_id="x", to="t/b", price_micros=1), expires_at_ms=1),
         "declined", Rejection.EXPIRED),
    ],
)  # fmt: skip
def test_a_verified_command_that_fails_is_told_why(
    signed: Any, kind: str, reason: Rejection
) -> None:
    """Every refusal names its reason, the reason's sentence and the balances."""
    effects = funded().give(signed)
    (told,) = builders.outcomes(effects)
    assert (told.kind, told.reason) == (kind, reason)
    assert told.sentence
    assert told.evidence["available_micros"] == 1000


def test_expiry_is_judged_by_the_append_time() -> None:
    """A record on its expiry still counts, a millisecond later no more."""
    feed = funded()
    at_ms = feed.now_ms
    feed.give(builders.signed(1, builders.place(1), expires_at_ms=at_ms))
    effects = feed.give(builders.signed(2, builders.place(1), expires_at_ms=at_ms), 1)
    assert reasons(effects) == [("refused", Rejection.EXPIRED)]


def test_a_replay_is_no_second_end_of_the_bid() -> None:
    """A repeated record is refused under an id of its own and holds nothing."""
    feed = funded()
    envelope = builders.signed(1, builders.place(10))
    feed.give(envelope)
    again = [feed.give(envelope), feed.give(envelope)]
    assert [reasons(effects) for effects in again] == [[("replayed", Rejection.REPLAYED)]] * 2
    ids_told = {builders.outcomes(effects)[0].outcome_id for effects in again}
    assert len(ids_told) == 2
    assert balances(feed) == (990, 10)


def test_another_agent_cannot_touch_an_order_or_a_lease() -> None:
    """A cancel or release of what belongs to another is declined as unknown."""
    feed = funded()
    feed.give(builders.agent("b", 1))
    feed.give(builders.signed(1, builders.place(10), builders.place(10)))
    feed.give(builders.settled(BID, "won", 1, charge=5, lease_id=LEASE))
    other = ids.bid_id("t", "a", builders.key(0).key_id, 1, 1)
    parts = (bids.Cancel(bid_id=other), bids.Release(lease_id=LEASE))
    effects = feed.give(builders.signed(1, *parts, name="b", number=1))
    assert reasons(effects) == [
        ("declined", Rejection.UNKNOWN_BID), ("declined", Rejection.UNKNOWN_LEASE),
    ]  # fmt: skip
    effects = feed.give(builders.signed(2, *parts))
    assert len(builders.events(effects, orders.CancelRequested)) == 1
    assert len(builders.events(effects, orders.ReleaseRequested)) == 1


def test_a_removed_market_takes_no_requests() -> None:
    """After removal bids are refused and cancels declined, since the settlement is on its way."""
    feed = funded()
    feed.give(builders.signed(1, builders.place(10)))
    feed.give(markets.MarketRemoved(market="m"))
    effects = feed.give(builders.signed(2, builders.place(10), bids.Cancel(bid_id=BID)))
    assert reasons(effects) == [
        ("refused", Rejection.UNKNOWN_MARKET), ("declined", Rejection.MARKET_REMOVED),
    ]  # fmt: skip
    assert balances(feed) == (990, 10)


# -- settlements -----------------------------------------------------------------------------------


def test_a_win_charges_and_frees_the_rest() -> None:
    """The price goes to revenue, the rest of the hold back, and a refund comes later."""
    feed = funded(1000)
    feed.give(builders.signed(1, builders.place(600)))
    feed.give(builders.settled(BID, "won", 1, charge=450, lease_id=LEASE))
    assert balances(feed) == (550, 0)
    effects = feed.give(builders.settled(BID, "ended", 2, refund=50, lease_id=LEASE))
    assert balances(feed) == (600, 0)
    assert builders.outcomes(effects, "settled")[0].refund_micros == 50
    assert feed.state.balances[ledger.REVENUE].micros == 400


@pytest.mark.parametrize("cause", ["lost", "refused", "cancelled", "expired"])
def test_a_loser_pays_nothing(cause: str) -> None:
    """Whatever ends an order without an award frees its whole hold."""
    feed = funded(1000)
    feed.give(builders.signed(1, builders.place(600)))
    feed.give(builders.settled(BID, cause, 1))
    assert balances(feed) == (1000, 0)


@pytest.mark.parametrize("seq", [0, 2])
def test_a_gap_between_the_lanes_stops_the_process(seq: int) -> None:
    """A settlement that is not the next of its market is refused by an assertion."""
    feed = funded()
    feed.give(builders.signed(1, builders.place(600)))
    with pytest.raises(SequenceGap):
        feed.give(builders.settled(BID, "lost", seq))


@pytest.mark.parametrize(
    "event",
    [
        builders.settled(BID, "won", 1, charge=601, lease_id=LEASE),
        builders.settled(BID, "lost", 1, charge=1),
        builders.settled(BID, "ended", 1, refund=1, lease_id=LEASE),
    ],
)
def test_a_settlement_beyond_the_money_stops_the_process(event: Any) -> None:
    """No charge beyond the hold, no charge of a loser, no refund without a lease."""
    feed = funded(1000)
    feed.give(builders.signed(1, builders.place(600)))
    with pytest.raises((AssertionError, KeyError)):
        feed.give(event)
