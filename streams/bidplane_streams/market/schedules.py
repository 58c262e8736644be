"""What time alone does to an account: decay and refill, by whole periods.

Decides how much expires and how much comes, as arithmetic. Refuses to know who owns the account and
where the money comes from.
"""

from __future__ import annotations

import msgspec

from bidplane_topics.money import MICROS_MAX


class Schedule(msgspec.Struct, frozen=True):
    """An account's schedule; whole periods count from ``since_ms``.

    ``payer`` is the account that refills come from.
    """

    amount_micros: int
    period_ms: int
    since_ms: int
    payer: str
    decay_permille: int = 0

    def periods(self, now_ms: int) -> int:
        """How many periods have passed since the last one that was counted."""
        return max(0, now_ms - self.since_ms) // self.period_ms

    def after(self, periods: int) -> Schedule:
        """The same schedule with so many periods counted."""
        return msgspec.structs.replace(self, since_ms=self.since_ms + periods * self.period_ms)


class Accrual(msgspec.Struct, frozen=True):
    """What some periods add and take; both fit one ledger entry."""

    refill_micros: int
    decay_micros: int


def accrued(schedule: Schedule, available_micros: int, periods: int) -> Accrual:
    """The effect of ``periods`` on what is available: each first decays it, then refills it.

    Rounding spoils a closed form for all of it, so periods are walked, but never all of them: the
    balance only falls or only rises, and once a period gives what it takes the rest is a product.
    That is so after 31,000 steps at 1 permille and 340 at 10 per cent, whatever the amounts. One
    entry holds 2^53 - 1: periods beyond are lost, which nobody's money can reach.
    """
    give, permille = schedule.amount_micros, schedule.decay_permille
    refilled = decayed = 0
    while periods:
        lost = available_micros * permille // 1000
        steady = permille == 0 or lost == give
        count = periods if steady else 1
        for amount, total in ((give, refilled), (lost, decayed)):
            count = min(count, (MICROS_MAX - total) // amount) if amount else count
        refilled, decayed = refilled + count * give, decayed + count * lost
        available_micros += give - lost
        periods = 0 if steady or not count else periods - count
    return Accrual(refilled, decayed)
