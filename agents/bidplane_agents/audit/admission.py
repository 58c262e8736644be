"""How much of a bid its money covers, by trying levels from the top.

Decides value and levels. Refuses to know markets; MECHANISM, "Admission", is the source.
"""

from __future__ import annotations

from bidplane_topics.bids import Place
from bidplane_topics.money import MICROS_MAX


def admitted(place: Place, available_micros: int) -> tuple[int, int] | None:
    """(value per level, highest level) that are held; None where nothing is left."""
    covered = min(available_micros, MICROS_MAX)  # no entry holds more
    for level in range(place.level_max, place.level_min, -1):
        if place.value_micros * level <= covered:
            return place.value_micros, level
    value = min(place.value_micros, covered // place.level_min)
    return (value, place.level_min) if value else None
