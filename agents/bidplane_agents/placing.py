"""Bids as a person says them: shapes, minutes and credits become a Place.

Decides how selectors and alternatives are typed. Refuses to judge a bid: that is the market's.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from bidplane_agents import durations
from bidplane_agents.errors import BadInput
from bidplane_topics import bids, ids, money

Wanted = str | int | bids.Condition
Part = TypeVar("Part", bids.Alternative, bids.Place)

SHAPES: Final[tuple[str, ...]] = typing.get_args(bids.Shape)

# What the contract allows a lease to last: thirty days.
LONGEST_MS: Final = 2_592_000_000

_TERM: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_./]*)(>=|=)(.+)")


def rigid(
    *, market: str, shape: str, minutes: float | str, value: str,
    selector: Mapping[str, Wanted] | None = None, rest_until_ms: int = 0,
) -> bids.Place:  # fmt: skip
    """One value, in credits as typed ("3.50"), for ``shape`` during ``minutes``.

    Raises:
        BadInput: a part cannot be used; says which.
    """
    one = alternative(shape, durations.minutes_ms("minutes", minutes), selector)
    return checked(market=market, value_micros=micros(value), alternatives=(one,),
                   rest_until_ms=rest_until_ms)  # fmt: skip


def elastic(
    *, market: str, shape: str, minutes: float | str, value: str, levels: tuple[int, int],
    selector: Mapping[str, Wanted] | None = None, rest_until_ms: int = 0,
) -> bids.Place:  # fmt: skip
    """``value`` credits for each of ``levels[0]`` to ``levels[1]`` copies of ``shape``.

    Raises:
        BadInput: a part cannot be used; says which.
    """
    one = alternative(shape, durations.minutes_ms("minutes", minutes), selector)
    return checked(
        market=market, mode="elastic", value_micros=micros(value), alternatives=(one,),
        level_min=levels[0], level_max=levels[1], rest_until_ms=rest_until_ms,
    )  # fmt: skip


def alternative(
    shape: str, duration_ms: int, selector: Mapping[str, Wanted] | None = None
) -> bids.Alternative:
    """One way to serve a bid.

    Raises:
        BadInput: no such shape, a lease that is too long, or a selector that the contract refuses.
    """
    if shape not in SHAPES:
        raise BadInput(f"shape {shape!r}: there are {' '.join(SHAPES)}")
    durations.within("a lease of", duration_ms, 1, LONGEST_MS)
    if not isinstance(selector, Mapping | None):
        raise BadInput(f"selector {selector!r}: write a dict, as in {{'architecture': 'Hopper'}}")
    raw = {"shape": shape, "duration_ms": duration_ms, "selector": dict(selector or {})}
    return _converted(raw, bids.Alternative)


def checked(**fields: object) -> bids.Place:
    """A Place, validated now and not only by whoever receives it.

    Raises:
        BadInput: names the field; ContractError: the market's name cannot be one.
    """
    ids.check_name("market", str(fields.get("market", "")))
    ways = fields.get("alternatives")
    count = len(ways) if isinstance(ways, tuple) else 0
    if count > bids.ALTERNATIVES_MAX:
        raise BadInput(f"{count} alternatives: a bid has at most {bids.ALTERNATIVES_MAX}")
    if fields.get("mode") == "elastic" and count != 1:
        raise BadInput(f"{count} alternatives: an elastic bid (with levels) has exactly one")
    return _converted(fields, bids.Place)


def micros(value: str) -> int:
    """Credits as typed, in micro-credits, above 0.

    Raises:
        BadInput: no amount, or 0.
    """
    if not isinstance(value, str):
        raise BadInput(f"value {value!r}: write credits as text, as in '3.50', so nothing rounds")
    amount = money.parse_credits(value)
    if amount == 0:
        raise BadInput("value 0: a bid must be worth something")
    return amount


def parse_selector(terms: list[str]) -> dict[str, Wanted]:
    """``memory=80Gi``, ``architecture=Hopper|Ampere``, ``index>=2``: all must hold.

    Raises:
        BadInput: a term is none of these.
    """
    selector: dict[str, Wanted] = {}
    for term in terms:
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise BadInput(f"selector {term!r}: write ATTR=VALUE, ATTR=A|B or ATTR>=NUMBER")
        name, operator, text = match.groups()
        selector[name] = _at_least(term, text) if operator == ">=" else _equal(text)
    return selector


def parse_alternative(
    text: str, shared: Mapping[str, Wanted] | None = None
) -> bids.Alternative:  # fmt: skip
    """``SHAPE:DURATION[:TERM,TERM…]``, as in ``2:10m:architecture=Hopper,memory=80Gi``.

    ``shared`` is a selector that all alternatives have; a term of the alternative's own replaces
    what it says of the same attribute.

    Raises:
        BadInput: it is not of that form.
    """
    shape, colon, rest = text.partition(":")
    duration, _, terms = rest.partition(":")
    if not colon:
        raise BadInput(f"alternative {text!r}: write SHAPE:DURATION[:ATTR=VALUE,…]")
    selector = parse_selector(terms.split(",")) if terms else {}
    duration_ms = durations.parse_ms("duration", duration)
    return alternative(shape, duration_ms, {**(shared or {}), **selector})


def parse_levels(text: str) -> tuple[int, int]:
    """``1..6``, or ``4`` for 1..4.

    Raises:
        BadInput: it is neither.
    """
    low, dots, high = text.partition("..")
    if not dots:
        low, high = "1", low
    if not re.fullmatch(r"[0-9]{1,3} [0-9]{1,3}", f"{low} {high}"):
        raise BadInput(f"levels {text!r}: write MIN..MAX, as in 1..6")
    if not 1 <= int(low) <= int(high) <= bids.LEVELS_MAX:
        raise BadInput(f"levels {text!r}: from 1 to {bids.LEVELS_MAX}, the lower one first")
    return int(low), int(high)


def _at_least(term: str, text: str) -> bids.Condition:
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise BadInput(f"selector {term!r}: >= compares with a whole number")
    return bids.Condition(at_least=int(text))


def _equal(text: str) -> Wanted:
    if "|" in text:
        return bids.Condition(one_of=tuple(_value(part) for part in text.split("|")))
    return _value(text)


def _value(text: str) -> str | int:
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else text


def _converted(raw: object, wanted: type[Part]) -> Part:
    """Through plain values, so that the contract's own checks speak."""
    try:
        return msgspec.convert(msgspec.to_builtins(raw), wanted)
    except msgspec.ValidationError as error:
        raise BadInput(f"bid: {plainly(error)}") from error


def plainly(error: msgspec.ValidationError) -> str:
    """What the contract says is wrong, without the marks of the wire: ``at $.window_ms``."""
    text, _, where = str(error).partition(" - at ")
    name = re.sub(r"[^A-Za-z0-9_]+", " ", where).strip()
    return f"{name}: {text}" if name else text
