"""Durations as a person types them: ``500ms``, ``2s``, ``10m``, ``1h``, ``7d``.

Inside, a duration is always a whole number of milliseconds.
"""

from __future__ import annotations

import re
from typing import Final

from bidplane_agents.errors import BadInput

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MINUTES: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?")
_DURATION: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?(ms|s|m|h|d)")


def parse_ms(what: str, text: str) -> int:
    """Read a duration as milliseconds.

    Raises:
        BadInput: it is none, or no whole number of milliseconds.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{what} {text!r}: write a number and a unit, as in 500ms, 2s, 10m or 1h")
    whole, fraction, unit = match.group(1), match.group(2) or "", match.group(3)
    thousandths = int(whole + fraction.ljust(3, "0")) * _UNITS_MS[unit]
    if thousandths % 1000:
        raise BadInput(f"{what} {text!r}: is no whole number of milliseconds")
    return thousandths // 1000


def minutes_ms(what: str, minutes: float | str) -> int:
    """Minutes, whole or decimal, as milliseconds.

    Raises:
        BadInput: no positive number of minutes with at most three decimals.
    """
    if _MINUTES.fullmatch(str(minutes).strip()) is None:
        raise BadInput(f"{what} {minutes!r}: write minutes as a number, as in 10 or 0.5")
    duration_ms = parse_ms(what, f"{str(minutes).strip()}m")
    if duration_ms == 0:
        raise BadInput(f"{what} {minutes}: must be above 0")
    return duration_ms


def within(what: str, duration_ms: int, least_ms: int, most_ms: int) -> int:
    """``duration_ms``, if it lies between the two.

    Raises:
        BadInput: it does not; says the limit that it breaks.
    """
    if duration_ms < least_ms:
        raise BadInput(f"{what} {show(duration_ms)}: at least {show(least_ms)}")
    if duration_ms > most_ms:
        raise BadInput(f"{what} {show(duration_ms)}: at most {show(most_ms)}")
    return duration_ms


def rough(duration_ms: int) -> str:
    """A time that is left, in its two largest units, to whole seconds: ``1h 2m``, ``2m 23s``."""
    left, said = max(0, duration_ms), []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNITS_MS[unit])
        if count:
            said.append(f"{count}{unit}")
    return " ".join(said[:2]) or "0s"


def show(duration_ms: int) -> str:
    """A duration in its largest unit that divides it."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % _UNITS_MS[unit] == 0:
            return f"{duration_ms // _UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
