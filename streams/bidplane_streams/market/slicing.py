"""Where slices go on devices: the constructive half of ``feasibility.mig_fits``.

Decides a placement for counts that fit, and spends what can be used least before what can be used
most. Refuses to ask whether they fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bidplane_streams.market.shapes import MIG

ALL: Final = tuple(range(7))
_LEFT, _RIGHT = (0, 1, 2, 3), (4, 5, 6)

# (device, first compute slot)
Start = tuple[int, int]


def starts(devices: Sequence[Iterable[int]], counts: dict[str, int]) -> dict[str, list[Start]]:
    """A place for every slice; ``devices`` are the free compute slots of each.

    Devices and slots that are named earlier are used earlier.

    4g takes left halves; 3g right halves, then left ones; 2g and 1g what is outside of free halves,
    then of right halves, then of left ones.
    """
    order = [tuple(slots) for slots in devices]
    free = [frozenset(slots) for slots in order]
    lefts = [device for device, slots in enumerate(free) if slots.issuperset(_LEFT)]
    rights = [device for device, slots in enumerate(free) if slots.issuperset(_RIGHT)]
    fours, lefts = lefts[: counts["4g"]], lefts[counts["4g"] :]
    threes, rights = rights[: counts["3g"]], rights[counts["3g"] :]
    over = counts["3g"] - len(threes)
    wide, lefts = lefts[:over], lefts[over:]
    # Device by device, so that as few halves as possible are broken.
    halves = [(device, start) for device in rights for start in order[device] if start in _RIGHT]
    halves += [(device, start) for device in lefts for start in order[device] if start in _LEFT]
    whole = set(halves) | {(device, start) for device in [*fours, *wide] for start in _LEFT}
    whole |= {(device, start) for device in threes for start in _RIGHT}
    loose = {(device, start): None for device, slots in enumerate(order) for start in slots
             if (device, start) not in whole}  # fmt: skip
    left = [*loose, *halves]
    there = set(left)
    pairs = [(device, start) for device, start in left
             if start in (0, 2, 4) and (device, start + 1) in there]  # fmt: skip
    twos = pairs[: counts["2g"]]
    used = {(device, start + slot) for device, start in twos for slot in (0, 1)}
    paired = {(device, start + slot) for device, start in pairs for slot in (0, 1)}
    broken = {(device, start in _RIGHT) for device, start in twos}

    def spoils(slot: Start) -> int:
        """How much larger is what a 1g would spoil here."""
        if slot in loose:
            return 2 if slot in paired else 0
        return 1 if (slot[0], slot[1] in _RIGHT) in broken else 3

    ones = [slot for slot in sorted(left, key=spoils) if slot not in used][: counts["1g"]]
    found = {
        "1g": ones, "2g": twos,
        "3g": [(device, 4) for device in threes] + [(device, 0) for device in wide],
        "4g": [(device, 0) for device in fours],
    }  # fmt: skip
    assert all(len(found[profile]) == counts[profile] for profile in MIG), "the counters erred"
    return found
