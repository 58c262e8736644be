"""What the accounts lane told its agents, held against what it had to tell.

Decides whether an answer is there, right in every field, and true to the ledger's balances. Refuses
to know why an answer was due.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bidplane_agents.audit.books import Books, missing
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.money import Balances
from bidplane_topics import ids, registry
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection, sentence


class Answers:
    """The outcomes of one partition that the accounts lane wrote."""

    def __init__(self, books: Books, partition: int, findings: Findings) -> None:
        """``partition`` of the tenants."""
        self.books, self.partition, self.findings = books, partition, findings

    def expect(
        self, cause: Record, kind: OutcomeKind, about: str, whose: tuple[str, str], *,
        reasons: Collection[Rejection] = (), owed: bool = True, bid_id: str = "",
        market: str = "", lease_id: str = "", amount_micros: int = 0, price_micros: int = 0,
        refund_micros: int = 0, epoch: int = 0, offer_id: str = "",
    ) -> Seen | None:  # fmt: skip
        """Claim the answer to ``cause``; ``whose`` is (tenant, agent). Returns it, if there."""
        outcome_id, at_ms = ids.joined(kind, about), cause.timestamp_ms
        seen = self.books.outcomes.claim(outcome_id)
        if seen is None:
            excused = not owed or not self.books.owed_outcome(self.partition, at_ms)
            at = missing(registry.OUTCOMES, self.partition, at_ms)
            self.findings.check(1, excused, at, f"outcome {outcome_id}", "a record", "none")
            return None
        found: OutcomeReported = seen.event
        reason = found.reason
        self.findings.check(
            1, reason in reasons if reasons else reason is None, seen.record, f"why {outcome_id}",
            sorted(reasons) or "none", reason,
        )  # fmt: skip
        wanted = OutcomeReported(
            v=found.v, outcome_id=outcome_id, kind=kind, tenant=whose[0], agent=whose[1],
            at_ms=at_ms, bid_id=bid_id, market=market, reason=reason,
            sentence=worded(found), evidence=found.evidence,
            amount_micros=amount_micros, price_micros=price_micros, refund_micros=refund_micros,
            lease_id=lease_id, epoch=epoch, offer_id=offer_id,
        )  # fmt: skip
        self.findings.same(1, wanted, found, seen.record, f"outcome {outcome_id}")
        self.findings.same(1, self.partition, seen.record.partition, seen.record, "its partition")
        return seen

    def balances_told(self, seen: Seen | None, now: Balances) -> None:
        """An answer whose place in the ledger is known told the balances of that very place."""
        if seen is not None:
            self.findings.same(2, now, balances(seen.event), seen.record, "the balances told")

    def check_evidence(self, history: Mapping[str, list[Balances]]) -> None:
        """The balances told are balances that the ledger shows, in its order."""
        at: dict[str, int] = {}
        contents = self.books.contents
        for one in contents.of(registry.OUTCOMES, self.partition):
            event: OutcomeReported = one.event
            if "available_micros" not in event.evidence or not event.agent or contents.late(one):
                continue
            owner = ids.agent_id(event.tenant, event.agent)
            known = history.get(owner, [Balances(0, 0)])
            told, start = balances(event), at.get(owner, 0)
            while start < len(known) and known[start] != told:
                start += 1
            if self.findings.check(
                2, start < len(known), one.record, f"the balances told to {owner}",
                "balances that the ledger shows", told,
            ):  # fmt: skip
                at[owner] = start


def worded(found: OutcomeReported) -> str:
    """The sentence that goes with the reason: an older version may have worded it otherwise."""
    if found.reason is None:
        return ""
    return found.sentence or sentence(found.reason)


def balances(event: OutcomeReported) -> Balances:
    """The balances that an answer tells; -1 where it tells none."""
    available = event.evidence.get("available_micros", -1)
    held = event.evidence.get("held_micros", -1)
    return Balances(
        available if isinstance(available, int) else -1, held if isinstance(held, int) else -1
    )
