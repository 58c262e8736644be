"""Leases that were renewed, told a second time: who is up for it, what speaks for them, what stays.

Decides which renewals take part in a round and what they become. Refuses to clear. A lease is
renewed in the last round before it ends, on the devices that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from bidplane_agents.audit.expected import settlement
from bidplane_agents.audit.inventory import ForSale, Pool, pool_of
from bidplane_agents.audit.mechanism import UNITS
from bidplane_agents.audit.occupancy import SLOTS, address, whole_of
from bidplane_topics import ids
from bidplane_topics.instances import InstanceAlternative, Result
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import PoolRound, RoundClosed

if TYPE_CHECKING:
    from bidplane_agents.audit.replay import Replay

VALUE_LIMIT = 2**42
ONE_NODE = ("1", "2", "4", "8")


class Stay(NamedTuple):
    """A renewal that takes part: the lease, its place, and the boost it gets."""

    lease: LeaseChanged
    pool: str
    node: str
    boost_micros: int


class Up:
    """The renewals of one round by bid, judged."""

    def __init__(self, judged: dict[str, Stay | Rejection], slot_ms: int) -> None:
        self._judged, self._slot_ms = judged, slot_ms
        self.stays = {bid: one for bid, one in judged.items() if isinstance(one, Stay)}

    def leases(self) -> frozenset[str]:
        """The leases that may be sold over their holders' heads."""
        return frozenset(stay.lease.lease_id for stay in self.stays.values())

    def with_theirs(self, for_sale: Mapping[str, ForSale]) -> dict[str, ForSale]:
        """What was for sale at the opening, and the devices of these leases."""
        found = dict(for_sale)
        for one in self.stays.values():
            found[one.node] = found.get(one.node, {}) | dict.fromkeys(keys(one.lease), SLOTS)
        return found

    def waits(self, order: OrderPlaced) -> bool:
        """Whether a renewal's time has not come."""
        return bool(order.renews) and order.bid_id not in self._judged

    def ways(
        self, order: OrderPlaced, known: Mapping[str, Pool]
    ) -> tuple[list[tuple[InstanceAlternative, int]], tuple[Rejection, ...]] | None:
        """The one place of a renewal, or why it has none; None for any other order."""
        stay = self._judged.get(order.bid_id)
        if stay is None or isinstance(stay, Rejection):
            return None if stay is None else ([], (stay,))
        wanted = order.alternatives[0]
        pool = known.get(stay.pool)
        here = [] if pool is None else pool.free.get(stay.node, [])
        if pool is None or not keys(stay.lease) <= set(map(address, here)):
            return [], (Rejection.RENEWAL_CLOSED,)
        way = InstanceAlternative(
            pool=stay.pool, shape=wanted.shape,
            slots=(wanted.duration_ms + self._slot_ms - 1) // self._slot_ms,
            pinned=sorted(pool.free).index(stay.node),
        )  # fmt: skip
        return [(way, 0)], ()

    def boost_micros(self, bid: str) -> int:
        """What is added to the bid's value in the scan."""
        return self.stays[bid].boost_micros if bid in self.stays else 0

    def kept(self, result: Result) -> set[tuple[str, int]]:
        """All memory slices of the devices whose leases go on."""
        won = [stay.lease for bid, stay in self.stays.items() if bid in result.awards]
        return {(key, cell) for lease in won for key in keys(lease) for cell in range(8)}


class Renewals:
    """What one market knows of terms and of how long it takes to change a holder."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        # By lease: (price, duration, end) of the terms before the newest.
        self.earlier: dict[str, list[tuple[int, int, int]]] = {}
        self.binding_ms, self.switching_ms = 0, 0
        self.prices: dict[str, int] = {}

    # -- between rounds ----------------------------------------------------------------------------

    def placed(self, order: OrderPlaced, now_ms: int) -> None:
        """A renewal waits in the book until one window before its lease's end, or is refused."""
        replay = self.replay
        lease = replay.leases.get(order.renews)
        reason = self._against(order, lease)
        if reason is not None or lease is None or replay.rules is None:
            replay.close(order, "refused", now_ms, (reason or Rejection.UNKNOWN_LEASE,))
            return
        soonest = lease.ends_at_ms - replay.rules.window_ms
        if soonest > order.not_before_ms:
            order = replace(order, not_before_ms=soonest)
        replay.book[order.bid_id] = order

    def _against(self, order: OrderPlaced, lease: LeaseChanged | None) -> Rejection | None:
        if lease is None or (lease.tenant, lease.agent) != (order.tenant, order.agent):
            return Rejection.UNKNOWN_LEASE
        rules, shape = self.replay.rules, order.alternatives[0].shape
        same = shape in ONE_NODE and lease.shape == shape and lease.level == 1
        open_too = [one for one in self.replay.book.values() if one.renews == order.renews]
        against = (
            (lease.state in ("pending", "awarded"), Rejection.LEASE_NOT_BOUND),
            (lease.state != "bound", Rejection.LEASE_ENDED),
            (not same, Rejection.NOT_RENEWABLE),
            (rules is None or rules.pending_ms == 0, Rejection.RENEWAL_CLOSED),
            (bool(open_too), Rejection.RENEWAL_OPEN),
        )
        return next((reason for holds, reason in against if holds), None)

    def bound(self, lease: LeaseChanged, now_ms: int) -> None:
        """How long it took; of a lease that waited for others first nobody can tell."""
        if lease.pending_until_ms > 0 or lease.standing:
            return
        took_ms = max(now_ms - lease.awarded_at_ms, 0)
        first = self.binding_ms == 0
        self.binding_ms = took_ms if first else (7 * self.binding_ms + took_ms + 4) // 8

    def unused_micros(self, lease: LeaseChanged, now_ms: int, slot_ms: int) -> int:
        """What is unused of the newest term and of those before it."""
        terms = [(lease.price_micros, lease.duration_ms, lease.ends_at_ms)]
        unused = 0
        for price, duration_ms, ends_ms in terms + self.earlier.get(lease.lease_id, []):
            slots = (duration_ms + slot_ms - 1) // slot_ms
            used = 0
            if ends_ms:  # else it never stood
                since_ms = now_ms - ends_ms + duration_ms
                used = max(0, min(slots, (since_ms + slot_ms - 1) // slot_ms))
            unused += price * (slots - used) // slots
        return unused

    def waited_for(self, lease: LeaseChanged) -> bool:
        """Whether somebody has won the lease's devices and waits for its end."""
        replay = self.replay
        return any(
            lease.lease_id in others and replay.leases[name].state == "pending"
            for name, others in replay.waiting.items() if name in replay.leases
        )  # fmt: skip

    # -- in a round --------------------------------------------------------------------------------

    def up(self, now_ms: int) -> Up:
        """The renewals whose time has come; those that wait are left out."""
        replay = self.replay
        found: dict[str, Stay | Rejection] = {}
        for bid, order in sorted(replay.book.items()):
            if not order.renews or order.not_before_ms > now_ms:
                continue
            lease = replay.leases.get(order.renews)
            if lease is None or lease.state != "bound":
                found[bid] = Rejection.LEASE_ENDED
            elif lease.bound_at_ms <= replay.closed_at_ms:
                found[bid] = self._stay(order, lease)
        slot_ms = 1 if replay.rules is None else replay.rules.slot_ms
        return Up(found, slot_ms)

    def _stay(self, order: OrderPlaced, lease: LeaseChanged) -> Stay | Rejection:
        rules = self.replay.rules
        assert rules is not None
        where = self._where(lease, rules)
        wanted = order.alternatives[0]
        if where is None or rules.pending_ms == 0 or self.waited_for(lease):
            return Rejection.RENEWAL_CLOSED
        if wanted.duration_ms > rules.max_duration_ms:
            return Rejection.TOO_LONG
        node, pool = where
        slots = (wanted.duration_ms + rules.slot_ms - 1) // rules.slot_ms
        reserve = rules.reserves.get(pool, rules.reserve_micros)
        if order.value_micros < reserve * UNITS[wanted.shape] * slots:
            return Rejection.BELOW_RESERVE
        whose = (ids.agent_id(order.tenant, order.agent), order.tenant)
        weight = next((rules.weights[one] for one in whose if one in rules.weights), 1)
        lost_slots = (self.switching_ms + rules.slot_ms - 1) // rules.slot_ms
        most = (VALUE_LIMIT - 1) // weight
        if order.value_micros > most:
            return Rejection.VALUE_TOO_LARGE
        term_slots = (lease.duration_ms + rules.slot_ms - 1) // rules.slot_ms
        paid = lease.price_micros // (UNITS[wanted.shape] * term_slots)
        boost = lost_slots * UNITS[wanted.shape] * min(paid, self.prices.get(pool, 0))
        return Stay(lease, pool, node, min(boost, most - order.value_micros))

    def _where(self, lease: LeaseChanged, rules: MarketDeclared) -> tuple[str, str] | None:
        """Node and pool, if all the lease's devices are offered on one node of one pool."""
        wanted = keys(lease)
        places: dict[str, tuple[str, str]] = {}
        for node in sorted(self.replay.nodes):
            for device in self.replay.nodes[node].devices:
                if address(device) in wanted:
                    name = pool_of(device, rules.fingerprint)[0]
                    places.setdefault(address(device), (node, name))
        return places.popitem()[1] if _alike(places, wanted) else None

    def won(self, order: OrderPlaced, stay: Stay, result: Result, closed: RoundClosed) -> None:
        """The lease goes on for another term."""
        replay, before = self.replay, stay.lease
        price_micros = result.awards[order.bid_id].price_micros
        duration_ms = order.alternatives[0].duration_ms
        lease = replace(
            before, price_micros=price_micros, duration_ms=duration_ms, term=before.term + 1,
            ends_at_ms=before.ends_at_ms + duration_ms, renewed_by=order.bid_id,
        )  # fmt: skip
        name, now_ms = lease.lease_id, closed.closed_at_ms
        self.earlier.setdefault(name, []).append(
            (before.price_micros, before.duration_ms, before.ends_at_ms)
        )
        del replay.book[order.bid_id]
        replay.sales.offers.pop(name, None)
        whose = (order.market, order.bid_id, order.tenant, order.agent)
        replay.expected.settled(
            settlement(
                whose, "won", lease.epoch, lease_id=name, charge_micros=price_micros,
                source=replay.partition, seq=replay.next_seq(order.source),
            ),
            order.source, now_ms,
        )  # fmt: skip
        replay.publish(lease, now_ms)
        replay.expected.told(
            OutcomeReported(
                outcome_id=ids.joined("won", name, lease.epoch, lease.term), kind="won",
                tenant=lease.tenant, agent=lease.agent, at_ms=now_ms, bid_id=order.bid_id,
                market=lease.market, window=closed.window, price_micros=price_micros, lease_id=name,
                epoch=lease.epoch, level=lease.level, market_pool=lease.market_pool,
                devices=lease.devices, ends_at_ms=lease.ends_at_ms,
            ),
            replay.sources[name],
        )  # fmt: skip

    def closed(self, pools: Mapping[str, PoolRound]) -> None:
        """What the next window is judged by: a pool that sold nothing keeps its last price."""
        self.switching_ms = self.binding_ms
        sold = {name: pool.price_micros for name, pool in pools.items() if pool.units_sold}
        self.prices.update(sold)


def keys(lease: LeaseChanged) -> frozenset[str]:
    """The devices of a lease, without what only comes along with them."""
    return frozenset(whole_of(one) for one in lease.devices if not one.companion_of)


def leave_ms(lease: LeaseChanged, rules: MarketDeclared, now_ms: int) -> int:
    """When a lease that others wait for must be gone at the latest: grace included."""
    return now_ms if lease.state == "ending" else lease.ends_at_ms + rules.grace_ms


def _alike(places: dict[str, tuple[str, str]], wanted: Iterable[str]) -> bool:
    return set(places) == set(wanted) and len(set(places.values())) == 1
