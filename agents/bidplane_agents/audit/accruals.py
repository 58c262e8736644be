"""What time did to each account: whole periods of its schedule, each decayed and refilled once.

Decides which entries of a cause are accruals and what they should be, given the balances at that
place of the ledger. Refuses to know the causes: it is told which accounts they touch, and time is
booked before an account is touched. A second telling of market/README.md, "Budgets", on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_topics import agents, ids, registry
from bidplane_topics.money import MICROS_MAX

TREASURY: Final = "treasury"
EXPIRED: Final = "expired"
KINDS: Final = frozenset({"refill", "decay"})


class Plan(NamedTuple):
    """A schedule as an operator set it: where in the log, and what every whole period does."""

    offset: int
    since_ms: int
    account: str
    payer: str
    amount_micros: int
    period_ms: int
    decay_permille: int


class Due(NamedTuple):
    """An accrual as it should be booked."""

    kind: str
    debit: str
    credit: str
    amount_micros: int
    reference: str


def account_of(organisation: str, tenant: str, agent: str) -> str:
    """The account of an organisation, a tenant or an agent."""
    if organisation:
        return f"organisation/{organisation}"
    return f"agent/{tenant}/{agent}" if agent else f"tenant/{tenant}"


def plan_of(one: Seen) -> Plan | None:
    """The schedule that a record sets, if it sets one."""
    event, at_ms = one.event, one.record.timestamp_ms
    if isinstance(event, agents.RefillSet):
        account = account_of("", event.tenant, event.agent)
        return Plan(
            one.record.offset, at_ms, account, TREASURY, event.amount_micros, event.period_ms, 0
        )
    if isinstance(event, agents.BudgetSet):
        account = account_of(event.organisation, event.tenant, event.agent)
        payer = TREASURY if event.source == "treasury" else f"tenant/{event.tenant}"
        return Plan(
            one.record.offset, at_ms, account, payer, event.amount_micros, event.period_ms,
            event.decay_permille,
        )  # fmt: skip
    return None


def after_periods(plan: Plan, balance: int, periods: int) -> tuple[int, int]:
    """(refilled, decayed) in so many periods: one after the other until nothing changes any more.

    No entry holds more than MICROS_MAX: whole periods beyond it are lost.
    """
    refilled = decayed = 0
    for left in range(periods, 0, -1):
        loss = balance * plan.decay_permille // 1000
        times = left if loss == plan.amount_micros or not plan.decay_permille else 1
        if plan.amount_micros:
            times = min(times, (MICROS_MAX - refilled) // plan.amount_micros)
        if loss:
            times = min(times, (MICROS_MAX - decayed) // loss)
        refilled, decayed = refilled + times * plan.amount_micros, decayed + times * loss
        balance += plan.amount_micros - loss
        if times != 1:
            break
        if loss == plan.amount_micros or not plan.decay_permille:
            break
    return refilled, decayed


class Accruals:
    """The schedules of one partition's accounts, and how far each is booked."""

    def __init__(self, contents: Contents, partition: int) -> None:
        """Read every schedule that was not refused."""
        self._plans: dict[str, list[Plan]] = {}
        self._at: dict[str, int] = {}
        self._since_ms: dict[str, int] = {}
        for one in contents.of(registry.ACCOUNTS, partition):
            plan = plan_of(one)
            if plan is not None and one.record.origin not in contents.dead:
                self._plans.setdefault(plan.account, []).append(plan)

    def set_before(self, offset: int) -> None:
        """Every schedule that stands before ``offset`` of the accounts topic counts by now."""
        for account, plans in self._plans.items():
            last = max((n for n, plan in enumerate(plans) if plan.offset < offset), default=-1)
            self._reach(account, last)

    def candidates(self, account: str, at_ms: int, seen_ms: int) -> list[int]:
        """Which schedules may count for a cause of ``at_ms``, the likeliest first; -1 is none.

        A schedule may begin without an entry, so its place in the ledger is not always known. It
        can only have begun once it was written, at the latest when the entries were (``seen_ms``).
        """
        now, plans = self._at.get(account, -1), self._plans.get(account, [])
        later = [n for n, plan in enumerate(plans) if n > now]
        before = [n for n in reversed(later) if plans[n].since_ms <= at_ms]
        after = [n for n in later if at_ms < plans[n].since_ms <= seen_ms]
        return [*before, now, *after]

    def current(self, account: str) -> int:
        """The schedule that is known to count; -1 is none."""
        return self._at.get(account, -1)

    def plan(self, account: str, index: int) -> Plan | None:
        """A schedule by its number."""
        return None if index < 0 else self._plans[account][index]

    def due(
        self, account: str, index: int, at_ms: int, balance: Callable[[str], int]
    ) -> tuple[list[Due], int]:
        """What is to be booked, if that schedule counts; and up to when it counts then."""
        plan = self.plan(account, index)
        if plan is None:
            return [], 0
        since_ms = plan.since_ms
        if index == self._at.get(account, -1):
            since_ms = self._since_ms[account]
        periods = max(0, at_ms - since_ms) // plan.period_ms
        if plan.payer != TREASURY and plan.amount_micros:
            periods = min(periods, balance(plan.payer) // plan.amount_micros)
        until_ms = since_ms + periods * plan.period_ms
        refilled, decayed = after_periods(plan, balance(account), periods)
        reference = ids.joined(account, until_ms)
        entries = (
            Due("refill", plan.payer, account, refilled, reference),
            Due("decay", account, EXPIRED, decayed, reference),
        )
        return [one for one in entries if one.amount_micros], until_ms

    def booked(self, account: str, index: int, until_ms: int) -> None:
        """Remember which schedule counts, and up to when it is booked."""
        if index >= 0:
            self._at[account], self._since_ms[account] = index, until_ms

    def _reach(self, account: str, index: int) -> None:
        if index > self._at.get(account, -1):
            self._at[account] = index
            self._since_ms[account] = self._plans[account][index].since_ms


class Turn:
    """The entries of one cause, walked: accruals are judged, the others handed to ``post``."""

    def __init__(
        self, accruals: Accruals, entries: Sequence[Seen], findings: Findings,
        balance: Callable[[str], int], post: Callable[[Seen], None],
    ) -> None:  # fmt: skip
        """``balance`` tells an account's balance as posted so far."""
        self._accruals, self._entries, self._findings = accruals, entries, findings
        self._balance, self._post = balance, post
        self._touched: set[str] = set()
        self._next = 0

    def touch(self, accounts: Iterable[str]) -> None:
        """These accounts are brought up to date, in this order."""
        for account in accounts:
            if account not in self._touched:
                self._touched.add(account)
                self._accrue(account)

    def finish(self) -> None:
        """Walk the rest: every entry touches its two accounts first."""
        while self._next < len(self._entries):
            own = next((one for one in self._left() if one.event.kind not in KINDS), None)
            if own is not None:
                self.touch((own.event.debit, own.event.credit))
            while self._next < len(self._entries) and self._entries[self._next] is not own:
                one = self._entries[self._next]
                self._findings.check(
                    2, False, one.record, "a refill or decay", "none due", one.event
                )
                self._take()
            if own is not None:
                self._take()

    def _left(self) -> Sequence[Seen]:
        return self._entries[self._next :]

    def _take(self) -> None:
        self._post(self._entries[self._next])
        self._next += 1

    def _accrue(self, account: str) -> None:
        first = self._entries[0]
        at_ms, found = first.event.at_ms, self._found(account)
        possible = self._accruals.candidates(account, at_ms, first.record.timestamp_ms)
        index = next(
            (one for one in possible if self._due(account, one, at_ms)[0] == found),
            self._accruals.current(account),
        )  # fmt: skip
        due, until_ms = self._due(account, index, at_ms)
        self._accruals.booked(account, index, until_ms)
        for wanted in due:
            given = self._left()[0] if self._left() else None
            shown = None if given is None else _due_of(given)
            record = first.record if given is None else given.record
            if self._findings.check(
                2, wanted == shown, record, f"what time did to {account}", wanted, shown
            ):
                named = _owner_of(self._left()[0].event)
                self._findings.same(2, _owner(account), named, record, "whose entry it is")
                self._take()

    def _due(self, account: str, index: int, at_ms: int) -> tuple[list[Due], int]:
        """What is due, once whoever pays it is up to date."""
        plan = self._accruals.plan(account, index)
        if plan is not None and plan.payer != TREASURY and plan.amount_micros:
            self.touch((plan.payer,))
        return self._accruals.due(account, index, at_ms, self._balance)

    def _found(self, account: str) -> list[Due]:
        """The accruals of this account among the entries not walked yet."""
        accruals = [_due_of(one) for one in self._left() if one.event.kind in KINDS]
        return [one for one in accruals if one.reference.partition("|")[0] == account]


def _due_of(one: Seen) -> Due:
    event = one.event
    return Due(event.kind, event.debit, event.credit, event.amount_micros, event.reference)


def _owner_of(event: Any) -> tuple[str, str, str]:
    return event.organisation, event.tenant, event.agent


def _owner(account: str) -> tuple[str, str, str]:
    """The organisation, tenant and agent that an account's entries must name."""
    kind, _, name = account.partition("/")
    tenant, _, agent = name.partition("/")
    return (name, "", "") if kind == "organisation" else ("", tenant, agent)
