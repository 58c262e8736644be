"""Money as integers: one credit is 1,000,000 micro-credits.

Decides how credits are typed, shown and divided. Refuses floats and decimals: every amount on the
wire, in state and in the ledger is an integer, and every division names its rounding.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from bidplane_topics.errors import ContractError

MICROS_PER_CREDIT: Final = 1_000_000
# Every JSON reader in the world holds integers up to here exactly.
MICROS_MAX: Final = 2**53 - 1

Micros = Annotated[int, msgspec.Meta(ge=0, le=MICROS_MAX)]
SignedMicros = Annotated[int, msgspec.Meta(ge=-MICROS_MAX, le=MICROS_MAX)]

_CREDITS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,6}))?")


def parse_credits(text: str) -> int:
    """Read credits as a person types them, e.g. ``3.50``, as micro-credits.

    Raises:
        ContractError: the text is no number of credits with at most six decimals.
    """
    match = _CREDITS.fullmatch(text.strip())
    if match is None:
        raise ContractError(
            f"{text!r} is no amount of credits: write digits with at most six decimals, as in 3.50"
        )
    whole, fraction = match.group(1), match.group(2) or ""
    micros = int(whole) * MICROS_PER_CREDIT + int(fraction.ljust(6, "0"))
    if micros > MICROS_MAX:
        raise ContractError(f"{text!r} credits are more than {MICROS_MAX // MICROS_PER_CREDIT}")
    return micros


def format_credits(micros: int) -> str:
    """Show micro-credits as credits, exactly, without trailing zeros beyond two decimals."""
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    whole, fraction = divmod(micros, MICROS_PER_CREDIT)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def share_floor(amount_micros: int, part: int, whole: int) -> int:
    """``amount · part / whole``, rounded down: for what the platform gives back."""
    assert whole > 0
    assert 0 <= part <= whole
    return amount_micros * part // whole
