"""The base of every event: frozen, versioned, tagged by a past-tense name.

Evolution has three rules. Add a field with a default, or add an event. Never rename, retype or
reuse one. Say "since vN" and why in the docstring. Golden records of every released version decode
for ever.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

_WORD = re.compile(r"(?<!^)(?=[A-Z])")

Millis = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


def tag_of(name: str) -> str:
    """``OrderPlaced`` is ``order_placed`` on the wire."""
    return _WORD.sub("_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=tag_of):
    """A fact. ``v`` is the version that its writer knew; unknown fields are ignored."""

    v: int = 1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A value inside an event, without a tag of its own."""
