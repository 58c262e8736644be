"""The tables of one market: the market itself, its nodes and devices, its book and its leases.

Decides the rows' shapes, and who holds a device. Refuses to decide what changes them: market.py and
rounds.py do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from bidplane_streams.market import addresses, assigning, leases, pools
from bidplane_streams.market.rows import Rows, State
from bidplane_streams.market.ways import Ways
from bidplane_topics import markets, orders, supply
from bidplane_topics.instances import Instance, Result
from bidplane_topics.leases import LeaseChanged

GENESIS = "0" * 64


class Market(msgspec.Struct, frozen=True):
    """The market itself: ``declared`` takes effect as ``rules`` when the window has closed.

    ``rules`` hold the scarcity and reserves in force, which may drift from those declared.
    """

    declared: markets.MarketDeclared
    rules: markets.MarketDeclared
    removed: bool = False
    window: int = 0
    closed_at_ms: int = 0
    root: str = GENESIS
    alive_at_ms: int = 0
    # What each entitled tenant had in units when the running window opened.
    leased: dict[str, int] = {}
    # What a unit and slot of each pool cost in the mean, while scarcity follows prices (drift.py).
    means: dict[str, int] = {}
    # How long leases take from award to bound, in the mean; and that mean when the window opened,
    # with each pool's last price: what renewals are worth to everybody (renewals.py).
    binding_ms: int = 0
    switching_ms: int = 0
    prices: dict[str, int] = {}


class Offer(msgspec.Struct, frozen=True):
    """What the holder of a lease offers it for, and to whom: an agent's id."""

    offer_id: str
    to: str
    price_micros: int


class Sale(msgspec.Struct, frozen=True):
    """A sale that is not paid yet: the seller's lease as it ended, and its accounts partition.

    ``unused_micros`` is what the platform would have given back for what was left of it.
    """

    lease: LeaseChanged
    source: int
    price_micros: int
    unused_micros: int


class Lease(msgspec.Struct, frozen=True):
    """A lease and the accounts partition that its money lives on.

    ``waits_for``: the leases that must be released before a pending one may stand. ``offer``: the
    newest, while the lease lives. ``sale``: how it was bought, until it is bound. ``earlier``: the
    terms before the newest one that had not ended when it was won.
    """

    lease: LeaseChanged
    source: int
    waits_for: tuple[str, ...] = ()
    offer: Offer | None = None
    sale: Sale | None = None
    earlier: tuple[leases.Term, ...] = ()


# ``clearing.clear``, or whatever gives the same result for the same instance and rule.
Clear = Callable[[Instance, str], Result]
# The rule `exact` with a solver, and the milliseconds that it may take.
Solve = Callable[[Instance, int], Result]


class MarketState(State):
    """All state of one partition of markets: one market at most."""

    def __init__(
        self, partition: int, clear: Clear | None = None, solve: Solve | None = None
    ) -> None:
        """An empty partition; ``clear`` may do the clearing's work otherwise, never differently.

        Without ``solve``, what is contested under the rule `exact` falls back.
        """
        self.partition = partition
        self.clear, self.solve = clear, solve
        self.market: Rows[Market] = Rows("market", Market)
        self.nodes: Rows[supply.NodeOffered] = Rows("node", supply.NodeOffered)
        self.uses: Rows[pools.DeviceUse] = Rows("use", pools.DeviceUse)
        self.sellable: Rows[pools.Sellable] = Rows("sellable", pools.Sellable)
        self.book: Rows[orders.OrderPlaced] = Rows("order", orders.OrderPlaced)
        self.leases: Rows[Lease] = Rows("lease", Lease)
        self.assigned: Rows[assigning.Assigned] = Rows("assigned", assigning.Assigned)
        self.sent: Rows[int] = Rows("sent", int)
        self.heard: Rows[int] = Rows("heard", int)
        self._ways: Ways | None = None
        self.tables = (
            self.market, self.nodes, self.uses, self.sellable, self.book, self.leases, self.sent,
            self.heard, self.assigned,
        )  # fmt: skip

    def ways_of(self, rules: markets.MarketDeclared, offered: Mapping[str, pools.Pool]) -> Ways:
        """What the orders of the book reach of these pools, as far as it was asked before."""
        if self._ways is None or not self._ways.hold(rules, offered):
            self._ways = Ways(rules, offered)
        self._ways.forget_all_but(self.book)
        return self._ways

    def only(self) -> Market | None:
        """The market of this partition, or None before it is declared."""
        return self.market.first()

    def holders_of(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The leases that hold any of these devices."""
        uses = (self.uses.get(key) for key in keys)
        return tuple(sorted({name for use in uses if use is not None for name in use.holders}))

    def is_awaited(self, lease: LeaseChanged) -> bool:
        """Whether a pending lease waits for this one to leave."""
        rows = (self.leases[name] for name in self.holders_of(addresses.contested(lease.devices)))
        return any(row.lease.state == "pending" and lease.lease_id in row.waits_for for row in rows)

    def leaving_from(self, wanted: pools.Holdings, leaving: frozenset[str]) -> tuple[str, ...]:
        """Those of ``leaving`` on any of these slots; others on a shared device stay."""
        found = set()
        for key, slots in wanted.items():
            use = self.uses.get(key) or pools.DeviceUse()
            found |= {
                name for name in use.holders
                if name in leaving and use.slots_of(name) & slots
            }  # fmt: skip
        return tuple(sorted(found))

    def epoch_of(self, key: str) -> int:
        """The highest epoch that a device has ever had, the endings of its holders included."""
        use = self.uses.get(key) or pools.DeviceUse()
        return max(use.epoch, *(self.leases[name].lease.epoch for name in use.holders), 0)

    def take(self, wanted: pools.Holdings, lease: LeaseChanged) -> None:
        """A new lease holds these devices, beside whoever still gives them back."""
        for key, slots in wanted.items():
            use = self.uses.get(key) or pools.DeviceUse()
            # One epoch more is spent when the lease ends; both belong to this lease.
            self.uses.put(key, use.taken_by(lease.lease_id, slots, max(use.epoch, lease.epoch)))

    def next_seq(self, source: int) -> int:
        """The next settlement's number towards an accounts partition."""
        return self.sent.put(str(source), (self.sent.get(str(source)) or 0) + 1)
