"""What an agent signs: an envelope of commands.

Hostile until verified, so unknown fields are refused. The shape is validated here; the rules
(money, pools, reserves) are the market's.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from bidplane_topics.event import Millis
from bidplane_topics.ids import Name
from bidplane_topics.money import Micros

COMMANDS_MAX: Final = 64
RECORD_BYTES_MAX: Final = 64 * 1024
ALTERNATIVES_MAX: Final = 16
LEVELS_MAX: Final = 64

Shape = Literal["1g", "2g", "3g", "4g", "1", "2", "4", "8", "16", "32", "64"]
Attribute = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=256)]


class _Strict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A value that a person types: a misspelt field is an error, never silently ignored."""


class Condition(_Strict, frozen=True, kw_only=True, rename={"one_of": "in", "at_least": ">="}):
    """``{"in": [...]}`` or ``{">=": n}``."""

    one_of: Annotated[tuple[Text | int, ...], msgspec.Meta(max_length=64)] | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        """Exactly one test."""
        if (self.one_of is None) == (self.at_least is None):
            raise ValueError('a condition is either {"in": [...]} or {">=": n}')


Selector = dict[Attribute, Text | int | Condition]


class Alternative(_Strict, frozen=True, kw_only=True):
    """A way to serve a bid: devices that match ``selector``, in ``shape``, for ``duration_ms``.

    The selector reads the attributes of a pool's fingerprint, and ``pool`` and ``device_class``.
    """

    selector: Annotated[Selector, msgspec.Meta(max_length=16)] = {}
    shape: Shape
    duration_ms: Annotated[int, msgspec.Meta(ge=1, le=2_592_000_000)]


class Place(_Strict, frozen=True, kw_only=True):
    """A bid. Rigid: one value for any alternative. Elastic: a value per level of one alternative.

    ``rest_until_ms`` keeps a losing order in the book for later windows; 0 means one window.
    ``renews`` names a lease whose next term this bid is for, on the same devices: its alternative
    repeats the lease's shape and needs no selector.
    """

    market: Name
    mode: Literal["rigid", "elastic"] = "rigid"
    value_micros: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    level_min: Annotated[int, msgspec.Meta(ge=1, le=LEVELS_MAX)] = 1
    level_max: Annotated[int, msgspec.Meta(ge=1, le=LEVELS_MAX)] = 1
    not_before_ms: Millis = 0
    rest_until_ms: Millis = 0
    renews: Annotated[str, msgspec.Meta(max_length=64)] = ""
    alternatives: Annotated[
        tuple[Alternative, ...], msgspec.Meta(min_length=1, max_length=ALTERNATIVES_MAX)
    ]

    def __post_init__(self) -> None:
        """Levels belong to elastic bids, which have one alternative (MECHANISM: monotone)."""
        if self.mode == "elastic" and len(self.alternatives) != 1:
            raise ValueError("an elastic bid has exactly one alternative")
        if self.mode == "rigid" and (self.level_min, self.level_max) != (1, 1):
            raise ValueError("level_min and level_max belong to elastic bids")
        if self.level_min > self.level_max:
            raise ValueError("level_min is above level_max")
        if self.renews and (self.mode == "elastic" or len(self.alternatives) != 1):
            raise ValueError("a renewal is rigid and has exactly one alternative")


class Cancel(_Strict, frozen=True, kw_only=True):
    """Asks to take an order out of the book; the market answers."""

    bid_id: Annotated[str, msgspec.Meta(max_length=256)]


class Release(_Strict, frozen=True, kw_only=True):
    """Ends a lease early; unused slots are refunded."""

    lease_id: Annotated[str, msgspec.Meta(max_length=64)]


class Offer(_Strict, frozen=True, kw_only=True):
    """Offers a lease to another agent at a price."""

    lease_id: Annotated[str, msgspec.Meta(max_length=64)]
    to: Annotated[str, msgspec.Meta(max_length=65)]
    price_micros: Micros


class Accept(_Strict, frozen=True, kw_only=True):
    """Accepts an offer."""

    offer_id: Annotated[str, msgspec.Meta(max_length=256)]


class Command(_Strict, frozen=True, kw_only=True):
    """Exactly one of its fields."""

    place: Place | None = None
    cancel: Cancel | None = None
    release: Release | None = None
    offer: Offer | None = None
    accept: Accept | None = None

    def __post_init__(self) -> None:
        """Exactly one command."""
        given = self.parts()
        if len(given) - given.count(None) != 1:
            raise ValueError("a command is exactly one of place, cancel, release, offer, accept")

    def parts(self) -> tuple[Place | Cancel | Release | Offer | Accept | None, ...]:
        """All five, most of them None."""
        return (self.place, self.cancel, self.release, self.offer, self.accept)

    def chosen(self) -> Place | Cancel | Release | Offer | Accept:
        """The one that is there."""
        chosen = self.place or self.cancel or self.release or self.offer or self.accept
        assert chosen is not None, "a command without a field is never made"
        return chosen


class Envelope(_Strict, frozen=True, kw_only=True):
    """What one signature covers. ``sequence`` grows per (agent, key), up to ``expires_at_ms``."""

    v: Literal[1]
    tenant: Name
    agent: Name
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    expires_at_ms: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    commands: Annotated[tuple[Command, ...], msgspec.Meta(min_length=1, max_length=COMMANDS_MAX)]
