"""A market's rules as a person types them, and the partition that a market has for ever.

Decides nothing about limits: they are the contract's, read from MarketDeclared itself.
"""

from __future__ import annotations

import typing
from typing import Any, Final

import msgspec

from bidplane_agents import durations, log
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_topics import markets, registry

RULES: Final[tuple[str, ...]] = typing.get_args(
    typing.get_type_hints(markets.MarketDeclared)["rule"]
)
_FIELDS: Final[dict[str, Any]] = typing.get_type_hints(markets.MarketDeclared, include_extras=True)
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
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise BadInput(f"{option} {text!r}: write a whole number of permille, 1 to 1000000")
    return int(text)


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
    async for _, event in log.events(connection, registry.MARKETS):
        if isinstance(event, markets.MarketDeclared):
            found[event.market] = event.partition
    return found
