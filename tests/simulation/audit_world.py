"""A small world without Kafka: the real core behind two in-memory lanes, driven by a seed.

Decides what agents, sinks and the inventory do. It hands over the log that they leave, which is
what the audit reads; nothing of the core's state goes along.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from bidplane_agents.audit.log import Log
from bidplane_topics import (
    agents,
    bids,
    codec,
    envelope,
    ids,
    markets,
    registry,
    reports,
    supply,
)
from bidplane_topics.leases import LeaseChanged
from simulation.audit_lanes import AccountsLane, Broker, MarketsLane
from simulation.audit_treasury import ENTITLEMENTS, Treasury

PARTITIONS = 2
MARKETS = ("alpha", "beta")
WINDOW_MS = 1000
PLACEMENTS: list[tuple[supply.Profile, int]] = [
    ("4g", 0), ("3g", 0), ("3g", 4), ("2g", 0), ("2g", 2), ("2g", 4), ("1g", 0), ("1g", 1),
    ("1g", 2), ("1g", 3), ("1g", 4), ("1g", 5), ("1g", 6),
]  # fmt: skip
DRIFT: dict[str, Any] = {
    "scarcity_rate_permille": 300, "reserve_rate_permille": 60, "reserve_cap_micros": 8,
    "target_permille": 600,
}  # fmt: skip
WAYS: list[tuple[bids.Selector, bids.Shape]] = [
    ({"productName": "H100"}, "1"),
    ({"productName": "H100"}, "4"),
    ({}, "2"),
    ({}, "8"),
    ({}, "16"),
    ({"productName": "A100"}, "1g"),
    ({"productName": bids.Condition(one_of=("A100", "B200"))}, "3g"),
    ({"memory": bids.Condition(at_least=40)}, "2g"),
    ({"productName": "B200"}, "1"),
    ({"device_class": "nic.bidplane.io"}, "1"),
]


class Bidder:
    """An agent with its key; ``sequence`` is the last that it used."""

    def __init__(self, tenant: str, name: str, partition: int, number: int) -> None:
        self.tenant, self.name, self.partition = tenant, name, partition
        self.key = envelope.SigningKey(number.to_bytes(32, "big"))
        self.sequence = 0
        self.placed: list[str] = []


class World:
    """Everything, advanced window by window."""

    # What bids ask for: selector and shape.
    ways = WAYS

    def __init__(self, seed: int, rule: str = "greedy", *, markers: bool = True) -> None:
        self.random = random.Random(seed)
        self.broker = Broker()
        self.broker.markers = markers
        self.accounts = [AccountsLane(self.broker, one) for one in range(PARTITIONS)]
        self.markets = [MarketsLane(self.broker, one) for one in range(PARTITIONS)]
        self.bidders: list[Bidder] = []
        self.silent_until_ms = 0
        self.treasury = Treasury(self.broker, seed)
        self._found(rule)

    # -- the set-up
    # ----------------------------------------------------------------------------------

    def _found(self, rule: str) -> None:
        self.rule = rule
        for partition, name in enumerate(MARKETS):
            self._declare(partition, 2)
            self._supply(name, partition)
        for number in range(6):
            tenant = f"team-{number % 3}"
            partition = number % 3 % PARTITIONS
            bidder = Bidder(tenant, f"agent-{number}", partition, number + 1)
            self.bidders.append(bidder)
            registered = agents.TenantRegistered(tenant=tenant, partition=partition)
            self.broker.write(registry.AGENTS, partition, registered)
            self._register(bidder)
            self._grant(bidder, f"{bidder.name}-0", 60_000)
        first = self.bidders[0]
        refill = agents.RefillSet(
            tenant=first.tenant, agent=first.name, amount_micros=700, period_ms=1500
        )
        self.broker.write(registry.ACCOUNTS, first.partition, refill)
        self.treasury.begin()
        self._lanes()

    def _declare(self, partition: int, reserve: int) -> None:
        declared = markets.MarketDeclared(
            market=MARKETS[partition], partition=partition,
            rule="greedy" if partition == 0 else self.rule,  # type: ignore[arg-type]
            window_ms=WINDOW_MS, slot_ms=500, reserve_micros=reserve, bind_deadline_ms=2500,
            grace_ms=1200, stale_after_ms=4000, release_fee_micros=50,
            pending_ms=(0, 2200)[partition], entitlements=ENTITLEMENTS, **DRIFT,
        )  # fmt: skip
        self.broker.write(registry.MARKETS, 0, declared)

    def _register(self, bidder: Bidder) -> None:
        key = agents.AgentKey(key_id=bidder.key.key_id, public_key=bidder.key.public_text())
        event = agents.AgentRegistered(tenant=bidder.tenant, agent=bidder.name, keys=(key,))
        self.broker.write(registry.AGENTS, bidder.partition, event)

    def _grant(self, bidder: Bidder, grant_id: str, amount: int) -> None:
        event = agents.CreditGranted(
            grant_id=grant_id, tenant=bidder.tenant, agent=bidder.name, amount_micros=amount
        )
        self.broker.write(registry.ACCOUNTS, bidder.partition, event)

    def _supply(self, market: str, partition: int) -> None:
        for number in range(3):
            self.broker.write(registry.SUPPLY, partition, self._node(market, number))

    def _node(self, market: str, number: int) -> supply.NodeOffered:
        node = f"{market}-node-{number}"
        product = "H100" if number < 2 else "A100"
        devices = tuple(self._gpu(node, index, product) for index in range(8 if number else 4))
        nic = supply.Device(
            name="nic-0", driver="nic.bidplane.io", pool=node, uuid=f"{node}-nic",
            device_class="nic.bidplane.io",
        )  # fmt: skip
        return supply.NodeOffered(
            market=market, node=node, devices=(*devices, nic), cpu_millis=64_000,
            memory_mib=512_000, ephemeral_mib=1_000,
        )  # fmt: skip

    def _gpu(self, node: str, index: int, product: str) -> supply.Device:
        uuid = f"{node}-gpu-{index}"
        parts = tuple(
            supply.Partition(name=f"{p}-{s}-of-{index}", uuid=f"{uuid}-{p}-{s}", profile=p, start=s)
            for p, s in PLACEMENTS
        ) if product == "A100" else ()  # fmt: skip
        return supply.Device(
            name=f"gpu-{index}", driver="gpu.nvidia.com", pool=node, uuid=uuid,
            device_class="gpu.nvidia.com", partitions=parts,
            attributes={"productName": product, "memory": 80, "index": index},
        )  # fmt: skip

    # -- a window ----------------------------------------------------------------------------------

    def run(self, windows: int) -> None:
        """Let that many windows pass."""
        for _ in range(windows):
            for _ in range(self.random.randrange(2, 7)):
                self._pass(self.random.randrange(1, 120))
                self._bid(self.random.choice(self.bidders))
                self._mishap()
                self.treasury.step()
                for lane in self.accounts:
                    lane.run()
            self._pass(self.random.randrange(100, 400))
            self._sinks()
            self._pass(WINDOW_MS - self.broker.now_ms % WINDOW_MS)
            for closing in self.markets:
                closing.run()
        for lane in self.accounts:
            lane.run()

    def _lanes(self) -> None:
        for lane in self.accounts:
            lane.run()
        for closing in self.markets:
            closing.run()

    def _pass(self, by_ms: int) -> None:
        self.broker.now_ms += by_ms

    def _bid(self, bidder: Bidder) -> None:
        commands = tuple(self._command(bidder) for _ in range(self.random.randrange(1, 4)))
        bidder.sequence += self.random.choice((1, 1, 1, 3))
        expires = self.broker.now_ms + self.random.choice((5_000, 5_000, 5_000, -1))
        self._send(bidder, bidder.sequence, commands, expires)

    def _send(
        self, bidder: Bidder, sequence: int, commands: tuple[bids.Command, ...], expires: int
    ) -> None:
        sealed = bids.Envelope(
            v=1, tenant=bidder.tenant, agent=bidder.name, sequence=sequence, expires_at_ms=expires,
            commands=commands,
        )  # fmt: skip
        value, headers = envelope.seal(sealed, bidder.key)
        for index, command in enumerate(commands):
            if command.place is not None:
                name = f"{bidder.tenant}/{bidder.name}/{bidder.key.key_id}/{sequence}/{index}"
                bidder.placed.append(name)
        self.broker.append(registry.BIDS.name, bidder.partition, value, "", tuple(headers))

    def _command(self, bidder: Bidder) -> bids.Command:
        draw = self.random.random()
        if draw < 0.08 and bidder.placed:
            return bids.Command(cancel=bids.Cancel(bid_id=self.random.choice(bidder.placed[-4:])))
        if draw < 0.16:
            return bids.Command(release=bids.Release(lease_id=self._some_lease(bidder)))
        if draw < 0.18:
            return bids.Command(accept=bids.Accept(offer_id="none"))
        if draw < 0.3:
            return bids.Command(offer=self._offer(bidder))
        if draw < 0.65 and (offered := self._offered_to(bidder)):
            return bids.Command(accept=bids.Accept(offer_id=self.random.choice(offered)))
        standing = self._standing(bidder) if draw < 0.85 else []
        place = self._renewal(self.random.choice(standing)) if standing else self._place()
        return bids.Command(place=place)

    def _standing(self, bidder: Bidder) -> list[LeaseChanged]:
        """What the bidder holds and could hold on to; now and then something it could not."""
        rows = [row.lease for lane in self.markets for row in lane.state.leases.values()]
        mine = [one for one in rows if one.agent == bidder.name]
        able = [
            one for one in mine
            if one.state == "bound" and one.shape in ("1", "2", "4", "8") and one.market == "beta"
            and one.ends_at_ms > self.broker.now_ms + WINDOW_MS
        ]  # fmt: skip
        return able or mine if self.random.random() < 0.3 else able

    def _renewal(self, lease: LeaseChanged) -> bids.Place:
        """Another term, for a value that may be too little."""
        duration = self.random.choice((900, 1500, 3000))
        shape: Any = lease.shape  # a lease's is any text
        one = bids.Alternative(shape=shape, duration_ms=duration)
        rest = self.broker.now_ms + 2500 if self.random.random() < 0.2 else 0
        return bids.Place(
            market=lease.market, value_micros=self.random.randrange(1, 9000), alternatives=(one,),
            renews=lease.lease_id, rest_until_ms=rest,
        )  # fmt: skip

    def _some_lease(self, bidder: Bidder) -> str:
        mine = [
            row.lease.lease_id for lane in self.markets for row in lane.state.leases.values()
            if row.lease.agent == bidder.name
        ]  # fmt: skip
        return self.random.choice(mine) if mine and self.random.random() < 0.95 else "l0"

    def _offer(self, bidder: Bidder) -> bids.Offer:
        """To somebody, mostly of something that is held, at a price that may be too much."""
        other = self.random.choice(self.bidders)
        rows = [row.lease for lane in self.markets for row in lane.state.leases.values()]
        mine = [one for one in rows if one.agent == bidder.name and one.state == "bound"]
        longest = max(mine, key=lambda one: one.ends_at_ms, default=None)
        lease = self._some_lease(bidder)
        if longest is not None and self.random.random() < 0.7:
            lease = longest.lease_id
        price = self.random.choice((0, 300, 300, 300, 2000, 10**9))
        to = ids.agent_id(other.tenant, other.name) if self.random.random() < 0.95 else "nobody"
        return bids.Offer(lease_id=lease, to=to, price_micros=price)

    def _offered_to(self, bidder: Bidder) -> list[str]:
        """The offers to the bidder that stand, or all that were made lately, gone ones too."""
        me = ids.agent_id(bidder.tenant, bidder.name)
        rows = [row for lane in self.markets for row in lane.state.leases.values()]
        standing = [row.offer.offer_id for row in rows if row.offer and row.offer.to == me]
        if standing and self.random.random() < 0.8:
            return standing
        made = [
            codec.decode(registry.OUTCOMES, one.value) for one in self.broker.records[-300:]
            if one.topic == registry.OUTCOMES.name
        ]  # fmt: skip
        return [
            one.offer_id for one in made if one.kind == "offered" and one.evidence["to"] == me
        ]  # fmt: skip

    def _place(self) -> bids.Place:
        draw, now_ms = self.random.random(), self.broker.now_ms
        market = self.random.choice(MARKETS) if draw > 0.03 else "nowhere"
        duration = self.random.choice((500, 900, 1500, 3000, 8000))
        rest = now_ms + 2500 if self.random.random() < 0.2 else 0
        later = now_ms + 1500 if self.random.random() < 0.1 else 0
        if self.random.random() < 0.25:
            low = self.random.randrange(1, 3)
            one = bids.Alternative(selector={}, shape="1", duration_ms=duration)
            return bids.Place(
                market=market, mode="elastic", value_micros=self.random.randrange(10, 900),
                level_min=low, level_max=low + self.random.randrange(4), alternatives=(one,),
                rest_until_ms=rest, not_before_ms=later,
            )  # fmt: skip
        ways = tuple(
            bids.Alternative(selector=selector, shape=shape, duration_ms=duration)
            for selector, shape in self.random.choices(self.ways, k=self.random.randrange(1, 4))
        )
        return bids.Place(
            market=market, value_micros=self.random.randrange(1, 6000), alternatives=ways,
            rest_until_ms=rest, not_before_ms=later,
        )  # fmt: skip

    def _mishap(self) -> None:
        """Now and then something happens that no bidder planned."""
        draw, bidder = self.random.random(), self.random.choice(self.bidders)
        for chance, happen in self._mishaps():
            if draw < chance:
                happen(bidder)
                return
            draw -= chance

    def _mishaps(self) -> tuple[tuple[float, Callable[[Bidder], None]], ...]:
        return (
            (0.05, self._repeat),
            (0.06, self._forge),
            (0.03, self._grant_more),
            (0.02, self._lose_node),
            (0.14, self._offer_again),
            (0.01, self._fall_silent),
            (0.02, self._declare_anew),
            (0.005, self._remove_market),
            (0.015, self._register),
        )

    def _repeat(self, bidder: Bidder) -> None:
        """The same bytes once more."""
        place = (registry.BIDS.name, bidder.partition)
        sent = self.broker.by_place.get(place)
        if sent:
            record = self.random.choice(sent)
            self.broker.append(*place, record.value or b"", "", record.headers)

    def _forge(self, bidder: Bidder) -> None:
        """Nobody's word: unsigned, or signed by a key that nobody registered."""
        forger = envelope.SigningKey(b"x" * 32)
        value = b'{"v":1}'
        signed = tuple(forger.sign(registry.BIDS.name, value))
        headers = self.random.choice(((), signed))
        self.broker.append(registry.BIDS.name, bidder.partition, value, "", headers)

    def _grant_more(self, bidder: Bidder) -> None:
        self._grant(bidder, f"{bidder.name}-{self.random.randrange(3)}", 500)

    def _lose_node(self, _: Bidder) -> None:
        market = self.random.randrange(PARTITIONS)
        node = f"{MARKETS[market]}-node-{self.random.randrange(3)}"
        event = reports.NodeLost(market=MARKETS[market], node=node, reason="power")
        self.broker.write(registry.REPORTS, market, event)

    def _offer_again(self, _: Bidder) -> None:
        market = self.random.randrange(PARTITIONS)
        node = self._node(MARKETS[market], self.random.randrange(3))
        self.broker.write(registry.SUPPLY, market, node)

    def _fall_silent(self, _: Bidder) -> None:
        self.silent_until_ms = self.broker.now_ms + 6000

    def _declare_anew(self, _: Bidder) -> None:
        self._declare(self.random.randrange(PARTITIONS), self.random.randrange(1, 9))

    def _remove_market(self, _: Bidder) -> None:
        self.broker.write(registry.MARKETS, 0, markets.MarketRemoved(market="beta"))

    # -- sinks -------------------------------------------------------------------------------------

    def _sinks(self) -> None:
        """Report on what the leases topic says, sometimes late, twice or not at all."""
        for lane, market in zip(self.markets, MARKETS, strict=True):
            if self.broker.now_ms > self.silent_until_ms:
                alive = reports.SinkAlive(market=market, sink="claims")
                self.broker.write(registry.REPORTS, lane.partition, alive)
            for row in list(lane.state.leases.values()):
                for _ in range(self.random.choice((1, 1, 1, 1, 0, 2))):
                    self._report(lane.partition, market, row.lease)

    def _report(self, partition: int, market: str, lease: Any) -> None:
        about = {"market": market, "lease_id": lease.lease_id, "epoch": lease.epoch}
        event: msgspec.Struct | None = None
        if lease.state == "awarded":
            if self.random.random() < 0.1:
                event = reports.LeaseFailed(**about, reason="no such device")
            else:
                event = reports.LeaseBound(**about)
        elif lease.state == "ending":
            if self.random.random() < 0.4:  # pods that take their time
                return
            event = reports.LeaseReleased(**about)
        if event is not None:
            self.broker.write(registry.REPORTS, partition, event)

    def kinds(self) -> set[str]:
        """Every kind of outcome that was told."""
        told = [record for record in self.broker.records if record.topic == registry.OUTCOMES.name]
        return {codec.decode(registry.OUTCOMES, record.value).kind for record in told}

    def log(self) -> Log:
        """The log so far."""
        return Log(self.broker.records)
