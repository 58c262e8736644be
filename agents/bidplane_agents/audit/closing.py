"""Every round, recomputed: the instance from the replayed market, the clearing by definition.

Decides what a round should say and which leases it should award. Refuses to repeat the placement:
which of several alike devices a winner got is the market's choice, but they must have been for
sale.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from bidplane_agents.audit import awards, floors, inventory, mechanism, proven, public, receipts
from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.expected import Expected, settlement
from bidplane_agents.audit.inventory import Pool
from bidplane_agents.audit.mechanism import UNITS
from bidplane_agents.audit.occupancy import address, free_of
from bidplane_agents.audit.replay import TOPICS_IN_ORDER, Replay
from bidplane_topics import ids, orders
from bidplane_topics.instances import (
    Award,
    Instance,
    InstanceAlternative,
    InstanceBid,
    InstancePool,
    Result,
)
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rejections import Rejection
from bidplane_topics.rounds import PoolRound, RoundClosed

VALUE_LIMIT = 2**42
RULE_VERSION = 1
# An alternative of the instance, and the one of the order that it came from.
Way = tuple[InstanceAlternative, int]
Entrants = dict[str, tuple[orders.OrderPlaced, list[Way]]]
Clear = Callable[[Instance, str], Result]


class Closing:
    """One round of one replayed market."""

    def __init__(
        self, replay: Replay, seen: Seen, contents: Contents, expected: Expected,
        clear: Clear = mechanism.clear,
    ) -> None:  # fmt: skip
        """``seen`` is the round as the log has it; ``clear`` does the clearing."""
        self.replay, self.clear = replay, clear
        self.cleared: tuple[Instance, Result] | None = None
        self.seen, self.contents = seen, contents
        self.round: RoundClosed = seen.event
        self.expected, self.findings = expected, expected.findings
        self.now_ms = self.round.closed_at_ms
        self.taken: set[tuple[str, int]] = set()

    def check(self, before: dict[str, int]) -> bool:
        """Replay what came since ``before`` (the last round's vector), close, compare.

        False where the log holds no declaration of the market that closed this round.
        """
        self._inputs(before)
        if self.replay.rules is None:
            return False
        self.rules: MarketDeclared = self.replay.rules  # those of the previous close
        self._clock()
        opening = [self.replay.book[bid] for bid in sorted(self.replay.book)]
        self._deadlines()
        self.replay.answer(self.now_ms)
        replay, rules = self.replay, self.rules
        self.up = replay.renewals.up(self.now_ms)
        leaving = replay.leaving(rules) | self.up.leases()
        known = inventory.pools(
            replay.nodes, self.up.with_theirs(replay.for_sale), replay.busy, leaving,
            rules.fingerprint,
        )  # fmt: skip
        entrants = self._entrants(known)
        stale = self.now_ms - replay.alive_at_ms > rules.stale_after_ms
        offered = {n: pool.emptied() if stale else pool for n, pool in known.items()}
        book = (order for order, _ in entrants.values())
        self.covered = floors.covered(rules, replay.leased, known, book)
        instance = self._instance(offered, entrants)
        result = proven.cleared(instance, self.seen, self.expected, self.clear, rules.rule)
        self.cleared = instance, result
        self.asks = public.asks(instance, result, offered)
        self.taken |= self.up.kept(result)
        for bid in sorted(result.awards):
            if bid in self.up.stays:
                replay.renewals.won(entrants[bid][0], self.up.stays[bid], result, self.round)
            else:
                self._award(entrants[bid], result.awards[bid], offered)
        replay.answer(self.now_ms)
        for bid in sorted(set(entrants) - set(result.awards)):
            self._lost(*entrants[bid], offered, stale=stale)
        fates = self._fates(opening, entrants, result)
        wanted = self._publish(self._round(known, instance, result), instance, result, fates)
        self._open_next(wanted)
        return True

    # -- before the clearing -----------------------------------------------------------------------

    def _inputs(self, before: dict[str, int]) -> None:
        for topic in TOPICS_IN_ORDER:
            start, end = before.get(topic.name, 0), self.round.inputs.get(topic.name, 0)
            self.findings.check(
                6, start <= end, self.seen.record, f"how far {topic.name} was read",
                f"at least {start}", end,
            )  # fmt: skip
            partition = 0 if topic.partitioned_by == "one" else self.replay.partition
            for one in self.contents.between(topic, partition, start, end):
                if self.replay.window or one.record.origin not in self.contents.dead:
                    self.replay.apply(one)

    def _clock(self) -> None:
        replay, length = self.replay, self.rules.window_ms
        self.findings.check(
            5, self.now_ms > replay.closed_at_ms, self.seen.record, "closed_at_ms",
            f"after {replay.closed_at_ms}", self.now_ms,
        )  # fmt: skip
        number = max(replay.window + 1, self.now_ms // length)
        self.findings.same(5, number, self.round.window, self.seen.record, "the window's number")

    def _deadlines(self) -> None:
        replay, now_ms = self.replay, self.now_ms
        for lease in [replay.leases[name] for name in sorted(replay.leases)]:
            if lease.state == "pending" and now_ms >= lease.pending_until_ms:
                replay.end(lease, "pending_timeout", now_ms)
            elif lease.state == "awarded" and now_ms >= lease.bind_by_ms:
                replay.end(lease, "bind_timeout", now_ms)
            elif lease.state == "bound" and now_ms >= lease.ends_at_ms:
                grace_until_ms = lease.ends_at_ms + self.rules.grace_ms
                if lease.standing and now_ms >= grace_until_ms:
                    replay.end(lease, "expired", now_ms)
                    continue
                replay.move(lease, now_ms, "notice", grace_until_ms=grace_until_ms)
            elif lease.state == "notice" and now_ms >= lease.grace_until_ms:
                replay.end(lease, "expired", now_ms)
        for order in [replay.book[bid] for bid in sorted(replay.book)]:
            if replay.removed:
                replay.close(order, "refused", now_ms, (Rejection.MARKET_REMOVED,))
            elif 0 < order.rest_until_ms < now_ms:
                replay.close(order, "expired", now_ms, (Rejection.EXPIRED,))

    def _entrants(self, known: dict[str, Pool]) -> Entrants:
        entrants: Entrants = {}
        for bid in sorted(self.replay.book):
            order = self.replay.book[bid]
            if order.not_before_ms > self.now_ms or self.up.waits(order):
                continue
            ways, problems = self.up.ways(order, known) or self._ways(order, known)
            if ways:
                entrants[bid] = order, ways
            elif order.rest_until_ms <= self.now_ms or problems == (Rejection.LEASE_ENDED,):
                self.replay.close(order, "refused", self.now_ms, problems, self.round.window)
        return entrants

    def _ways(
        self, order: orders.OrderPlaced, known: dict[str, Pool]
    ) -> tuple[list[Way], tuple[Rejection, ...]]:
        """All that could serve the order, or every true reason why nothing can."""
        if _weight(self.rules, order) * order.value_micros >= VALUE_LIMIT:
            return [], (Rejection.VALUE_TOO_LARGE,)
        ways: list[Way] = []
        problems: set[Rejection] = set()
        for index, one in enumerate(order.alternatives):
            if one.duration_ms > self.rules.max_duration_ms:
                problems.add(Rejection.TOO_LONG)
                continue
            alike = [
                pool for pool in known.values()
                if inventory.matches(pool, one.selector, self.rules.device_class)
            ]  # fmt: skip
            holding = [pool for pool in alike if inventory.holds_when_empty(pool, one.shape)]
            if not alike:
                problems.add(Rejection.NO_MATCHING_POOL)
            elif not holding:
                problems.add(Rejection.SHAPE_NOT_SOLD)
            slots = (one.duration_ms + self.rules.slot_ms - 1) // self.rules.slot_ms
            for pool in holding:
                if order.value_micros < _reserve(self.rules, pool.name) * UNITS[one.shape] * slots:
                    problems.add(Rejection.BELOW_RESERVE)
                else:
                    way = InstanceAlternative(pool=pool.name, shape=one.shape, slots=slots)
                    ways.append((way, index))
        if order.mode == "elastic" and ways:
            most = max(sum(known[way.pool].counts()) for way, _ in ways)
            ways = [one for one in ways if sum(known[one[0].pool].counts()) == most][:1]
        return ways, tuple(problems)

    def _instance(self, offered: dict[str, Pool], entrants: Entrants) -> Instance:
        beacon = ids.digest("beacon", self.replay.root, *sorted(entrants))
        return Instance(
            market=self.rules.market, window=self.round.window, beacon=beacon,
            slot_ms=self.rules.slot_ms,
            pools=tuple(
                InstancePool(
                    name=pool.name, device_class=pool.device_class, nodes=pool.counts(),
                    scarcity_permille=self.rules.scarcity.get(pool.name, 1000),
                    reserve_micros=_reserve(self.rules, pool.name),
                    partial=pool.shared() or UNSET,
                )
                for pool in offered.values()
            ),
            bids=tuple(
                replace(
                    _bid(self.rules, order, [self._tiered(order, one, offered) for one in ways]),
                    boost_micros=self.up.boost_micros(order.bid_id),
                )
                for order, ways in entrants.values()
            ),
        )  # fmt: skip

    def _tiered(self, order: orders.OrderPlaced, way: Way, offered: dict[str, Pool]) -> Way:
        """The floor's share comes first, in pools of the market's own devices."""
        one, index = way
        own = offered[one.pool].device_class == self.rules.device_class
        return (
            (replace(one, tier=0), index) if own and (order.bid_id, index) in self.covered else way
        )

    # -- after it ----------------------------------------------------------------------------------

    def _award(
        self, entrant: tuple[orders.OrderPlaced, list[Way]], award: Award, offered: dict[str, Pool]
    ) -> None:
        order, ways = entrant
        replay, rules, now_ms = self.replay, self.rules, self.now_ms
        way, index = ways[award.alternative]
        lease_id = ids.lease_id(order.market, order.bid_id)
        published = self.expected.awarded_lease(lease_id)
        devices = () if published is None else published.event.devices
        if published is not None:
            problem = awards.problem(offered[way.pool], way.shape, award.level, devices, self.taken)
            self.findings.check(
                4, not problem, published.record, f"the devices of lease {lease_id}",
                f"{award.level} times {way.shape} for sale in {way.pool}", problem or "so it is",
            )  # fmt: skip
        known = tuple(one for one in devices if one.node in replay.nodes)
        lease = LeaseChanged(
            market=order.market, lease_id=lease_id, bid_id=order.bid_id, tenant=order.tenant,
            agent=order.agent, state="awarded", epoch=0, window=self.round.window,
            market_pool=way.pool, shape=way.shape, level=award.level, devices=devices,
            nodes=inventory.shares(replay.nodes, rules.device_class, known),
            price_micros=award.price_micros,
            duration_ms=order.alternatives[index].duration_ms, awarded_at_ms=now_ms,
            bind_by_ms=now_ms + rules.bind_deadline_ms, standing=rules.standing,
        )  # fmt: skip
        del replay.book[order.bid_id]
        lease = replay.begin(lease, order.source, now_ms)
        whose = (order.market, order.bid_id, order.tenant, order.agent)
        self.expected.settled(
            settlement(
                whose, "won", lease.epoch, lease_id=lease_id, charge_micros=award.price_micros,
                source=replay.partition, seq=replay.next_seq(order.source),
            ),
            order.source, now_ms,
        )  # fmt: skip
        replay.publish(lease, now_ms)
        replay.tell_lease(lease, "won", now_ms)

    def _lost(
        self, order: orders.OrderPlaced, ways: list[Way], offered: dict[str, Pool], *, stale: bool
    ) -> None:
        if order.rest_until_ms > self.now_ms:
            return
        room = any(inventory.has_room(offered[way.pool], way.shape) for way, _ in ways)
        reason = Rejection.OUTBID if room else Rejection.NO_CAPACITY
        reasons = (Rejection.SUPPLY_STALE if stale else reason,)
        self.replay.close(order, "lost", self.now_ms, reasons, self.round.window)

    def _fates(
        self, opening: list[orders.OrderPlaced], entrants: Entrants, result: Result
    ) -> receipts.Fates:
        """What became of each order that was there at the close, but for those that still wait."""
        found: receipts.Fates = []
        for order in opening:
            bid = order.bid_id
            if bid in result.awards:
                found.append((order, "won"))
            elif bid in self.replay.book:
                if order.not_before_ms <= self.now_ms:
                    found.append((order, "rests"))
            elif bid in entrants:
                found.append((order, "lost"))
            else:
                late = 0 < order.rest_until_ms < self.now_ms and not self.replay.removed
                found.append((order, "expired" if late else "refused"))
        return found

    def _publish(
        self, wanted: RoundClosed, instance: Instance, result: Result, fates: receipts.Fates
    ) -> RoundClosed:
        """The round with its root, and one receipt for every leaf."""
        owed = receipts.owed(wanted, instance, result, fates)
        wanted = replace(wanted, root=owed.root)
        self.findings.same(5, wanted, self.round, self.seen.record, f"round {self.round.window}")
        for outcome, source in owed.told:
            self.expected.told(outcome, source)
        return wanted

    def _round(self, known: dict[str, Pool], instance: Instance, result: Result) -> RoundClosed:
        replay, rules, given = self.replay, self.rules, self.round
        leases = list(replay.leases.values())
        return RoundClosed(
            v=given.v, market=rules.market, window=given.window, closed_at_ms=given.closed_at_ms,
            inputs=given.inputs, rule=rules.rule, rule_version=RULE_VERSION,
            slot_ms=rules.slot_ms, beacon=instance.beacon, previous_root=replay.root, root="",
            orders=len(instance.bids), awarded=len(result.awards),
            revenue_micros=result.revenue_micros,
            pools={
                pool.name: PoolRound(
                    units_offered=7 * sum(pool.nodes)
                    + sum(len(slots) for _, slots in pool.partly_used),
                    units_sold=_sold(pool.name, instance, result),
                    units_total=7 * sum(known[pool.name].total.values()),
                    price_micros=result.prices.get(pool.name, 0),
                    reserve_micros=pool.reserve_micros, scarcity_permille=pool.scarcity_permille,
                    asks=self.asks.get(pool.name, {}), device_class=pool.device_class,
                    facts=known[pool.name].facts,
                )
                for pool in instance.pools
            },
            leases_active=len(leases),
            units_leased=sum(
                inventory.units(rules.device_class, one.devices) for one in leases if one.bind_by_ms
            ),
            units_total=7 * sum(
                sum(pool.total.values()) for pool in known.values()
                if pool.device_class == rules.device_class
            ),
            device_class=rules.device_class, fell_back=result.fell_back,
            bound_micros=public.bound(instance, result),
        )  # fmt: skip

    def _open_next(self, wanted: RoundClosed) -> None:
        """What the next window is judged by; the chain goes on from what the log says."""
        replay = self.replay
        replay.window, replay.closed_at_ms = wanted.window, wanted.closed_at_ms
        assert replay.declared is not None
        replay.root = self.round.root
        replay.rules = replay.drift.closed(replay.declared, wanted.pools)
        replay.renewals.closed(wanted.pools)
        replay.leased = {
            tenant: floors.units_of(replay.declared, tenant, replay.leases.values())
            for tenant in replay.declared.entitlements
        }
        leaving = replay.leaving(replay.rules)
        for name, node in replay.nodes.items():
            replay.for_sale[name] = {
                address(device): free_of(device, replay.busy, leaving) for device in node.devices
            }


def _reserve(rules: MarketDeclared, pool: str) -> int:
    return rules.reserves.get(pool, rules.reserve_micros)


def _weight(rules: MarketDeclared, order: orders.OrderPlaced) -> int:
    names = (ids.agent_id(order.tenant, order.agent), order.tenant)
    return next((rules.weights[name] for name in names if name in rules.weights), 1)


def _bid(rules: MarketDeclared, order: orders.OrderPlaced, ways: list[Way]) -> InstanceBid:
    rigid = order.mode == "rigid"
    return InstanceBid(
        bid_id=order.bid_id, agent=ids.agent_id(order.tenant, order.agent),
        sequence=order.sequence, mode=order.mode, value_micros=order.value_micros,
        weight=_weight(rules, order),
        level_min=1 if rigid else order.level_min, level_max=1 if rigid else order.level_max,
        alternatives=tuple(way for way, _ in ways),
    )  # fmt: skip


def _sold(pool: str, instance: Instance, result: Result) -> int:
    chosen = (
        (bid.alternatives[award.alternative], award.level)
        for bid in instance.bids
        if (award := result.awards.get(bid.bid_id)) is not None
    )
    return sum(UNITS[way.shape] * level for way, level in chosen if way.pool == pool)
