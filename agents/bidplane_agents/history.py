"""What stored outcomes and the ledger say: an agent's view, a bid's story, an account's balance.

Decides how kept records answer a question now. Refuses to ask the lanes: they answer nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bidplane_agents import budgets, inbox, log, view
from bidplane_agents.connection import Connection
from bidplane_topics import ids, money, registry
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection, is_transient

_NEXT_STEP = {
    "held": "Wait: the window has not closed yet, or the order rests in the book.",
    "won": "Wait for `bound`: the clock starts only then.",
    "renewed": "Nothing: the lease goes on until its new end.",
    "bound": "Use the devices until it ends; `bidplane release LEASE` gives them back early.",
    "notice": "Save your work: grace is running and your epoch still holds.",
    "ending": "Nothing: your epoch no longer counts and the devices are being taken back.",
    "offered": "Give the offer's id to the agent that it names: `bidplane accept OFFER`.",
    "transferred": "Nothing: you are paid when the buyer's lease is bound.",
    "ended": "Nothing: the lease is over and what was unused is refunded.",
    "voided": "Bid again: you were refunded in full.",
    "lost": "Bid again, with a higher value, a smaller shape or more alternatives.",
    "cancelled": "Nothing: the money held is free again.",
    "expired": "Bid again, or let the order rest longer.",
}

# A refusal that says "later" would mislead where somebody has to do something first.
_AFTER_REFUSAL = {
    Rejection.UNKNOWN_MARKET: "Name a market of `bidplane market list` and bid again.",
    Rejection.MARKET_REMOVED: "Name another market of `bidplane market list`.",
    Rejection.NO_FUNDS: "Ask an operator for `bidplane grant`, or wait for refunds and a refill.",
    Rejection.TOO_MANY_ORDERS: "Wait until orders end, or `bidplane cancel` some.",
    Rejection.TOO_LONG: "Bid for less time: `bidplane market list --json` has max_duration_ms.",
    Rejection.NO_MATCHING_POOL: (
        "See `bidplane market pools` for what is offered, and bid with terms that a pool meets."
    ),
    Rejection.SHAPE_NOT_SOLD: (
        "Name a smaller shape, or a pool with larger nodes: see `bidplane market pools`."
    ),
    Rejection.RENEWAL_CLOSED: (
        "Bid for new devices, or ask an operator to sell what is in use (`--pending`)."
    ),
    Rejection.RENEWAL_OPEN: "Wait for the renewal in the book, or `bidplane cancel` it.",
    Rejection.BELOW_RESERVE: (
        "Bid at least the reserve: `bidplane quote` says it for a shape and a time."
    ),
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
    if any(one.kind == "declined" and one.offer_id and not one.lease_id for one in about):
        return "Nothing: the offer was not taken, and no money is held for it."
    if not telling:
        return "Nothing is kept of it: check the id, or whether a worker runs."
    last = telling[-1]
    if last.kind == "refused" and last.reason is not None:
        if last.reason in _AFTER_REFUSAL:
            return _AFTER_REFUSAL[last.reason]
        later = is_transient(last.reason)
        return "The same bid may succeed later." if later else "Change the bid: it cannot succeed."
    if last.kind == "lost":
        return _after_losing(last)
    renewed = last.kind == "won" and any(one.kind == "bound" for one in telling)
    return _NEXT_STEP.get("renewed" if renewed else last.kind, "")


def _after_losing(lost: OutcomeReported) -> str:
    enough = lost.evidence.get("would_have_won_micros")
    if lost.reason is Rejection.OUTBID and isinstance(enough, int):
        value = money.format_credits(enough)
        return f"Bid again: {value} would have won; or name a smaller shape or more alternatives."
    if lost.reason is Rejection.NO_CAPACITY:
        return "Let the bid rest until devices are free, or name a smaller shape or another pool."
    return _NEXT_STEP["lost"]


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money; ``outcomes`` or ``ledger`` say how it is known."""

    account: str
    available_micros: int
    held_micros: int
    known_from: str


async def ledger_balance(connection: Connection, partition: int, account: str) -> Balance:
    """org:NAME, TENANT or TENANT/NAME, by adding up every entry of the ledger.

    Raises:
        Unreachable: Kafka does not answer.
    """
    tenant, slash, name = account.partition("/")
    own_account = f"agent/{ids.agent_id(tenant, name)}" if slash else f"tenant/{tenant}"
    if organisation := budgets.organisation_in(account):
        own_account = f"organisation/{organisation}"
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
