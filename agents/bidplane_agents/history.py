"""What stored outcomes and the ledger say: an agent's view, a bid's story, an account's balance.

Decides how kept records answer a question now. Refuses to ask the lanes: they answer nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bidplane_agents import inbox, log, view
from bidplane_agents.connection import Connection
from bidplane_topics import ids, registry
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import is_transient

_NEXT_STEP = {
    "held": "Wait: the window has not closed yet, or the order rests in the book.",
    "won": "Wait for `bound`: the clock starts only then.",
    "bound": "Use the devices until ends_at_ms; `bidplane release LEASE` gives them back early.",
    "notice": "Save your work: grace is running and your epoch still holds.",
    "ending": "Nothing: your epoch no longer counts and the devices are being taken back.",
    "ended": "Nothing: the lease is over and what was unused is refunded.",
    "voided": "Bid again: you were refunded in full.",
    "lost": "Bid again, with a higher value, a smaller shape or more alternatives.",
    "cancelled": "Nothing: the money held is free again.",
    "expired": "Bid again, or let the order rest longer.",
}


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept about one bid, oldest first, and what to do next."""

    bid_id: str
    outcomes: tuple[OutcomeReported, ...]
    next_step: str


async def own(connection: Connection, tenant: str, agent: str) -> list[OutcomeReported]:
    """Every kept outcome of an agent, each once, in order.

    Raises:
        Unreachable: Kafka does not answer.
    """
    repeats = inbox.Repeats()
    return [
        outcome
        async for _, outcome in log.events(connection, registry.allocations(tenant))
        if outcome.agent == agent and repeats.is_new(outcome.outcome_id)
    ]


def fold(tenant: str, agent: str, outcomes: Iterable[OutcomeReported]) -> view.View:
    """The view after all ``outcomes``."""
    seen = view.View(tenant=tenant, agent=agent)
    for outcome in outcomes:
        seen = view.told(seen, outcome)
    return seen


def story(bid_id: str, outcomes: Iterable[OutcomeReported]) -> Story:
    """What became of a bid and its lease; without outcomes if none is kept."""
    kept = tuple(outcomes)
    leases = {outcome.lease_id for outcome in kept if outcome.bid_id == bid_id} - {""}
    about = tuple(one for one in kept if one.bid_id == bid_id or one.lease_id in leases)
    return Story(bid_id=bid_id, outcomes=about, next_step=_next_step(about))


def _next_step(about: tuple[OutcomeReported, ...]) -> str:
    telling = [one for one in about if one.kind not in ("settled", "declined", "replayed")]
    if not telling:
        return "Nothing is kept of it: check the id, or whether a worker runs."
    last = telling[-1]
    if last.kind == "refused" and last.reason is not None:
        later = is_transient(last.reason)
        return "The same bid may succeed later." if later else "Change the bid: it cannot succeed."
    return _NEXT_STEP.get(last.kind, "")


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money; ``outcomes`` or ``ledger`` say how it is known."""

    account: str
    available_micros: int
    held_micros: int
    known_from: str


async def ledger_balance(connection: Connection, partition: int, account: str) -> Balance:
    """TENANT or TENANT/NAME, by adding up every entry of the ledger.

    Raises:
        Unreachable: Kafka does not answer.
    """
    tenant, slash, name = account.partition("/")
    own_account = f"agent/{ids.agent_id(tenant, name)}" if slash else f"tenant/{tenant}"
    totals = {own_account: 0, f"hold/{account}": 0}
    entries: set[str] = set()
    async for _, event in log.events(connection, registry.LEDGER, partition):
        assert isinstance(event, LedgerPosted)
        if event.entry_id in entries:
            continue
        entries.add(event.entry_id)
        for side, sign in ((event.debit, -1), (event.credit, 1)):
            if side in totals:
                totals[side] += sign * event.amount_micros
    return Balance(
        account=account, available_micros=totals[own_account],
        held_micros=totals[f"hold/{account}"], known_from="ledger",
    )  # fmt: skip
