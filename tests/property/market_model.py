"""What a reader of a market's records must never see: a plain model beside the market.

Decides what is a breach. Refuses to look into the market's state: it reads emitted records alone.
"""

from __future__ import annotations

from collections import Counter

import builders
from bidplane_streams.market.effects import Effect, Emit
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import ids, orders
from bidplane_topics.leases import LeaseChanged, LeasedDevice
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import TERMINAL_BID_KINDS, OutcomeReported
from bidplane_topics.rounds import RoundClosed

Slot = tuple[str, str, int]
_SPAN = {"1g": 1, "2g": 2, "3g": 4, "4g": 4}
GENESIS = "0" * 64
AFTER = {
    "pending": {"awarded", "ending"},
    "awarded": {"bound", "ending"}, "bound": {"notice", "ending"}, "notice": {"ending"},
    "ending": {"ended"}, "ended": set[str](),
}  # fmt: skip


def slots_of(device: LeasedDevice) -> set[Slot]:
    """The slots of a device that a lease takes: eight for a whole one, memory's for a slice."""
    if not device.parent:
        return {(device.node, device.name, slot) for slot in range(8)}
    start = int(device.name.rsplit("-", 1)[1])
    taken = range(start, start + _SPAN[device.profile])
    return {(device.node, device.parent, slot) for slot in taken}


class Model:
    """Follows one market's records."""

    def __init__(self, *, sells_leaving: bool = False) -> None:
        """Nothing seen yet. ``sells_leaving``: devices may be sold while their holders end."""
        self.sells_leaving = sells_leaving
        self.placed: dict[str, orders.OrderPlaced] = {}
        self.leases: dict[str, LeaseChanged] = {}
        self.paid: Counter[str] = Counter()
        self.taken: dict[Slot, str] = {}
        self.epochs: dict[tuple[str, str], int] = {}
        self.fresh: set[Slot] = set()
        self.settled: Counter[str] = Counter()
        self.lease_ends: Counter[str] = Counter()
        self.ended_bids: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.seq: Counter[int] = Counter()
        self.root = GENESIS
        self.rounds: list[RoundClosed] = []

    def read(self, effects: list[Effect]) -> None:
        """Check every record against all before it."""
        builders.check_wire(effects)
        for effect in effects:
            match effect:
                case Emit(_, _, _, LeaseChanged() as lease):
                    self._lease(lease)
                case Emit(_, accounts, _, Settled() as settled):
                    self._settled(settled, accounts)
                case Emit(_, _, _, OutcomeReported() as outcome):
                    self._outcome(outcome)
                case Emit(_, _, _, RoundClosed() as closed):
                    self._round(closed)

    def _lease(self, lease: LeaseChanged) -> None:
        before = self.leases.get(lease.lease_id)
        if before is None:
            assert lease.state in ("awarded", "pending")
            assert lease.state == "awarded" or self.sells_leaving or lease.bought_from
            if lease.bought_from:
                self._bought(lease, self.leases[lease.bought_from])
            else:
                self._award(lease)
        elif lease.state == "ended":
            self._leave(lease)
        if lease.state == "awarded":
            self._take(lease)
        if before is not None and lease.state == before.state:
            self._renewed(before, lease)
        elif before is not None:
            assert lease.state in AFTER[before.state], "a step that no lease takes"
            assert lease.epoch == before.epoch + (lease.state == "ending")
        for device in lease.devices:
            key = (device.node, device.parent or device.name)
            self.epochs[key] = max(self.epochs.get(key, 0), lease.epoch)
        if before is None:
            self.paid[lease.lease_id] = lease.price_micros
        self.leases[lease.lease_id] = lease

    def _award(self, lease: LeaseChanged) -> None:
        order = self.placed[lease.bid_id]
        assert lease.lease_id == ids.lease_id(order.market, order.bid_id)
        wanted = UNITS[lease.shape] * lease.level
        assert sum(UNITS[device.profile or "1"] for device in lease.devices) == wanted
        assert order.level_min <= lease.level <= order.level_max
        assert lease.price_micros <= order.value_micros * lease.level
        for device in lease.devices:
            key = (device.node, device.parent or device.name)
            assert lease.epoch > self.epochs.get(key, 0), "an epoch stood still"
            frozen = self.sells_leaving or not slots_of(device) & self.fresh
            assert frozen, "sold in the window in which it came free"

    def _bought(self, lease: LeaseChanged, sold: LeaseChanged) -> None:
        """The seller's lease is ending, and the buyer's is no more than what is left of it."""
        assert (sold.state, sold.cause, lease.state) == ("ending", "transferred", "pending")
        assert lease.epoch > sold.epoch
        assert lease.devices == sold.devices
        assert 0 < lease.duration_ms <= sold.ends_at_ms - sold.bound_at_ms
        assert lease.price_micros <= self.paid[sold.lease_id]

    def _renewed(self, before: LeaseChanged, lease: LeaseChanged) -> None:
        """A bound lease goes on as it is, at most for what its holder bid for another term."""
        order = self.placed[lease.renewed_by]
        assert before.state == "bound"
        assert (order.renews, order.agent) == (lease.lease_id, lease.agent)
        assert (lease.epoch, lease.devices) == (before.epoch, before.devices)
        assert (lease.term, lease.ends_at_ms) == (
            before.term + 1, before.ends_at_ms + lease.duration_ms
        )  # fmt: skip
        assert lease.duration_ms == order.alternatives[0].duration_ms
        assert lease.price_micros <= order.value_micros
        self.paid[lease.lease_id] += lease.price_micros

    def _take(self, lease: LeaseChanged) -> None:
        """An awarded lease is the only one whose claims may stand."""
        assert lease.bind_by_ms > 0
        for device in lease.devices:
            for slot in slots_of(device):
                assert slot not in self.taken, "sold twice"
                self.taken[slot] = lease.lease_id

    def _leave(self, lease: LeaseChanged) -> None:
        """A lease that never was awarded has nothing to give back."""
        for device in lease.devices:
            self.fresh |= slots_of(device)
            for slot in slots_of(device) if lease.bind_by_ms else ():
                assert self.taken.pop(slot) == lease.lease_id

    def _settled(self, event: Settled, accounts: int) -> None:
        self.seq[accounts] += 1
        assert event.seq == self.seq[accounts]
        if event.cause in ("voided", "ended", "sold"):
            self.lease_ends[event.lease_id] += 1
            assert self.lease_ends[event.lease_id] == 1
            assert event.refund_micros <= self.paid[event.lease_id]
            return
        self.settled[event.bid_id] += 1
        assert self.settled[event.bid_id] == 1
        assert event.charge_micros == 0 or event.cause in ("won", "bought")

    def _outcome(self, event: OutcomeReported) -> None:
        self.told[event.outcome_id] += 1
        assert self.told[event.outcome_id] == 1
        if event.kind in TERMINAL_BID_KINDS:
            self.ended_bids[event.bid_id] += 1
            assert self.ended_bids[event.bid_id] == 1

    def _round(self, event: RoundClosed) -> None:
        if self.rounds:
            assert event.window > self.rounds[-1].window
            assert event.closed_at_ms > self.rounds[-1].closed_at_ms
        assert event.previous_root == self.root
        self.root = event.root
        self.rounds.append(event)
        live = [lease for lease in self.leases.values() if lease.state != "ended"]
        assert event.leases_active == len(live)
        for pool in event.pools.values():
            assert pool.units_sold <= pool.units_offered <= pool.units_total
            assert pool.units_sold == 0 or pool.price_micros >= pool.reserve_micros
        self.fresh = set()

    def check_book(self, book: set[str]) -> None:
        """Every order is in the book, or settled and told; never both, never neither."""
        for bid_id in self.placed:
            ended = bid_id not in book
            assert self.settled[bid_id] == self.ended_bids[bid_id] == ended
