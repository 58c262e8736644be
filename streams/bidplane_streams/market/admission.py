"""How much of a bid's value its bidder's money covers.

Decides the admitted value, levels and hold. Refuses to know pools, prices or other bids.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bidplane_topics.bids import Place
from bidplane_topics.money import MICROS_MAX

# Money alone would let an agent fill a book with orders of one micro-credit.
OPEN_ORDERS_MAX: Final = 4_096


class Admitted(msgspec.Struct, frozen=True):
    """What is held for an order: ``value_micros`` per level, times ``level_max``."""

    value_micros: int
    level_max: int

    @property
    def hold_micros(self) -> int:
        """The most the order could cost."""
        return self.value_micros * self.level_max


def admit(place: Place, available_micros: int) -> Admitted | None:
    """Hold as much as the money covers; None where nothing is left (MECHANISM, Admission).

    Elastic: levels shrink first, down to ``level_min``; only then does the value.
    """
    levels = place.level_max
    covered = min(available_micros, MICROS_MAX)  # an account may hold more than one entry can
    if place.value_micros * levels > covered:
        levels = max(place.level_min, covered // place.value_micros)
    value = min(place.value_micros, covered // levels)
    return None if value == 0 else Admitted(value, levels)
