"""Money between organisations and tenants: what left arrives once, or comes back once.

Decides from the ledgers of all partitions and the records between them. Refuses to know schedules
and single balances: money.py folds those, partition by partition.
"""

from __future__ import annotations

from typing import Final

from bidplane_agents.audit.books import missing
from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_topics import agents, registry, transit
from bidplane_topics.rejections import Rejection

TRANSIT: Final = "transit"
# Between a registration and the moment at which a lane surely knows it.
SPREAD_MS: Final = 60_000
ByTransfer = dict[str, list[Seen]]


def audit_transits(contents: Contents, findings: Findings) -> None:
    """Every transfer: its record, its entries, its one end."""
    _Transits(contents, findings).audit()


class _Transits:
    """All records and entries of transfers, by their id."""

    def __init__(self, contents: Contents, findings: Findings) -> None:
        self.contents, self.findings = contents, findings
        self.sent: ByTransfer = {}
        self.back: ByTransfer = {}
        for one in contents.all(registry.TRANSIT):
            found = self.sent if isinstance(one.event, transit.CreditSent) else self.back
            found.setdefault(one.event.transfer_id, []).append(one)
        self.left: ByTransfer = {}
        self.arrived: ByTransfer = {}
        self.restored: ByTransfer = {}
        for one in contents.all(registry.LEDGER):
            if one.event.kind == "transit":
                self._entries(one).setdefault(one.event.reference, []).append(one)

    def _entries(self, one: Seen) -> ByTransfer:
        if one.event.credit == TRANSIT:
            return self.left
        return self.restored if one.event.credit.startswith("organisation/") else self.arrived

    def audit(self) -> None:
        self._unique()
        for one in self.contents.all(registry.ACCOUNTS):
            if isinstance(one.event, agents.CreditAllotted):
                self._allotted(one)
        for name in sorted({*self.sent, *self.back, *self.left, *self.arrived, *self.restored}):
            self._way(name)

    def _unique(self) -> None:
        """No step of a transfer is made twice."""
        steps = (
            (self.sent, "a transfer is sent twice"), (self.back, "a transfer is sent back twice"),
            (self.left, "a transfer is paid twice"),
            (self.arrived, "a transfer is credited twice"),
            (self.restored, "a transfer is given back twice"),
        )  # fmt: skip
        for found, what in steps:
            for name, seen in found.items():
                for extra in seen[1:]:
                    self.findings.check(2, False, extra.record, what, "once", name)

    def _allotted(self, one: Seen) -> None:
        """What an organisation paid is sent to the tenant's partition, as it was granted."""
        event: agents.CreditAllotted = one.event
        left = self.left.get(event.grant_id, [])
        if not any(_caused(entry, one) for entry in left):
            return
        sent = self.sent.get(event.grant_id)
        if sent is None:
            at = missing(registry.TRANSIT, event.tenant_partition, one.record.timestamp_ms)
            late = self.contents.late(left[0])
            self.findings.check(2, late, at, f"transfer {event.grant_id}", "a record", "none")
            return
        wanted = transit.CreditSent(
            v=sent[0].event.v, transfer_id=event.grant_id, organisation=event.organisation,
            organisation_partition=one.record.partition, tenant=event.tenant, agent=event.agent,
            amount_micros=event.amount_micros,
        )  # fmt: skip
        self.findings.same(2, wanted, sent[0].event, sent[0].record, f"transfer {event.grant_id}")
        partition = sent[0].record.partition
        self.findings.same(2, event.tenant_partition, partition, sent[0].record, "its partition")

    def _way(self, name: str) -> None:
        """From step to step of one transfer; the last one may still be open."""
        sent, back = self.sent.get(name, []), self.back.get(name, [])
        left, arrived, restored = (
            found.get(name, []) for found in (self.left, self.arrived, self.restored)
        )
        for caused, causes, what in (
            (sent, left, "a transfer that nobody paid"), (arrived, sent, "credit that nobody sent"),
            (back, sent, "a return of what nobody sent"),
            (restored, back, "credit that nobody sent back"),
        ):  # fmt: skip
            for one in caused:
                free = self.contents.late(one) or one.event.amount_micros == 0
                self.findings.check(2, bool(causes) or free, one.record, what, "none", name)
        if arrived and back:
            what = "a transfer that arrived and came back"
            self.findings.check(2, False, back[0].record, what, "one of them", name)
        if sent and sent[0].event.amount_micros and not arrived and not back:
            self.findings.left_open("transfers on their way")
        if back and back[0].event.amount_micros and not restored:
            self.findings.left_open("transfers on their way back")
        if sent:
            self._end(sent[0], bool(arrived), back)

    def _end(self, sent: Seen, arrived: bool, back: list[Seen]) -> None:
        """It arrived where it belongs, or came back whole and for a true reason."""
        event: transit.CreditSent = sent.event
        belongs, surely = self._home(sent)
        name = f"transfer {event.transfer_id}"
        if arrived:
            self.findings.check(
                2, belongs, sent.record, f"{name} to tenant {event.tenant}",
                f"a tenant of {event.organisation}", "none",
            )  # fmt: skip
        for one in back[:1]:
            wanted = transit.CreditReturned(
                v=one.event.v, transfer_id=event.transfer_id, organisation=event.organisation,
                tenant=event.tenant, agent=event.agent, amount_micros=event.amount_micros,
                reason=one.event.reason,
            )  # fmt: skip
            self.findings.same(2, wanted, one.event, one.record, f"the return of {name}")
            self.findings.same(
                2, event.organisation_partition, one.record.partition, one.record, "its partition"
            )
            why = one.event.reason in (Rejection.UNKNOWN_AGENT, Rejection.CONFLICT)
            self.findings.check(
                2, why and not surely, one.record, f"the return of {name}", "a true reason",
                one.event.reason,
            )  # fmt: skip

    def _home(self, sent: Seen) -> tuple[bool, bool]:
        """Whether the tenant could take it; and whether its lane surely knew that already."""
        event: transit.CreditSent = sent.event
        member, known = False, not event.agent
        latest_ms = 0
        for one in self.contents.of(registry.AGENTS, sent.record.partition):
            if one.record.origin in self.contents.dead:
                continue
            match one.event:
                case agents.TenantRegistered() as found if found.tenant == event.tenant:
                    member = member or found.organisation == event.organisation
                case agents.AgentRegistered() as found:
                    if (found.tenant, found.agent) != (event.tenant, event.agent):
                        continue
                    known = True
                case _:
                    continue
            latest_ms = max(latest_ms, one.record.timestamp_ms)
        belongs = member and known
        return belongs, belongs and latest_ms + SPREAD_MS < sent.record.timestamp_ms


def _caused(entry: Seen, cause: Seen) -> bool:
    origin = entry.event.origin
    return bool((origin.topic, origin.partition, origin.offset) == cause.record.origin)
