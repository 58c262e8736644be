"""Reference bidders: plain, seeded and pure. Copy one and make it yours.

Each varies its value a little by a draw that follows from its seed and what it has seen so far, so
that a run can be repeated exactly. Truthful bidding is the best one can do in a single round (see
the market's README); these bid their value. What they are given is checked when they are made, so
that a slip shows there and not in a later round.
"""

from __future__ import annotations

import hashlib

import msgspec

from bidplane_agents import placing
from bidplane_agents.errors import BadInput
from bidplane_agents.view import View
from bidplane_topics import bids, ids, money
from bidplane_topics.bids import Place
from bidplane_topics.errors import ContractError


def draw(seed: int, *what: object) -> int:
    """A number from 0 to 999 that follows from the seed and ``what`` alone."""
    text = "|".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 1000


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What all reference bidders have: where, what, how long, how much, and how many at once.

    ``value_micros`` is for the whole bid (rigid) or a level (elastic); it varies by up to
    ``spread_permille`` either way. Making one raises BadInput where a field cannot be used.
    """

    market: str
    duration_ms: int
    value_micros: int
    shape: str = "1"
    seed: int = 0
    spread_permille: int = 200
    leases_max: int = 1
    selector: dict[str, placing.Wanted] = {}
    rest_ms: int = 0

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            BadInput: names the bidder, the field, what it is and what it may be.
        """
        self._whole("duration_ms", 1, placing.LONGEST_MS)
        self._whole("value_micros", 1, money.MICROS_MAX, "; money.parse_credits('3.50') makes it")
        self._whole("seed", -money.MICROS_MAX, money.MICROS_MAX)
        self._whole("spread_permille", 0, 1000)
        self._whole("leases_max", 1, money.MICROS_MAX)
        self._whole("rest_ms", 0, money.MICROS_MAX)
        try:
            ids.check_name("market", str(self.market))
            self.ways()
        except (BadInput, ContractError) as error:
            raise BadInput(f"{type(self).__name__}: {error}") from error

    def _whole(self, field: str, least: int, most: int, how: str = "") -> None:
        value = getattr(self, field)
        if type(value) is not int or not least <= value <= most:
            raise BadInput(
                f"{type(self).__name__}: {field} {value!r}: write a whole number from {least} to "
                f"{most}{how}"
            )

    def ways(self) -> tuple[bids.Alternative, ...]:
        """The alternatives of its bids."""
        return (placing.alternative(self.shape, self.duration_ms, self.selector),)

    def wants_more(self, view: View) -> bool:
        """Whether open bids and running leases leave room for another."""
        return len(view.bids) + len(view.leases) < self.leases_max

    def value(self, view: View) -> int:
        """This decision's value in micro-credits."""
        drawn = draw(self.seed, "value", view.outcomes_seen, view.won, view.not_won)
        permille = 1000 - self.spread_permille + 2 * self.spread_permille * drawn // 1000
        return max(1, self.value_micros * permille // 1000)

    def rest_until_ms(self, now_ms: int) -> int:
        """Until when an order that loses stays in the book."""
        return now_ms + self.rest_ms if self.rest_ms else 0


class TrainingGang(Reference, frozen=True, kw_only=True):
    """All devices of a gang or nothing; after losing, a smaller gang for longer will do as well."""

    shape: str = "8"
    fallback_shape: str = "4"

    def decide(self, view: View, now_ms: int) -> Place | None:
        """A rigid bid with two alternatives: the gang, or half of it for twice as long."""
        if not self.wants_more(view):
            return None
        return placing.checked(
            market=self.market, value_micros=self.value(view), alternatives=self.ways(),
            rest_until_ms=self.rest_until_ms(now_ms),
        )  # fmt: skip

    def ways(self) -> tuple[bids.Alternative, ...]:
        """The gang, and its fallback for twice the time."""
        gang = super().ways()
        if not self.fallback_shape:
            return gang
        longer_ms = 2 * self.duration_ms
        return *gang, placing.alternative(self.fallback_shape, longer_ms, self.selector)


class InferenceSingle(Reference, frozen=True, kw_only=True):
    """One device at a time, renewed by bidding again; pays more after it went without."""

    urgency_permille: int = 100

    def __post_init__(self) -> None:
        """Check the urgency too. Raises as every reference bidder."""
        super().__post_init__()
        self._whole("urgency_permille", 0, money.MICROS_MAX)

    def decide(self, view: View, now_ms: int) -> Place | None:
        """A rigid bid for one device."""
        if not self.wants_more(view):
            return None
        # A service without devices loses its customers: its value is higher, not only its bid.
        idle = self.leases_max - len(view.leases)
        value = self.value(view) * (1000 + self.urgency_permille * (idle - 1)) // 1000
        return placing.checked(
            market=self.market, value_micros=value, alternatives=self.ways(),
            rest_until_ms=self.rest_until_ms(now_ms),
        )  # fmt: skip


class MigSlices(Reference, frozen=True, kw_only=True):
    """As many slices of a device as are worth their price: an elastic bid."""

    shape: str = "1g"
    level_min: int = 1
    level_max: int = 6

    def __post_init__(self) -> None:
        """Check the levels too. Raises as every reference bidder."""
        super().__post_init__()
        self._whole("level_max", 1, bids.LEVELS_MAX)
        self._whole("level_min", 1, self.level_max)

    def decide(self, view: View, now_ms: int) -> Place | None:
        """An elastic bid, at most as many levels as the money covers."""
        if not self.wants_more(view):
            return None
        value = self.value(view)
        # Levels that nobody could pay would only be cut at admission.
        payable = view.available_micros // value if view.available_micros else self.level_max
        high = max(self.level_min, min(self.level_max, payable))
        return placing.checked(
            market=self.market, mode="elastic", value_micros=value, level_min=self.level_min,
            level_max=high, alternatives=self.ways(), rest_until_ms=self.rest_until_ms(now_ms),
        )  # fmt: skip
