"""A market's rules as a person types them, and the partition that a market has for ever.

Decides nothing about limits: they are the contract's, read from MarketDeclared itself.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bidplane_agents import durations, log
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_topics import markets, money, registry

RULES: Final[tuple[str, ...]] = typing.get_args(
    typing.get_type_hints(markets.MarketDeclared)["rule"]
)
_FIELDS: Final[dict[str, Any]] = typing.get_type_hints(markets.MarketDeclared, include_extras=True)
# Where a field is not called as its option.
_OPTIONS: Final = {
    "reserves": "pool reserve", "scarcity": "pool scarcity", "entitlements": "entitle",
    "weights": "weight",
}  # fmt: skip
# What `market list` has columns for.
_LISTED: Final = frozenset(
    {"market", "partition", "rule", "window_ms", "slot_ms", "reserve_micros", "fingerprint"}
)
# Offsets to look back in each partition: a round is a record and the marker of its transaction.
_LAST: Final = 40


def rule(text: str) -> str:
    """A price rule.

    Raises:
        BadInput: there is no such rule.
    """
    if text not in RULES:
        raise BadInput(f"--rule {text!r}: there are {', '.join(RULES)}")
    return text


def span_ms(option: str, text: str) -> int:
    """A duration; ``option`` (--bind-deadline) names its field (bind_deadline_ms).

    Raises:
        BadInput: it is no duration, or the contract allows no such one.
    """
    least, most = _limits(option.removeprefix("--").replace("-", "_") + "_ms")
    return durations.within(option, durations.parse_ms(option, text), least, most)


def permille(option: str, text: str) -> int:
    """A pool's scarcity.

    Raises:
        BadInput: it is no whole number from 1 to a million.
    """
    return _whole(option, text, "a whole number of permille", 1, 1_000_000)


def weight(option: str, text: str) -> int:
    """A class weight.

    Raises:
        BadInput: it is no whole number from 1 to a thousand.
    """
    return _whole(option, text, "a whole number", 1, 1000)


def share(option: str, text: str) -> int:
    """A share in permille.

    Raises:
        BadInput: it is no whole number from 0 to a thousand.
    """
    return _whole(option, text, "a whole number of permille", 0, 1000)


def _whole(option: str, text: str, what: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise BadInput(f"{option} {text!r}: write {what}, {least} to {most}")
    return int(text)


def check_drift(rules: dict[str, Any]) -> None:
    """Reserves that may move need room to.

    Raises:
        BadInput: a rate without a cap above the reserves, or a cap without a rate.
    """
    cap, highest = rules["reserve_cap_micros"], max(rules["reserves"].values(), default=0)
    if rules["reserve_rate_permille"] and cap <= max(highest, rules["reserve_micros"]):
        raise BadInput("--reserve-rate: name a --reserve-cap above every reserve")
    if cap and not rules["reserve_rate_permille"]:
        raise BadInput("--reserve-cap: reserves stay as they are without --reserve-rate")


def reserve_range(declared: markets.MarketDeclared) -> str:
    """The market's reserve; where it moves, from which to which credits."""
    least = money.format_credits(declared.reserve_micros)
    if not declared.reserve_rate_permille:
        return least
    return f"{least} to {money.format_credits(declared.reserve_cap_micros)}"


def facts(declared: markets.MarketDeclared) -> list[tuple[str, str]]:
    """Every rule as a person reads it, under its option's name."""
    return [(_word(field), _shown(field, getattr(declared, field))) for field in _names()]


def besides(declared: markets.MarketDeclared) -> list[str]:
    """What `market list` has no column for and is not as it is by default, by option."""
    usual = markets.MarketDeclared(market=declared.market, partition=declared.partition)
    return [_word(field) for field in _differing(declared, usual) if field not in _LISTED]


def kept(declared: markets.MarketDeclared, asked: dict[str, Any]) -> str:
    """What to say of a market that was declared before, and stays as it is."""
    plain = {field: tuple(v) if isinstance(v, list) else v for field, v in asked.items()}
    other = _differing(declared, msgspec.structs.replace(declared, **plain))
    more = f"; it differs from what was asked in: {', '.join(map(_word, other))}" if other else ""
    return f"{declared.market} was declared before: nothing changed{more}"


def _names() -> list[str]:
    return [field for field in markets.MarketDeclared.__struct_fields__ if field != "v"]


def _differing(one: markets.MarketDeclared, other: markets.MarketDeclared) -> list[str]:
    return [field for field in _names() if getattr(one, field) != getattr(other, field)]


def _word(field: str) -> str:
    for unit in ("_ms", "_micros", "_permille"):
        field = field.removesuffix(unit)
    return _OPTIONS.get(field, field.replace("_", " "))


def _shown(field: str, value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_shown(field, one)}" for name, one in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field == "solve_ms" and not value:
        return "a quarter of the window, 2s at most"
    return _counted(field, value)


def _counted(field: str, value: Any) -> str:
    if field.endswith("_ms"):
        return durations.show(value) if value else "0s"
    if field.endswith("_micros") or field == "reserves":
        return money.format_credits(value)
    return f"{value} permille" if field.endswith("_permille") else str(value)


def _limits(field: str) -> tuple[int, int]:
    """What the contract allows, from the field's own mark."""
    for mark in getattr(_FIELDS[field], "__metadata__", ()):
        if isinstance(mark, msgspec.Meta) and isinstance(mark.ge, int) and isinstance(mark.le, int):
            return mark.ge, mark.le
    raise AssertionError(f"{field} has no limits")


async def homes(connection: Connection) -> dict[str, int]:
    """The partition of every market there is or was: no other market may ever have it.

    A removed market's declaration is compacted away some day; its rounds still name it.

    Raises:
        Unreachable: Kafka does not answer.
    """
    found: dict[str, int] = {}
    async for record, event in log.events(connection, registry.ROUNDS, last=_LAST):
        found[event.market] = record.partition
    return found | await ever_declared(connection)


def home(market: str, homes: Mapping[str, int], count: int) -> int:
    """The partition of a market that is declared: the one it had, or the first free of ``count``.

    Raises:
        BadInput: every partition has or had a market.
    """
    if market in homes:
        return homes[market]
    free = set(range(count)) - set(homes.values())
    if not free:
        raise BadInput(
            f"all {count} market partitions are taken, and removed markets keep theirs: create "
            f"one of {', '.join(sorted(homes))} again, or use another Kafka, whose topics are "
            "made with `bidplane topics apply --market-partitions N`"
        )
    return min(free)


async def ever_declared(connection: Connection) -> dict[str, int]:
    """The partition of every market whose declaration is in the log, removed or not.

    Raises:
        Unreachable: Kafka does not answer.
    """
    return {
        event.market: event.partition
        async for _, event in log.events(connection, registry.MARKETS)
        if isinstance(event, markets.MarketDeclared)
    }
