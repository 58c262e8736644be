"""Budgets, case by case: what organisations give, what time adds and takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import builders
from bidplane_streams.market import invariants, ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import Emit
from bidplane_topics import agents, registry, transit
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.rejections import Rejection

Feed = builders.Feed[AccountsState]


def opened(partition: int = 0, organisation: str = "", money: int = 0) -> Feed:
    """A partition with tenant t, agent t/a, some money of its own, and market m."""
    feed = builders.Feed(AccountsState(partition))
    feed.give(builders.tenant("t", partition, organisation))
    feed.give(builders.agent())
    feed.give(builders.market("m", 3))
    if money:
        feed.give(builders.grant(money))
    return feed


def giving(money: int = 100) -> Feed:
    """Partition 1, where organisation o has so much to give."""
    feed = builders.Feed(AccountsState(1))
    feed.give(agents.OrganisationRegistered(organisation="o", partition=1))
    feed.give(agents.OrganisationFunded(grant_id="f", organisation="o", amount_micros=money))
    return feed


def balance(feed: Feed, account: str) -> int:
    """What an account holds."""
    row = feed.state.balances.get(account)
    return 0 if row is None else row.micros


def entries(effects: list[Any]) -> list[tuple[str, str, str, int]]:
    """Kind, accounts and amount of every entry."""
    return [
        (one.kind, one.debit, one.credit, one.amount_micros)
        for one in builders.events(effects, LedgerPosted)
    ]


def sent(effects: list[Any]) -> list[transit.CreditSent]:
    """The transfers that set out."""
    return builders.events(effects, transit.CreditSent)


def partitions(effects: list[Any], topic: registry.Topic) -> list[int]:
    """Where records of a topic were written to."""
    return [one.partition for one in effects if isinstance(one, Emit) and one.topic is topic]


# -- organisations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["", "a"])
def test_money_goes_from_partition_to_partition(agent: str) -> None:
    """The organisation pays into transit, the tenant is paid out of it, the agent through it."""
    source, home = giving(), opened(organisation="o")
    effects = source.give(builders.allotted(60, agent))
    assert entries(effects) == [("transit", "organisation/o", "transit", 60)]
    assert partitions(effects, registry.TRANSIT) == [0]
    (record,) = sent(effects)
    effects = home.give(record)
    passed = [("grant", "tenant/t", "agent/t/a", 60)] if agent else []
    assert entries(effects) == [("transit", "transit", "tenant/t", 60), *passed]
    assert [one.kind for one in builders.outcomes(effects)] == ["granted"] * len(passed)
    assert balance(source, "transit") + balance(home, "transit") == 0
    builders.check_wire(effects)
    for feed in (source, home):
        invariants.audit_accounts(feed.state)


def test_a_transfer_counts_once_on_each_side() -> None:
    """Repeated records of a grant, a transfer and a return move nothing the second time."""
    source, home = giving(), opened(organisation="other")
    grant = builders.allotted(60)
    (record,) = sent(source.give(grant))
    assert source.give(grant) == []
    (back,) = builders.events(home.give(record), transit.CreditReturned)
    assert home.give(record) == []
    assert balance(source, "organisation/o") == 40
    assert entries(source.give(back)) == [("transit", "transit", "organisation/o", 60)]
    assert source.give(back) == []
    assert balance(source, "organisation/o") == 100


def test_an_organisation_gives_what_it_has() -> None:
    """Beyond its balance the grant is buried with the reason, and the same id may come again."""
    source = giving(100)
    (letter,) = builders.dead(source.give(builders.allotted(101)))
    assert (letter.reason, letter.detail) == (
        Rejection.NO_FUNDS, "organisation/o holds 100 micro-credits",
    )  # fmt: skip
    source.give(agents.OrganisationFunded(grant_id="g", organisation="o", amount_micros=1))
    assert len(sent(source.give(builders.allotted(101)))) == 1
    assert balance(source, "organisation/o") == 0


@pytest.mark.parametrize(
    ("home", "agent", "reason"),
    [
        (builders.Feed(AccountsState(0)), "", Rejection.UNKNOWN_AGENT),
        (opened(organisation="o"), "nobody", Rejection.UNKNOWN_AGENT),
        (opened(organisation="p"), "", Rejection.CONFLICT),
        (opened(), "", Rejection.CONFLICT),
    ],
)
def test_what_nobody_can_take_goes_back(home: Feed, agent: str, reason: Rejection) -> None:
    """A tenant that is unknown or another's gets nothing; the operator is told, the money kept."""
    source = giving()
    (record,) = sent(source.give(builders.allotted(60, agent)))
    effects = home.give(record)
    assert entries(effects) == []
    assert [one.reason for one in builders.dead(effects)] == [reason]
    (back,) = builders.events(effects, transit.CreditReturned)
    assert partitions(effects, registry.TRANSIT) == [1]
    assert back.reason == reason
    source.give(back)
    assert balance(source, "organisation/o") == 100
    assert balance(source, "transit") == 0


def test_a_return_of_what_was_never_sent_is_nothing() -> None:
    """An organisation cannot grow by a return that no grant of its own explains."""
    source = giving()
    back = transit.CreditReturned(
        transfer_id="x", organisation="o", tenant="t", amount_micros=5, reason=Rejection.CONFLICT
    )
    assert source.give(back) == []


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (builders.grant(5), Rejection.CONFLICT),
        (builders.grant(5, ""), Rejection.CONFLICT),
        (builders.budget(5), Rejection.CONFLICT),
        (builders.budget(5, tenant="t"), Rejection.CONFLICT),
        (agents.RefillSet(tenant="t", agent="a", amount_micros=5, period_ms=1000),
         Rejection.CONFLICT),
        (builders.tenant("t"), Rejection.CONFLICT),
        (builders.tenant("t", organisation="p"), Rejection.CONFLICT),
        (builders.budget(5, organisation="p"), Rejection.UNKNOWN_AGENT),
        (builders.budget(5, tenant="x"), Rejection.UNKNOWN_AGENT),
        (builders.allotted(5, grant_id="y"), Rejection.UNKNOWN_AGENT),
        (agents.OrganisationFunded(grant_id="z", organisation="p", amount_micros=1),
         Rejection.UNKNOWN_AGENT),
        (agents.OrganisationRegistered(organisation="p", partition=1), Rejection.MISROUTED),
    ],
)  # fmt: skip
def test_money_past_the_organisation_is_refused(event: Any, reason: Rejection) -> None:
    """A tenant of an organisation gets nothing from the treasury, and never changes hands."""
    feed = opened(organisation="o")
    before = builders.dump(feed.state)
    effects = feed.give(event)
    assert [one.reason for one in builders.dead(effects)] == [reason]
    assert len(effects) == 1
    assert builders.dump(feed.state) == before


def test_a_registration_that_repeats_itself_is_nothing() -> None:
    """The same tenant and organisation once more change nothing and bury nothing."""
    feed = opened(organisation="o")
    assert feed.give(builders.tenant("t", 0, "o")) == []
    again = agents.OrganisationRegistered(organisation="p", partition=0)
    assert [feed.give(again), feed.give(again)] == [[], []]


# -- time ------------------------------------------------------------------------------------------


def test_what_is_held_never_decays() -> None:
    """A period takes its share of what is available; what is held comes back whole."""
    feed = opened(money=1000)
    feed.give(builders.budget(decay_permille=500))
    feed.give(builders.signed(1, builders.place(600)), 999)
    assert entries(feed.give(builders.signed(2, builders.place(1)), 1))[0] == (
        "decay", "agent/t/a", "expired", 200,
    )  # fmt: skip
    bid = builders.outcomes(feed.out, "held")[0].bid_id
    feed.give(builders.settled(bid, "lost", 1), 1)
    assert balance(feed, "agent/t/a") == 799
    assert balance(feed, "hold/t/a") == 1
    assert balance(feed, "expired") == 200


def test_money_that_comes_does_not_decay_for_the_past() -> None:
    """What time did is booked before a grant, a settlement or a transfer moves anything."""
    feed = opened(money=100)
    feed.give(builders.budget(7, decay_permille=1000))
    effects = feed.give(builders.grant(50, grant_id="h"), 3000)
    assert entries(effects) == [
        ("refill", "treasury", "agent/t/a", 21), ("decay", "agent/t/a", "expired", 114),
        ("grant", "treasury", "tenant/t", 50), ("grant", "tenant/t", "agent/t/a", 50),
    ]  # fmt: skip
    assert balance(feed, "agent/t/a") == 57


def test_the_entries_of_time_name_account_and_period() -> None:
    """Refill and decay of one accrual share a reference: the account and the period's end."""
    feed = opened(money=100)
    started_ms = feed.now_ms
    feed.give(builders.budget(7, decay_permille=100))
    effects = feed.give(builders.grant(1, grant_id="h"), 2500)
    accruals = builders.events(effects, LedgerPosted)[:2]
    assert {one.reference for one in accruals} == {f"agent/t/a|{started_ms + 2000}"}


def test_a_tenant_and_an_organisation_have_schedules_too() -> None:
    """Refill and decay work alike for every account of the tree."""
    feed = giving(100)
    feed.give(builders.budget(10, 1000, 100, organisation="o"))
    effects = feed.give(builders.allotted(98), 1000)
    assert entries(effects) == [
        ("refill", "treasury", "organisation/o", 10), ("decay", "organisation/o", "expired", 10),
        ("transit", "organisation/o", "transit", 98),
    ]  # fmt: skip
    home = opened()
    home.give(builders.budget(10, tenant="t"))
    effects = home.give(builders.grant(15, source="tenant"), 2000)
    assert entries(effects)[0] == ("refill", "treasury", "tenant/t", 20)
    assert balance(home, "tenant/t") == 5


def test_a_tenant_pays_its_agents_allowance() -> None:
    """A period that the tenant cannot pay waits until it can; none is paid in part or twice."""
    feed = opened(organisation="o")
    feed.give(builders.budget(40, tenant="t", agent="a", source="tenant"))
    paid = transit.CreditSent(
        transfer_id="1", organisation="o", organisation_partition=0, tenant="t", amount_micros=100
    )
    assert entries(feed.give(paid, 3500)) == [("transit", "transit", "tenant/t", 100)]
    effects = feed.give(builders.signed(1, builders.place(1)))
    assert entries(effects)[0] == ("refill", "tenant/t", "agent/t/a", 80)
    feed.give(msgspec.structs.replace(paid, transfer_id="2"))
    effects = feed.give(builders.signed(2, builders.place(1)))
    assert entries(effects)[0] == ("refill", "tenant/t", "agent/t/a", 40)
    assert balance(feed, "tenant/t") == 80


def test_an_allowance_never_takes_what_a_grant_passes_on() -> None:
    """Waiting periods draw on what the tenant had, not on money on its way to the agent."""
    feed = opened(organisation="o")
    feed.give(builders.budget(40, tenant="t", agent="a", source="tenant"))
    paid = transit.CreditSent(
        transfer_id="1", organisation="o", organisation_partition=0, tenant="t", agent="a",
        amount_micros=100,
    )  # fmt: skip
    feed.give(paid, 5000)
    assert balance(feed, "agent/t/a") == 100
    assert balance(feed, "tenant/t") == 0


@pytest.mark.parametrize(
    "fields",
    [{}, {"organisation": "o", "tenant": "t"}, {"organisation": "o", "agent": "a"},
     {"agent": "a"}, {"tenant": "t", "source": "tenant"}],
)  # fmt: skip
def test_a_budget_names_one_account(fields: dict[str, Any]) -> None:
    """A budget of nobody, of two, or paid by a tenant to itself is no record."""
    with pytest.raises(ValueError, match=r"budget names|only an agent"):
        agents.BudgetSet(period_ms=1000, **fields)


def test_owners_are_read_from_accounts() -> None:
    """The owner that an entry names follows from the account."""
    assert ledger.owner_of("organisation/o") == ("o", "", "")
    assert ledger.owner_of("tenant/t") == ("", "t", "")
    assert ledger.owner_of("agent/t/a") == ("", "t", "a")
