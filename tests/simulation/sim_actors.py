"""Those who write to the lanes: agents, operators, an inventory and sinks that err.

Decides who does what when, by dice alone. Refuses to know any state of the core: actors read the
log.
"""

from __future__ import annotations

import random
from typing import Any

import builders
from bidplane_topics import agents, bids, ids, markets, registry, reports, supply
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.outcomes import OutcomeReported
from simulation.sim_log import Log

TENANTS = {"red": 0, "blue": 0, "green": 1}
NAMES = tuple((tenant, f"a{n}") for tenant in TENANTS for n in range(3))
MARKETS = {"m": 0, "n": 1}
# One market sells devices that are still being given back.
PENDING_MS = {"m": 0, "n": 5000}
SHAPES = ("1g", "1g", "2g", "3g", "4g", "1", "1", "1", "2", "2", "4", "8", "16")
NODES: dict[str, dict[str, Any]] = {
    "n0": {"gpus": 8}, "n1": {"gpus": 8}, "n2": {"gpus": 4, "mig": True},
    "n3": {"gpus": 8, "productName": "A100", "mig": True},
}  # fmt: skip


class Operator:
    """Registers, grants, and changes rules now and then."""

    def __init__(self, log: Log, dice: random.Random) -> None:
        """Grants are numbered."""
        self.log, self.dice, self.grants = log, dice, 0

    def begin(self, now_ms: int) -> None:
        """Everyone and everything that there is at the start."""
        home = agents.OrganisationRegistered(organisation="o", partition=1)
        self.log.append(registry.AGENTS, 1, home, now_ms)
        self.log.append(registry.AGENTS, 0, builders.tenant("gold", 0, "o"), now_ms)
        self.log.append(
            registry.ACCOUNTS, 1, builders.budget(5000, 1100, 90, organisation="o"), now_ms
        )
        for tenant, partition in TENANTS.items():
            self.log.append(registry.AGENTS, partition, builders.tenant(tenant, partition), now_ms)
        for number, (tenant, name) in enumerate(NAMES):
            event = builders.agent(name, number, tenant=tenant)
            self.log.append(registry.AGENTS, TENANTS[tenant], event, now_ms)
            self.grant(tenant, name, 5_000_000, now_ms)
        for market in MARKETS:
            self.declare(market, now_ms)

    def declare(self, market: str, now_ms: int) -> None:
        """The market's rules, as the dice say."""
        event = builders.market(
            market, MARKETS[market], reserve_micros=self.dice.choice((0, 1, 5)),
            rule=self.dice.choice(("greedy", "greedy", "uniform", "pay-as-bid")),
            window_ms=self.dice.choice((500, 1000)), release_fee_micros=3,
            stale_after_ms=15_000, pending_ms=PENDING_MS[market],
        )  # fmt: skip
        self.log.append(registry.MARKETS, 0, event, now_ms)

    def grant(self, tenant: str, name: str, amount: int, now_ms: int) -> None:
        """A grant, at times written twice."""
        self.grants += 1
        event = builders.grant(amount, name, tenant=tenant, grant_id=f"g{self.grants}")
        for _ in range(self.dice.choice((1, 1, 1, 2))):
            self.log.append(registry.ACCOUNTS, TENANTS[tenant], event, now_ms)

    def step(self, now_ms: int) -> None:
        """Money and new rules, rarely."""
        roll = self.dice.randrange(1000)
        tenant, name = self.dice.choice(NAMES)
        if 100 <= roll < 120:
            self.allot(now_ms)
        elif roll < 60:
            self.grant(tenant, name, self.dice.randrange(1, 2_000_000), now_ms)
        elif roll < 64:
            event = agents.RefillSet(
                tenant=tenant, agent=name, amount_micros=self.dice.randrange(1000),
                period_ms=self.dice.choice((1000, 60_000)),
            )  # fmt: skip
            self.log.append(registry.ACCOUNTS, TENANTS[tenant], event, now_ms)
        elif roll < 67:
            self.declare(self.dice.choice(tuple(MARKETS)), now_ms)

    def allot(self, now_ms: int) -> None:
        """The organisation of one partition gives to the tenant of the other, or to a stranger."""
        self.grants += 1
        event = builders.allotted(
            self.grants % 4000, tenant=("gold", "red", "gold")[self.grants % 3],
            grant_id=f"o{self.grants}",
        )  # fmt: skip
        self.log.append(registry.ACCOUNTS, 1, event, now_ms)

    def remove(self, market: str, now_ms: int) -> None:
        """No more rounds."""
        self.log.append(registry.MARKETS, 0, markets.MarketRemoved(market=market), now_ms)


class Inventory:
    """Offers nodes; they go and come back."""

    def __init__(self, log: Log, dice: random.Random) -> None:
        """``away`` holds what must be offered again."""
        self.log, self.dice = log, dice
        self.away = {(market, node) for market in MARKETS for node in NODES}

    def step(self, now_ms: int, *, calm: bool) -> None:
        """Rarely a node goes; whatever is away comes back in time."""
        if not calm and self.dice.randrange(1000) < 3:
            market, node = self.dice.choice(tuple(MARKETS)), self.dice.choice(tuple(NODES))
            if self.dice.random() < 0.5:
                event: Any = reports.NodeLost(market=market, node=node, reason="dice")
                self.log.append(registry.REPORTS, MARKETS[market], event, now_ms)
            else:
                event = supply.NodeWithdrawn(market=market, node=node, reason="dice")
                self.log.append(registry.SUPPLY, MARKETS[market], event, now_ms)
            self.away.add((market, node))
        for market, node in sorted(self.away):
            if self.dice.randrange(1000) < 30:
                event = builders.node(node, market=market, **NODES[node])
                self.log.append(registry.SUPPLY, MARKETS[market], event, now_ms)
                self.away.discard((market, node))


class Sink:
    """Pretends to bind and release the leases of one market: late, twice, wrongly or never."""

    def __init__(self, log: Log, market: str, dice: random.Random) -> None:
        """``due`` holds reports not yet written, by their time."""
        self.log, self.market, self.dice = log, market, dice
        self.offset = 0
        self.due: list[tuple[int, int, Any]] = []
        self.silent_until_ms = 0

    def step(self, now_ms: int, *, calm: bool) -> None:
        """Follow the leases; write what is due."""
        partition = MARKETS[self.market]
        for lease, _ in self.log.read(registry.LEASES, partition, self.offset):
            self.offset += 1
            self._plan(lease, now_ms, calm=calm)
        if not calm and self.dice.randrange(10_000) < 5:
            self.silent_until_ms = now_ms + self.dice.choice((3000, 20_000, 40_000))
        if now_ms < self.silent_until_ms:
            return
        if now_ms % 5000 == 0:
            alive = reports.SinkAlive(market=self.market, sink="s")
            self.log.append(registry.REPORTS, partition, alive, now_ms)
        for at_ms, _, event in sorted(self.due, key=lambda one: one[:2]):
            if at_ms <= now_ms:
                self.log.append(registry.REPORTS, partition, event, now_ms)
        self.due = [one for one in self.due if one[0] > now_ms]

    def _plan(self, lease: LeaseChanged, now_ms: int, *, calm: bool) -> None:
        if not calm and self.dice.randrange(20) == 0:  # what nobody asked for must change nothing
            spurious = lease.state == "ending"
            kind = reports.LeaseFailed if spurious else reports.LeaseReleased
            self._say(kind, lease, now_ms, **({"reason": "spurious"} if spurious else {}))
        if lease.state == "awarded":
            roll = 50 if calm else self.dice.randrange(100)
            if roll < 5:
                self._say(reports.LeaseFailed, lease, now_ms, reason="dice")
            elif roll > 10:
                self._say(reports.LeaseBound, lease, now_ms)
        elif lease.state == "ending":
            self._say(reports.LeaseReleased, lease, now_ms)

    def _say(self, kind: Any, lease: LeaseChanged, now_ms: int, **more: str) -> None:
        """Mostly soon, sometimes late or twice, sometimes with a wrong epoch beside."""
        epochs = [lease.epoch]
        if self.dice.randrange(10) == 0:
            epochs += [lease.epoch, lease.epoch - 1, lease.epoch + 1]
        for epoch in epochs:
            late = self.dice.choice((100, 300, 300, 1000, 1000, 3000, 7000))
            event = kind(market=self.market, lease_id=lease.lease_id, epoch=epoch, **more)
            self.due.append((now_ms + late, len(self.due), event))


class Bidder:
    """One agent: bids, cancels, releases, and repeats itself."""

    def __init__(self, log: Log, number: int, dice: random.Random, board: list[str]) -> None:
        """``number`` names the agent and its key; ``board`` is where all pin their offers."""
        self.board = board
        self.log, self.number, self.dice = log, number, dice
        self.tenant, self.name = NAMES[number]
        self.sequence = 0
        self.bids: list[str] = []
        self.leases: list[str] = []
        self.held: list[OutcomeReported] = []
        self.offset = 0

    def step(self, now_ms: int) -> None:
        """One envelope, now and then."""
        if self.dice.randrange(100) >= 6:
            return
        self._listen()
        self.sequence += 1
        parts = [self._part(now_ms) for _ in range(self.dice.choice((1, 1, 2, 5)))]
        late = self.dice.randrange(30) == 0
        event = builders.signed(
            self.sequence, *parts, name=self.name, number=self.number, tenant=self.tenant,
            expires_at_ms=now_ms - 1 if late else now_ms + 60_000,
        )  # fmt: skip
        key_id = builders.key(self.number).key_id
        self.bids = [
            *self.bids[-20:],
            *(ids.bid_id(self.tenant, self.name, key_id, self.sequence, index)
              for index in range(len(parts))),
        ]  # fmt: skip
        for _ in range(self.dice.choice((1, 1, 1, 1, 2))):
            self.log.append(registry.BIDS, TENANTS[self.tenant], event, now_ms)

    def _listen(self) -> None:
        """Remember the last leases won, ended ones too."""
        for outcome, _ in self.log.read(registry.OUTCOMES, TENANTS[self.tenant], self.offset):
            self.offset += 1
            if outcome.kind == "won" and outcome.agent == self.name:
                self.leases = [*self.leases[-2:], outcome.lease_id]
            elif outcome.kind == "bound" and outcome.agent == self.name:
                self.held = [*self.held[-2:], outcome]
            elif outcome.kind == "offered" and outcome.agent == self.name:
                self.board[:] = [*self.board[-20:], outcome.offer_id]

    def _part(
        self, now_ms: int
    ) -> bids.Place | bids.Cancel | bids.Release | bids.Offer | bids.Accept:
        me = f":{ids.agent_id(self.tenant, self.name)}:"
        mine = [one for one in self.board if me in one]
        if mine and self.dice.randrange(2) == 0:
            if self.dice.randrange(4):
                self.board.remove(mine[-1])
            return bids.Accept(offer_id=mine[-1])
        roll = self.dice.randrange(12)
        if roll == 0:
            return bids.Cancel(bid_id=self.dice.choice([*self.bids, "nothing"]))
        if roll == 1:
            return bids.Release(lease_id=self.dice.choice([*self.leases, "nothing"]))
        if roll == 10:
            return bids.Offer(
                lease_id=self.dice.choice([*self.leases[-1:] * 6, *self.leases, "nothing"]),
                to=ids.agent_id(*self.dice.choice(NAMES)),
                price_micros=self.dice.choice((0, 7, 5000, 5000, 2**53 - 1)),
            )  # fmt: skip
        if roll == 11:
            return bids.Accept(offer_id=self.dice.choice([*self.board, "nothing"]))
        again = roll in (8, 9) and self.held
        return self._renewal(now_ms) if again else self._place(now_ms)

    def _renewal(self, now_ms: int) -> bids.Place:
        """Another term of something that is held, or was; at times in a shape that it has not."""
        held = self.held[-1] if self.dice.randrange(5) else self.dice.choice(self.held)
        count = len(held.devices) if self.dice.randrange(10) else 2
        rest_ms = self.dice.choice((0, 0, 5000))
        return builders.place(
            self.dice.choice((5000, 50_000, 300_000)),
            builders.alternative(
                str(count if count in (1, 2, 4, 8) else 1),
                self.dice.choice((2000, 5000, 20_000)),
            ),
            market=held.market, renews=held.lease_id,
            rest_until_ms=now_ms + rest_ms if rest_ms else 0,
        )  # fmt: skip

    def _place(self, now_ms: int) -> bids.Place:
        elastic = self.dice.randrange(4) == 0
        ways = [
            builders.alternative(
                self.dice.choice(SHAPES), self.dice.choice((700, 2000, 5000, 20_000)),
                **self.dice.choice(({}, {}, {"productName": "H100"}, {"productName": "none"})),
            )
            for _ in range(1 if elastic else self.dice.choice((1, 1, 2, 3)))
        ]  # fmt: skip
        low = self.dice.randrange(1, 3) if elastic else 1
        rest_ms = self.dice.choice((0, 0, 0, 1500, 10_000))
        wait_ms = self.dice.choice((0, 0, 0, 0, 2500))
        return builders.place(
            self.dice.choice((3, 500, 5000, 5000, 20_000, 50_000, 50_000, 300_000, 2**53 - 1)),
            *ways, market=self.dice.choice((*MARKETS, *MARKETS, *MARKETS, *MARKETS, "none")),
            mode="elastic" if elastic else "rigid", level_min=low, level_max=low +
            self.dice.randrange(4) if elastic else 1, rest_until_ms=now_ms + rest_ms if rest_ms else
            0, not_before_ms=now_ms + wait_ms if wait_ms else 0,
        )  # fmt: skip
