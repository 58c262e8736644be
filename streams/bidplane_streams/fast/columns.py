"""Bids as columns of integers: what the kernel reads, kept up to date as bids come and go.

Decides the layout. Refuses to know pools' capacity, weights of scarcity and the beacon: those are
known at the close only, so nothing here must be done again when they change.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, get_args

import msgspec

from bidplane_topics.bids import Shape
from bidplane_topics.instances import InstanceAlternative, InstanceBid

SHAPES: Final[tuple[Shape, ...]] = get_args(Shape)
# Canonical JSON of one bid, as codec.canonical writes it: sorted names, no spaces.
_TEXT: Final = msgspec.json.Encoder(order="sorted")
_SHAPE: Final = {shape: index for index, shape in enumerate(SHAPES)}
_ELASTIC: Final = {"rigid": 0, "elastic": 1}
# Bids that are turned into columns, or fed to a digest, at once.
_AT_ONCE: Final = 4096
_SEQUENCES: Final = 2**53


class Beyond(Exception):
    """These bids do not fit columns: numbers out of range, or one id twice."""


class Columns:
    """Bids in rows. ``add`` and ``remove`` keep it; ``of`` makes it at once.

    A removed bid leaves an empty row, which takes no part; when most rows are empty they are made
    anew.
    """

    def __init__(self) -> None:
        """No bids."""
        self.rows: dict[str, int] = {}
        self.bids: list[InstanceBid | None] = []
        self.texts: dict[str, bytes] = {}
        self.pools: dict[str, int] = {}
        self.value, self.boost, self.weight, self.tier = (array("q") for _ in range(4))
        self.elastic, self.level_min, self.level_max = (array("B") for _ in range(3))
        self.pair_start, self.pair_count = array("q"), array("i")
        self.pair_pool, self.pair_shape, self.pair_slots = array("i"), array("B"), array("q")
        self.ids, self.id_start, self.id_length = array("B"), array("q"), array("i")
        self._ordered: list[str] = []

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, bids: Sequence[InstanceBid]) -> Columns:
        """All these bids.

        Raises:
            Beyond: they do not fit columns.
        """
        columns = cls()
        columns.extend(bids)
        return columns

    def add(self, bid: InstanceBid) -> None:
        """One more bid.

        Raises:
            Beyond: it does not fit columns.
        """
        self.extend((bid,))

    def remove(self, bid_id: str) -> None:
        """Forget a bid.

        Raises:
            KeyError: it is not here.
        """
        row = self.rows.pop(bid_id)
        self.pair_count[row] = 0
        self.bids[row] = None
        del self.texts[bid_id]
        if 2 * len(self.rows) < len(self.bids):
            self.renew()

    def renew(self) -> None:
        """Forget empty rows, and pools that no bid names any more."""
        live = [bid for bid in self.bids if bid is not None]
        self.__init__()  # type: ignore[misc]
        self.extend(live)

    def extend(self, bids: Sequence[InstanceBid]) -> None:
        """More bids, column by column: a third of the time that bid by bid would take.

        Raises:
            Beyond: one does not fit columns; some of those before it may have been taken.
        """
        for start in range(0, len(bids), _AT_ONCE):
            self._extend(bids[start : start + _AT_ONCE])

    def _extend(self, bids: Sequence[InstanceBid]) -> None:
        names = [bid.bid_id for bid in bids]
        if len(set(names)) != len(names) or not self.rows.keys().isdisjoint(names):
            raise Beyond("a bid id stands twice")
        try:
            fresh = _fresh(bids, self.pools)
            texts = list(map(_TEXT.encode, bids))
            encoded = [name.encode() for name in names]
        except (OverflowError, KeyError, TypeError, ValueError) as error:
            raise Beyond(str(error)) from error
        fresh["id_length"] = array("i", map(len, encoded))
        fresh["id_start"] = _starts(fresh["id_length"], len(self.ids))
        fresh["ids"] = array("B", b"".join(encoded))
        fresh["pair_start"] = _starts(fresh["pair_count"], len(self.pair_pool))
        first = len(self.bids)
        self.rows.update(zip(names, range(first, first + len(names)), strict=True))
        for name, column in fresh.items():
            getattr(self, name).extend(column)
        self.bids += bids
        self.texts.update(zip(names, texts, strict=True))
        self._ordered += names

    def digest_into(self, digest: hashlib._Hash) -> None:
        """Feed the bids' canonical JSON, by id, with commas between."""
        if len(self._ordered) != len(self.rows):
            self._ordered = list(self.rows)
        self._ordered.sort()  # quick where it was nearly sorted
        text = self.texts.__getitem__
        for start in range(0, len(self._ordered), _AT_ONCE):
            names = self._ordered[start : start + _AT_ONCE]
            digest.update(b"," * (start > 0) + b",".join(map(text, names)))


def _fresh(bids: Sequence[InstanceBid], pools: dict[str, int]) -> dict[str, array[int]]:
    """The columns of these bids; new pools get the next numbers."""

    def column(code: str, name: str) -> array[int]:
        return array(code, map(attrgetter(name), bids))

    if any(not 0 <= number < _SEQUENCES for number in map(attrgetter("sequence"), bids)):
        raise OverflowError("a sequence has no place in JSON")
    alternatives = [bid.alternatives for bid in bids]
    pairs: list[InstanceAlternative] = [one for each in alternatives for one in each]
    if any(one.tier is not None for one in pairs):
        raise Beyond("an alternative has a tier of its own")
    if any(one.pinned is not None for one in pairs):
        raise Beyond("an alternative is pinned to a node")
    for pool in dict.fromkeys(map(attrgetter("pool"), pairs)):
        pools.setdefault(pool, len(pools))
    return {
        "value": column("q", "value_micros"),
        "boost": column("q", "boost_micros"),
        "weight": column("q", "weight"),
        "tier": column("q", "tier"),
        "elastic": array("B", map(_ELASTIC.__getitem__, map(attrgetter("mode"), bids))),
        "level_min": column("B", "level_min"),
        "level_max": column("B", "level_max"),
        "pair_count": array("i", map(len, alternatives)),
        "pair_pool": array("i", map(pools.__getitem__, map(attrgetter("pool"), pairs))),
        "pair_shape": array("B", map(_SHAPE.__getitem__, map(attrgetter("shape"), pairs))),
        "pair_slots": array("q", map(attrgetter("slots"), pairs)),
    }


def _starts(lengths: Iterable[int], first: int) -> array[int]:
    """Where each of these lengths begins, one after the other."""
    ends = array("q", accumulate(lengths, initial=first))
    ends.pop()
    return ends
