"""Waiting for what becomes of a bid: what a person is told meanwhile, and when it ends too early.

Decides the words. Refuses to take a bid back: whoever stops waiting is told how to.
"""

from __future__ import annotations

import asyncio

from bidplane_agents.client import Client
from bidplane_agents.commands import output
from bidplane_agents.errors import NoAnswer, Unreachable
from bidplane_topics import money
from bidplane_topics.outcomes import OutcomeReported


async def bound(client: Client, bid_id: str, timeout_s: float) -> OutcomeReported:
    """The outcome ``bound`` of a bid that was sent. Each step may take ``timeout_s``.

    Raises:
        Refusal: the bid was refused, lost, or its lease voided.
        NoAnswer: a step took longer; the bid or lease stands, and the error says how to end it.
        Unreachable: Kafka stopped answering; likewise.
    """
    output.note(f"sent {bid_id}")
    standing = f"the bid stands: `bidplane cancel {bid_id}{_who(client)}` takes it back"
    missing = ""
    try:
        held = await client.wait_for(bid_id, {"held"}, timeout_s)
        if less := held_less(held):
            output.note(less)
        missing = "not won"
        won = await client.wait_for(bid_id, {"won"}, timeout_s)
        output.note("won; waiting for the devices")
        missing = "won, but the devices are not bound"
        standing = f"the lease stands: `bidplane release {won.lease_id}{_who(client)}` ends it"
        return await client.wait_for(bid_id, {"bound"}, timeout_s)
    except asyncio.CancelledError:  # Ctrl-C
        output.note(f"bidplane: {standing}")
        raise
    except NoAnswer as error:
        why = f"{missing} within {timeout_s:g} s" if missing else str(error)
        raise NoAnswer(f"{why}; {standing}") from error
    except Unreachable as error:
        raise Unreachable(f"{error}; {standing}") from error


def _who(client: Client) -> str:
    return f" --agent {client.profile.id}"


def held_less(held: OutcomeReported) -> str:
    """What to say where less was held than was asked, since no more was available; else nothing."""
    asked = held.evidence.get("asked_micros", 0)
    if not isinstance(asked, int) or held.amount_micros >= asked:
        return ""
    return (
        f"no more than {money.format_credits(held.amount_micros)} of the "
        f"{money.format_credits(asked)} credits were available: the bid counts with those"
    )
