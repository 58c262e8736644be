"""A few windows by which a freshly loaded kernel proves itself: every rule and shape, many ties.

Decides them by plain arithmetic, the same in every process. Refuses to replace the property tests:
this only notices a library that this machine built or loaded wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bidplane_streams.fast.columns import SHAPES
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

_WINDOWS: Final = 6
_BIDS: Final = 40
_NODES: Final = ((8, 8, 5, 3), (9, 2, 8), (1, 0, 4), (16, 8, 8, 8, 7))


class _Dice:
    """A linear congruential generator (Knuth's MMIX): no clock, no state of the interpreter."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        """An integer from 0 to limit - 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % limit


def windows() -> Iterator[Instance]:
    """Contested windows."""
    for number in range(_WINDOWS):
        dice = _Dice(number)
        pools = 1 + number % 3
        yield Instance(
            market="proof", window=number, beacon=f"{number:02x}", slot_ms=1000,
            pools=tuple(
                InstancePool(
                    name=f"p{pool}", device_class="gpu", nodes=_NODES[dice.below(len(_NODES))],
                    scarcity_permille=(1000, 730)[dice.below(2)],
                    reserve_micros=(0, 9)[dice.below(2)],
                )
                for pool in range(pools)
            ),
            bids=tuple(_bid(dice, bid, pools) for bid in range(_BIDS)),
        )  # fmt: skip


def _bid(dice: _Dice, number: int, pools: int) -> InstanceBid:
    elastic = dice.below(4) == 0
    low = 1 + dice.below(3) if elastic else 1
    return InstanceBid(
        bid_id=f"b{number}", agent="a", mode="elastic" if elastic else "rigid",
        value_micros=140 * dice.below(20) + dice.below(2), boost_micros=77 * (dice.below(4) == 0),
        weight=1 + dice.below(2), tier=min(1, dice.below(5)), level_min=low,
        level_max=low + dice.below(4) if elastic else 1,
        alternatives=tuple(
            InstanceAlternative(
                pool=f"p{dice.below(pools)}", shape=SHAPES[dice.below(len(SHAPES) - 1)],
                slots=1 + dice.below(2),
            )
            for _ in range(1 if elastic else 1 + dice.below(3))
        ),
    )  # fmt: skip
