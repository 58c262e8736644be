"""What commands say of sales, renewals and repeated registrations, without servers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bidplane_agents import cli, operator
from bidplane_agents.commands import budgeting, operating, showing
from bidplane_agents.errors import BadInput
from bidplane_topics import agents
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported


def told(kind: OutcomeKind, **more: Any) -> OutcomeReported:
    """An outcome of lease l."""
    return OutcomeReported(
        outcome_id=kind, kind=kind, tenant="t", agent="a", at_ms=1, lease_id="l", **more
    )


def test_a_buyer_reads_what_it_paid_and_what_could_be_refunded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The price of the sale is the buyer's; the market's own price is only what refunds go by."""
    bound = told("bound", price_micros=2352)
    showing.bought(bound, 2_500_000, as_json=False)
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["paid"].strip() == "2.50 to the seller"
    assert lines["refundable"].strip().startswith("0.002352 at most: the market's price")
    assert "price" not in lines
    showing.bought(bound, 2_500_000, as_json=True)
    found = orjson.loads(capsys.readouterr().out)
    assert (found["kind"], found["price_micros"], found["paid_micros"]) == (
        "bound",
        2352,
        2_500_000,
    )


def test_what_is_told_of_a_sale_names_its_price(capsys: pytest.CaptureFixture[str]) -> None:
    """`why` and `allocations --follow` tell it apart from the lease's own price."""
    sold = told("won", price_micros=2352, amount_micros=2_500_000, offer_id="offer:x")
    showing.streamed(sold, as_json=False)
    assert "price 0.002352  sale price 2.50" in capsys.readouterr().out
    showing.streamed(told("held", amount_micros=5), as_json=False)
    assert "sale" not in capsys.readouterr().out


def test_figures_are_shown_in_units_that_people_read() -> None:
    """Amounts in credits, moments as dates, times with their unit, and no name of the wire."""
    evidence: dict[str, int | str] = {
        "pending_until_ms": 1_795_301_558_195, "waited_ms": 2000, "value_micros": 2_500_000,
        "price_micros_per_unit_slot": 1, "unit_slots": 14, "to": "lab/b",
    }  # fmt: skip
    assert showing.evidence(told("lost", evidence=evidence)) == (
        "pending_until 2026-11-21 22:52:38, waited 2s, value 2.50, "
        "price_per_unit_slot 0.000001, unit_slots 14, to lab/b"
    )


def test_no_limit_is_never_typed_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """`renew --spend 0` would go on for ever, so it is refused before anything is asked."""
    words = ["renew", "l", "--value", "1", "--minutes", "1", "--keep", "--spend", "0"]
    assert cli.run(words) == 2
    assert "--spend 0: name the credits" in capsys.readouterr().err


KEY = agents.AgentKey(key_id="k1", public_key="p")
BEFORE = agents.AgentRegistered(tenant="t", agent="a", keys=(KEY,), cluster=False)


def registered(*key_ids: str, cluster: bool = False) -> operator.Registered:
    """The agent after its registration."""
    return operator.Registered(agent="t/a", partition=0, key_ids=key_ids, cluster=cluster)


def test_a_repeated_registration_says_what_it_changed() -> None:
    """Keys and the control plane by name; else that nothing changed."""
    assert operating.changes(BEFORE, registered("k1")) == []
    changed = operating.changes(BEFORE, registered("k1", "k2", cluster=True))
    assert changed == ["key k2 is added", "its control plane is asked for"]
    assert budgeting.again("t/a", []) == "t/a was registered before: nothing changed"
    assert budgeting.again("t/a", changed).endswith(
        "key k2 is added; its control plane is asked for"
    )


def test_a_repeated_registration_says_what_its_money_options_do() -> None:
    """First credits are given once per name, and a budget is set anew each time."""
    assert budgeting.money_changes(credits_given=False, budget=False) == []
    both = budgeting.money_changes(credits_given=True, budget=True)
    assert both == ["its credits are given once, then or now", "its refill and decay are set anew"]


def test_an_account_that_is_not_there_is_answered_with_one_that_is_near() -> None:
    """Agents, tenants and organisations alike."""
    known = operator.Directory({"lab": 0}, {"lab/tuner": BEFORE}, {"acme": 1})
    for slip, meant in (("lab/tunr", "lab/tuner"), ("labb", "lab"), ("org:acm", "org:acme")):
        with pytest.raises(BadInput, match=f"{slip} is not registered: did you mean '{meant}'"):
            known.partition_of(slip)
