"""Double entry: every movement takes from one named account and gives to another.

Decides balances. Refuses to let any but the system's own accounts go below zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from bidplane_streams.market.effects import Emit
from bidplane_streams.market.rows import Rows
from bidplane_topics import ids, registry
from bidplane_topics.ledger import EntryKind, LedgerPosted, Origin
from bidplane_topics.money import MICROS_MAX

TREASURY = "treasury"
REVENUE = "revenue"
# What decayed; and what left this partition for another, or came here from one.
EXPIRED = "expired"
TRANSIT = "transit"
MAY_BE_NEGATIVE = frozenset({TREASURY, REVENUE, TRANSIT})


class Owner(NamedTuple):
    """Whose account an entry is about; what is empty has no part in it."""

    organisation: str = ""
    tenant: str = ""
    agent: str = ""


def owner_of(account: str) -> Owner:
    """Whose an account is; nobody's for the system's own."""
    kind, *names = account.split("/")
    if kind == "organisation":
        return Owner(organisation=names[0])
    return Owner("", *names)


def organisation_account(organisation: str) -> str:
    """The organisation's own account: what it may still give."""
    return f"organisation/{organisation}"


def tenant_account(tenant: str) -> str:
    """The tenant's own account."""
    return f"tenant/{tenant}"


def available(tenant: str, agent: str) -> str:
    """What an agent may still bid."""
    return f"agent/{tenant}/{agent}"


def hold(tenant: str, agent: str) -> str:
    """What is reserved for the agent's orders."""
    return f"hold/{tenant}/{agent}"


class Balance(msgspec.Struct, frozen=True):
    """An account's balance in micro-credits."""

    micros: int = 0


def _nothing_accrues(account: str) -> None:
    del account


class Journal:
    """Posts the entries of one input: numbers them, moves balances, collects the records."""

    def __init__(
        self, balances: Rows[Balance], partition: int, origin: Origin, at_ms: int,
        before: Callable[[str], None] = _nothing_accrues,
    ) -> None:  # fmt: skip
        """``origin`` names the record that causes the entries.

        ``before`` is called with each account that an entry is about to touch, so that what time
        did to it is booked first, whoever posts.
        """
        self._balances = balances
        self._before = before
        self._partition = partition
        self._origin = origin
        self._at_ms = at_ms
        self.entries: list[Emit] = []

    def balance(self, account: str) -> int:
        """The balance now, in micro-credits."""
        row = self._balances.get(account)
        return 0 if row is None else row.micros

    def post(
        self, kind: EntryKind, debit: str, credit: str, amount_micros: int, reference: str,
        tenant: str, agent: str = "", organisation: str = "",
    ) -> None:  # fmt: skip
        """Move ``amount_micros`` from ``debit`` to ``credit``; an amount of 0 writes nothing."""
        assert 0 <= amount_micros <= MICROS_MAX, "money moves forward, as far as an entry holds"
        assert debit != credit
        if amount_micros == 0:
            return
        self._before(debit)
        self._before(credit)
        self._move(debit, -amount_micros)
        self._move(credit, amount_micros)
        cause, index = self._origin, len(self.entries)
        origin = Origin(
            topic=cause.topic, partition=cause.partition, offset=cause.offset, index=index
        )
        entry = LedgerPosted(
            entry_id=ids.joined(origin.topic, origin.partition, origin.offset, index),
            kind=kind, debit=debit, credit=credit, amount_micros=amount_micros, tenant=tenant,
            agent=agent, organisation=organisation, reference=reference, origin=origin,
            at_ms=self._at_ms,
        )  # fmt: skip
        self.entries.append(Emit(registry.LEDGER, self._partition, debit, entry))

    def _move(self, account: str, by_micros: int) -> None:
        after = self.balance(account) + by_micros
        assert after >= 0 or account in MAY_BE_NEGATIVE, f"{account} would be overdrawn"
        self._balances.put(account, Balance(after))
