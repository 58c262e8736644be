"""Refills: whole periods only, each paid once.

Decides which schedule an entry follows. Refuses to say when a refill had to come: it accrues when
the account is touched, and costs nobody anything by being late.
"""

from __future__ import annotations

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_topics import agents, ids, registry
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.money import MICROS_MAX


class Refills:
    """The schedules of one partition's agents, and how far each is paid."""

    def __init__(self, contents: Contents, partition: int) -> None:
        """Read every schedule."""
        self._set: dict[str, list[Seen]] = {}
        self._at: dict[str, int] = {}
        self._paid_until_ms: dict[str, int] = {}
        self._bids = {
            record.offset: record.timestamp_ms
            for record in contents.log.of(registry.BIDS.name, partition)
        }
        for one in contents.of(registry.ACCOUNTS, partition):
            if isinstance(one.event, agents.RefillSet):
                owner = ids.agent_id(one.event.tenant, one.event.agent)
                self._set.setdefault(owner, []).append(one)

    def check(self, one: Seen, findings: Findings) -> None:
        """Check one refill entry and remember how far it pays."""
        event: LedgerPosted = one.event
        owner = ids.agent_id(event.tenant, event.agent)
        name, _, until = event.reference.partition("|")
        until_ms = int(until) if until.isdigit() and name == owner else -1
        schedules = self._set.get(owner, [])
        for index in range(self._at.get(owner, 0), len(schedules)):
            if self._follows(event, owner, schedules[index], index, until_ms):
                self._at[owner], self._paid_until_ms[owner] = index, until_ms
                findings.check(2, True, one.record, "a refill")
                break
        else:
            findings.check(
                2,
                False,
                one.record,
                "a refill",
                "whole periods of a schedule, unpaid so far",
                event,
            )
        accounts = (event.debit, event.credit)
        findings.same(
            2, ("treasury", f"agent/{owner}"), accounts, one.record, "a refill's accounts"
        )

    def _follows(
        self, event: LedgerPosted, owner: str, schedule: Seen, index: int, until_ms: int
    ) -> bool:
        wanted: agents.RefillSet = schedule.event
        start_ms = schedule.record.timestamp_ms
        if index == self._at.get(owner) and owner in self._paid_until_ms:
            start_ms = self._paid_until_ms[owner]
        periods, rest = divmod(until_ms - start_ms, wanted.period_ms)
        cause_ms = self._bids.get(event.origin.offset)
        bid = event.origin.topic == registry.BIDS.name and cause_ms is not None
        if bid and not 0 <= (cause_ms or 0) - until_ms < wanted.period_ms:
            return False
        whole = min(periods * wanted.amount_micros, MICROS_MAX)  # no entry holds more
        return periods > 0 and rest == 0 and event.amount_micros == whole
