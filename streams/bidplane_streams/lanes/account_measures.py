"""What is measured of the accounts: how long bids take to be admitted, and every tenant's money.

Decides what is counted when, and which tenants have a name in metrics: the 200 richest when a
partition opens, and later ones while there is room; the rest are ``other``. The state is read when
somebody looks at the metrics, not in each transaction: a bid costs half a microsecond here.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

from bidplane_streams import metrics, stages
from bidplane_streams.instruments import PartitionGauge, Series
from bidplane_streams.lanes.logic import Record
from bidplane_streams.lanes.measuring import Moments
from bidplane_streams.market import ledger
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.effects import Effect
from bidplane_topics.ledger import LedgerPosted, Settled
from bidplane_topics.orders import OrderPlaced

NAMED_MAX: Final = 200
OTHER: Final = "other"
INTENDED: Final = "bidplane-intended-ms"
SENT: Final = "bidplane-sent-ms"
# A record has two headers, key and signature, unless its sender says when it was due and sent.
_PLAIN_HEADERS: Final = 2
# No header counts that is further than this from the record's append time.
BELIEVED_MS: Final = 3_600_000
_DIGITS_MAX: Final = 14
_GIVEN: Final = frozenset({"grant", "refill", "transit"})
_OUTSIDE: Final = frozenset({ledger.TREASURY, ledger.TRANSIT})


# Rows whose change moves a gauge.
_MONEY_ROWS: Final = (b"balance/", b"schedule/")


class Notes:
    """What one transaction was about; made while it is decided, read once it is committed."""

    __slots__ = ("admitted", "changed", "charged", "granted", "refunded", "stamped")

    def __init__(self) -> None:
        self.admitted: defaultdict[str, list[int]] = defaultdict(list)
        self.stamped: list[Record] = []
        self.granted: Counter[str] = Counter()
        self.charged: Counter[tuple[str, str]] = Counter()
        self.refunded: Counter[tuple[str, str]] = Counter()
        self.changed: list[bytes] = []

    def wrote(self, rows: Iterable[bytes]) -> None:
        """The changelog rows of the transaction."""
        self.changed = [row for row in rows if row.startswith(_MONEY_ROWS)]

    def took(self, record: Record, event: Any, caused: Iterable[Effect]) -> None:
        """A record was applied; a bid's record counts once, for its first order's market."""
        for effect in caused:
            said: Any = effect[-1]
            if type(said) is LedgerPosted:
                if said.kind in _GIVEN and said.debit in _OUTSIDE and said.tenant:
                    self.granted[said.tenant] += said.amount_micros
            elif type(said) is OrderPlaced:
                self.admitted[said.market].append(record.timestamp_ms)
                if len(record.headers) > _PLAIN_HEADERS:
                    self.stamped.append(record)
                break  # the ledger's entries come before all else
        if type(event) is Settled:
            whose = (event.tenant, event.market)
            if event.cause == "won":
                self.charged[whose] += event.charge_micros
            if event.refund_micros:
                self.refunded[whose] += event.refund_micros


class AccountMeasures:
    """All partitions of one process."""

    def __init__(self) -> None:
        """No partition is open."""
        self._open: dict[int, _Money] = {}
        self._named: set[str] = set()

    def opened(self, partition: int, state: AccountsState) -> None:
        """Name the richest tenants, and let whoever looks at metrics see this partition's money."""
        money = self._open[partition] = _Money(state)
        rich = {tenant: money.balance[tenant] + money.held[tenant] for tenant in money.tenants()}
        for tenant in sorted(rich, key=lambda one: (-rich[one], one)):
            self._label(tenant)
        for gauge, found in _gauges(money):
            gauge.put(("accounts", partition), functools.partial(self._series, money, found))

    def closed(self, partition: int) -> None:
        """Forget the partition."""
        money = self._open.pop(partition, None)
        for gauge, _ in () if money is None else _gauges(money):
            gauge.drop(("accounts", partition))

    def committed(self, partition: int, notes: Notes, moments: Moments) -> None:
        """Count what happened."""
        for market, stamps in notes.admitted.items():
            waits = [moments.committed_ms - stamp for stamp in stamps]
            _observe("admitted", market, waits)
        if notes.stamped:
            _sent_and_acked(notes.stamped)
        for tenant, micros in notes.granted.items():
            metrics.GRANTED.labels(self._label(tenant)).inc(micros)
        for (tenant, market), micros in notes.charged.items():
            metrics.CHARGED.labels(self._label(tenant), market).inc(micros)
        for (tenant, market), micros in notes.refunded.items():
            metrics.REFUNDED.labels(self._label(tenant), market).inc(micros)
        self._open[partition].changed.update(notes.changed)

    def _label(self, tenant: str) -> str:
        if tenant not in self._named:
            if len(self._named) >= NAMED_MAX:
                return OTHER
            self._named.add(tenant)
        return tenant

    def _series(self, money: _Money, by_tenant: Counter[str]) -> Series:
        money.refresh()
        found: Counter[tuple[str, ...]] = Counter()
        for tenant, micros in by_tenant.items():
            found[(self._label(tenant),)] += micros
        return found


class _Money:
    """Each tenant's money on one partition, kept up from the changelog rows that changed.

    ``balance``: what the tenant and its agents may bid; ``held`` for their orders; ``limit``: what
    one period of those budgets adds that the tenant does not pay itself.
    """

    def __init__(self, state: AccountsState) -> None:
        self._state = state
        self._known: Counter[bytes] = Counter()
        self.balance: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.limit: Counter[str] = Counter()
        self.changed = {
            f"{table.name}/{account}".encode()
            for table in (state.balances, state.schedules)
            for account, _ in table.items()
        }
        self.refresh()

    def tenants(self) -> list[str]:
        """Everyone who has an account here."""
        return sorted(self.balance)

    def refresh(self) -> None:
        """Take in what has changed since the last look."""
        changed, self.changed = self.changed, set()
        for row in changed:
            table, _, account = row.decode().partition("/")
            tenant = ledger.owner_of(account).tenant
            if tenant:
                self._count(row, table, account, tenant)

    def _count(self, row: bytes, table: str, account: str, tenant: str) -> None:
        if table == self._state.schedules.name:
            into, after = self.limit, self._added(account)
        else:
            found = self._state.balances.get(account)
            into = self.held if account.startswith("hold/") else self.balance
            after = 0 if found is None else found.micros
        into[tenant] += after - self._known[row]
        self._known[row] = after

    def _added(self, account: str) -> int:
        found = self._state.schedules.get(account)
        outside = found is not None and found.payer == ledger.TREASURY
        return found.amount_micros if found is not None and outside else 0


def _gauges(money: _Money) -> tuple[tuple[PartitionGauge, Counter[str]], ...]:
    return (
        (metrics.BALANCE, money.balance),
        (metrics.HELD, money.held),
        (metrics.CREDIT_LIMIT, money.limit),
    )


def _observe(stage: str, market: str, waits_ms: Iterable[int]) -> None:
    waits_s = [max(0, wait_ms) / 1000 for wait_ms in waits_ms]
    if waits_s:
        stages.STAGE_S.labels(stage, market).observe_each(waits_s)


def _sent_and_acked(records: Iterable[Record]) -> None:
    """By what the senders say: for measuring alone, nobody's money hangs on it."""
    sent: list[int] = []
    acked: list[int] = []
    for record in records:
        headers = dict(record.headers)
        intended_ms = _moment(record, headers.get(INTENDED))
        sent_ms = _moment(record, headers.get(SENT))
        if sent_ms is not None:
            acked.append(record.timestamp_ms - sent_ms)
        if sent_ms is not None and intended_ms is not None:
            sent.append(sent_ms - intended_ms)
    _observe("sent", "", sent)
    _observe("acked", "", acked)


def _moment(record: Record, raw: bytes | None) -> int | None:
    """Milliseconds since 1970; None for what was not meant as a time, or would spoil every mean."""
    if not raw or len(raw) > _DIGITS_MAX or not raw.isdigit():
        return None
    moment_ms = int(raw)
    return moment_ms if abs(record.timestamp_ms - moment_ms) <= BELIEVED_MS else None
