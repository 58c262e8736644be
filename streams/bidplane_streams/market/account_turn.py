"""One input being applied to the accounts: the journal and the records it causes.

Decides how outcomes are told. Refuses to decide anything about them.
"""

from __future__ import annotations

from bidplane_streams.market import ledger, schedules
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import DeadLetter, Effect, Emit, Input
from bidplane_streams.market.ledger import Journal
from bidplane_topics import ids, registry
from bidplane_topics.ledger import EntryKind
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported
from bidplane_topics.rejections import Rejection, sentence


class AccountTurn:
    """What the rules of accounts read and write: the state, the journal, the records."""

    def __init__(self, state: AccountsState, given: Input) -> None:
        """One input at the place and time that the log gave it."""
        self.state = state
        self.given = given
        self.now_ms = given.at_ms
        self.journal = Journal(
            state.balances, state.partition, given.origin, given.at_ms, self.accrue
        )
        self.out: list[Effect] = []
        # Time stands still within one input: an account accrues once.
        self._current: set[str] = set()

    def dead(self, reason: Rejection, detail: str) -> None:
        """Bury the input: nobody is proven to have sent it, or nobody could have meant it."""
        self.out.append(DeadLetter(reason, detail))

    def accrue(self, account: str) -> None:
        """Book the whole periods that have passed for ``account``: no timer needed.

        A period that an agent's tenant cannot pay is not counted: it waits until the tenant can.
        """
        schedule = self.state.schedules.get(account)
        if schedule is None or account in self._current:
            return
        self._current.add(account)
        periods = schedule.periods(self.now_ms)
        if schedule.payer != ledger.TREASURY and schedule.amount_micros:
            self.accrue(schedule.payer)
            periods = min(
                periods, self.journal.balance(schedule.payer) // schedule.amount_micros
            )  # fmt: skip
        if not periods:
            return
        after = self.state.schedules.put(account, schedule.after(periods))
        change = schedules.accrued(schedule, self.journal.balance(account), periods)
        reference, owner = ids.joined(account, after.since_ms), ledger.owner_of(account)
        self._accrual("refill", schedule.payer, account, change.refill_micros, reference, owner)
        self._accrual("decay", account, ledger.EXPIRED, change.decay_micros, reference, owner)

    def _accrual(
        self, kind: EntryKind, debit: str, credit: str, amount_micros: int, reference: str,
        owner: ledger.Owner,
    ) -> None:  # fmt: skip
        self.journal.post(
            kind,
            debit,
            credit,
            amount_micros,
            reference,
            owner.tenant,
            owner.agent,
            owner.organisation,
        )

    def place(self) -> str:
        """The input's own id, for outcomes that no bid identifies."""
        origin = self.given.origin
        return ids.joined(origin.topic, origin.partition, origin.offset)

    def next_seq(self, market_partition: int) -> int:
        """The number of the next record to a market, which stops on a gap."""
        key = str(market_partition)
        return self.state.sent.put(key, (self.state.sent.get(key) or 0) + 1)

    def tell(
        self, kind: OutcomeKind, tenant: str, agent: str, about: str, *,
        reason: Rejection | None = None, evidence: dict[str, int | str] | None = None,
        bid_id: str = "", market: str = "", lease_id: str = "", amount_micros: int = 0,
        price_micros: int = 0, refund_micros: int = 0, epoch: int = 0, offer_id: str = "",
    ) -> None:  # fmt: skip
        """Every outcome of this lane carries the balances, so an agent always knows them."""
        figures: dict[str, int | str] = {
            "available_micros": self.journal.balance(ledger.available(tenant, agent)),
            "held_micros": self.journal.balance(ledger.hold(tenant, agent)),
        }
        outcome = OutcomeReported(
            outcome_id=ids.joined(kind, about), kind=kind, tenant=tenant, agent=agent,
            at_ms=self.now_ms, bid_id=bid_id, market=market, lease_id=lease_id, reason=reason,
            sentence="" if reason is None else sentence(reason),
            evidence=figures | (evidence or {}), amount_micros=amount_micros,
            price_micros=price_micros, refund_micros=refund_micros, epoch=epoch, offer_id=offer_id,
        )  # fmt: skip
        key = ids.agent_id(tenant, agent)
        self.out.append(Emit(registry.OUTCOMES, self.state.partition, key, outcome))
