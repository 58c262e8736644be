"""Waiting for a bid: what is said when less was held, and when waiting ends too early."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_agents import client as clients
from bidplane_agents import profiles
from bidplane_agents.commands import awaiting
from bidplane_agents.connection import Connection
from bidplane_agents.errors import NoAnswer
from bidplane_topics import envelope
from bidplane_topics.outcomes import OutcomeReported

BID = "t/a/key/1/0"


def outcome(kind: Any, **more: Any) -> OutcomeReported:
    """An outcome about the bid."""
    given = {"outcome_id": f"{kind}|{BID}", "bid_id": BID, "at_ms": 1, **more}
    return OutcomeReported(kind=kind, tenant="t", agent="a", **given)


def told(*outcomes: OutcomeReported) -> clients.Client:
    """A client that was told these and will hear nothing more."""
    key = envelope.SigningKey(b"\7" * 32)
    profile = profiles.Profile(tenant="t", agent="a", partition=0, key=key.to_text())
    client = clients.Client(profile, Connection("127.0.0.1:1"))
    for one in outcomes:
        client._listening().file(one)
    return client


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ((), "no outcome held"),
        ((outcome("held"),), "not won within 0.1 s"),
        ((outcome("held"), outcome("won", lease_id="l1")), "the devices are not bound within"),
    ],
)
async def test_a_wait_that_ends_early_says_how_to_end_the_bid(
    outcomes: tuple[OutcomeReported, ...], said: str
) -> None:
    """The bid or the lease stands, and the command that takes it back is named."""
    with pytest.raises(NoAnswer, match=said) as caught:
        await awaiting.bound(told(*outcomes), BID, 0.1)
    ends = "release l1" if len(outcomes) == 2 else f"cancel {BID}"
    assert f"stands: `bidplane {ends} --agent t/a`" in str(caught.value)


async def test_holding_less_than_was_asked_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A bid above the balance counts with what is there, and says so."""
    held = outcome("held", amount_micros=2_000_000, evidence={"asked_micros": 3_500_000})
    bound = outcome("bound", lease_id="l1")
    client = told(held, outcome("won", lease_id="l1"), bound)
    assert await awaiting.bound(client, BID, 5) == bound
    assert "no more than 2.00 of the 3.50 credits" in capsys.readouterr().err
    assert awaiting.held_less(outcome("held", amount_micros=5, evidence={"asked_micros": 5})) == ""
