"""Budgets as an operator types them: accounts, refills and decay.

Decides what the words mean. Refuses to know who is registered.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from bidplane_agents import durations
from bidplane_agents.errors import BadInput
from bidplane_topics import ids, money

# A registration does not wait for its money, which an organisation's limit may refuse.
ASKED: Final = (
    "the credits are asked for, once per name: `bidplane balance` shows what came, `bidplane grant "
    "--wait` gives more and says why not"
)
_WORDS: Final = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
_PERCENT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]))?%")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every whole period does to an account."""

    amount_micros: int = 0
    period_ms: int
    decay_permille: int = 0


def organisation_in(account: str) -> str:
    """The organisation that ``org:NAME`` names; "" for a tenant's or an agent's account."""
    return account.removeprefix(ids.ORGANISATION) if account.startswith(ids.ORGANISATION) else ""


def check_account(account: str) -> str:
    """Return ``account`` if it is ``org:NAME``, TENANT or TENANT/NAME.

    Raises:
        ContractError: it is none of them.
    """
    if "/" in account:
        ids.split_agent(account)
    elif account.startswith(ids.ORGANISATION):
        ids.check_name("organisation", organisation_in(account))
    else:
        ids.check_name("tenant", account)
    return account


def parse_refill(text: str) -> tuple[int, int]:
    """``2.50/hour`` or ``1/10m``: micro-credits and milliseconds.

    Raises:
        BadInput: it is neither.
    """
    amount, slash, period = text.partition("/")
    if not slash:
        raise BadInput(f"refill {text!r}: write CREDITS/PERIOD, as in 2.50/hour or 1/10m")
    return money.parse_credits(amount), _period_ms("refill", period)


def _period_ms(what: str, period: str) -> int:
    found = durations.parse_ms(what, _WORDS.get(period, period))
    if found < 1000:
        raise BadInput(f"{what} {period!r}: a period is one second or longer")
    return found


def parse_plan(refill: str, decay: str) -> Plan | None:
    """``--refill 2.50/hour`` and ``--decay 10%`` (or ``10%/day`` alone); None where both are empty.

    Raises:
        BadInput: one is wrong, or the decay has no period.
    """
    if not refill and not decay:
        return None
    share, _, every = decay.partition("/")
    permille = _permille(decay, share) if decay else 0
    if not refill:
        if not every:
            raise BadInput(f"--decay {decay!r}: without --refill name the period, as in 10%/day")
        return Plan(period_ms=_period_ms("decay", every), decay_permille=permille)
    amount_micros, period_ms = parse_refill(refill)
    if every and _period_ms("decay", every) != period_ms:
        raise BadInput(f"--decay {decay!r}: decay and refill share one period: write {share}")
    return Plan(amount_micros=amount_micros, period_ms=period_ms, decay_permille=permille)


def _permille(decay: str, share: str) -> int:
    match = _PERCENT.fullmatch(share.strip())
    permille = 10 * int(match.group(1)) + int(match.group(2) or 0) if match else 1001
    if permille > 1000:
        raise BadInput(f"--decay {decay!r}: write a percentage up to 100%, as in 10% or 0.5%")
    return permille
