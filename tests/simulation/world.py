"""Both lanes in virtual time: a seed replays the whole market, crashes included.

Decides the order in which everyone takes a step, and what must be true at the end. Refuses clocks
and servers. ``python tests/simulation/world.py SEED [TICKS]`` tells the story of one seed.
"""

from __future__ import annotations

import pathlib
import random
import sys
from collections import Counter
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import builders
from bidplane_streams.market import invariants, ledger, rounds
from bidplane_topics import bids, ids, orders, registry, transit
from bidplane_topics.ledger import LedgerPosted
from bidplane_topics.outcomes import TERMINAL_BID_KINDS
from property.market_model import Model
from simulation import sim_actors as actors
from simulation.sim_lanes import AccountsLane, Lane, MarketsLane
from simulation.sim_log import Log

TICK_MS = 100
QUIET_MS = 120_000
# Nobody bids before registrations are read: such bids are dead letters, and not verified.
OPENING_MS = builders.T0_MS + 5000


class World:
    """Everyone there is."""

    def __init__(self, seed: int, crash_permille: int = 30) -> None:
        """All dice follow from ``seed``."""
        dice = random.Random(seed)
        self.log = Log()
        self.now_ms = builders.T0_MS
        self.operator = actors.Operator(self.log, dice)
        self.inventory = actors.Inventory(self.log, dice)
        board: list[str] = []
        self.bidders = [
            actors.Bidder(self.log, n, dice, board) for n in range(len(actors.NAMES))
        ]  # fmt: skip
        self.sinks = [actors.Sink(self.log, market, dice) for market in actors.MARKETS]
        # Luck of their own: a crash in one lane must not change what others do.
        self.accounts = [
            AccountsLane(self.log, n, random.Random(seed * 10 + n), crash_permille)
            for n in range(2)
        ]  # fmt: skip
        self.markets = [
            MarketsLane(self.log, n, random.Random(seed * 10 + 5 + n), crash_permille)
            for n in range(2)
        ]  # fmt: skip
        self.models = [Model(sells_leaving=ms > 0) for ms in actors.PENDING_MS.values()]
        self.operator.begin(self.now_ms)

    def run(self, ticks: int) -> None:
        """Let everyone act that many times, then let things come to rest, then judge."""
        for tick in range(ticks):
            self.tick(calm=False)
            if tick % 500 == 0:
                self.audit()
        self.operator.remove("n", self.now_ms)
        for _ in range(QUIET_MS // TICK_MS):
            self.tick(calm=True)
        self.audit()
        self.check_rest()

    def tick(self, *, calm: bool) -> None:
        """One step of everyone."""
        self.now_ms += TICK_MS
        if not calm:
            self.operator.step(self.now_ms)
            for bidder in self.bidders if self.now_ms > OPENING_MS else ():
                bidder.step(self.now_ms)
        self.inventory.step(self.now_ms, calm=calm)
        for sink in self.sinks:
            sink.step(self.now_ms, calm=calm)
        for lane in self.accounts:
            for order in builders.events(lane.step(self.now_ms), orders.OrderPlaced):
                self.models[actors.MARKETS[order.market]].placed[order.bid_id] = order
        for market, model in zip(self.markets, self.models, strict=True):
            model.read(market.step(self.now_ms))

    def audit(self) -> None:
        """What holds at any time, in every lane."""
        for lane in self.accounts:
            invariants.audit_accounts(lane.state)
        for market in self.markets:
            invariants.audit_market(market.state)

    # -- at rest -----------------------------------------------------------------------------------

    def check_rest(self) -> None:
        """Nothing is open: every bid has ended once, every hold is free, every lease is over."""
        for lane in self.accounts:
            assert not len(lane.state.orders)
            assert not len(lane.state.leases)
            for account, row in lane.state.balances.items():
                assert not account.startswith("hold/") or row.micros == 0
        for market, model in zip(self.markets, self.models, strict=True):
            assert not len(market.state.leases)
            model.check_book({bid_id for bid_id, _ in market.state.book.items()})
            assert not len(market.state.book)
            assert not rounds.due(market.state, 2**53)
            assert not model.taken
            assert {lease.state for lease in model.leases.values()} <= {"ended"}
        assert self.terminal() == Counter(self.verified())
        self.check_ledger()
        self.check_transit()

    def terminal(self) -> Counter[str]:
        """How many terminal outcomes every bid has."""
        found: Counter[str] = Counter()
        for partition in range(2):
            for outcome, _ in self.log.read(registry.OUTCOMES, partition, 0):
                bid = outcome.kind in TERMINAL_BID_KINDS and not outcome.offer_id
                found[outcome.bid_id] += bid
        return +found

    def verified(self) -> list[str]:
        """Every bid of a record that was no replay."""
        found: list[str] = []
        last: Counter[str] = Counter()
        for partition in range(2):
            for signed, _ in self.log.read(registry.BIDS, partition, 0):
                envelope = signed.envelope
                if envelope.sequence <= last[signed.key_id]:
                    continue
                last[signed.key_id] = envelope.sequence
                found += [
                    ids.bid_id(
                        envelope.tenant, envelope.agent, signed.key_id, envelope.sequence, index
                    )
                    for index, command in enumerate(envelope.commands)
                    if isinstance(command.chosen(), bids.Place)
                ]
        return found

    def check_ledger(self) -> None:
        """Folding the ledger from nothing gives every balance, and none was ever below zero."""
        for partition, lane in enumerate(self.accounts):
            folded: Counter[str] = Counter()
            for entry, _ in self.log.read(registry.LEDGER, partition, 0):
                assert isinstance(entry, LedgerPosted)
                folded[entry.debit] -= entry.amount_micros
                folded[entry.credit] += entry.amount_micros
                assert folded[entry.debit] >= 0 or entry.debit in ledger.MAY_BE_NEGATIVE
            balances = {name: row.micros for name, row in lane.state.balances.items()}
            assert balances == {name: folded[name] for name in balances}
            assert sum(folded.values()) == 0

    def check_transit(self) -> None:
        """What organisations sent has arrived or come back, each transfer once."""
        under_way = [lane.state.balances.get(ledger.TRANSIT) for lane in self.accounts]
        assert not sum(row.micros for row in under_way if row is not None)
        ends: Counter[str] = Counter()
        sent = 0
        for partition in range(2):
            for event, _ in self.log.read(registry.TRANSIT, partition, 0):
                sent += isinstance(event, transit.CreditSent)
            for entry, _ in self.log.read(registry.LEDGER, partition, 0):
                ends[entry.reference] += entry.kind == "transit" and entry.debit == ledger.TRANSIT
        assert (+ends).total() == len(+ends) == sent

    def summary(self) -> dict[str, Any]:
        """What happened, in figures."""
        kinds: Counter[str] = Counter()
        for partition in range(2):
            for outcome, _ in self.log.read(registry.OUTCOMES, partition, 0):
                kinds[outcome.kind + (f":{outcome.reason}" if outcome.reason else "")] += 1
        lanes: list[Lane[Any]] = [*self.accounts, *self.markets]
        return {
            "virtual_s": (self.now_ms - builders.T0_MS) // 1000,
            "bids": len(self.verified()),
            "rounds": sum(len(model.rounds) for model in self.models),
            "leases": sum(len(model.leases) for model in self.models),
            "crashes": sum(lane.crashes for lane in lanes),
            "dead_letters": sum(len(lane.dead) for lane in lanes),
            "outcomes": dict(sorted(kinds.items())),
            "digest": self.log.digest(),
        }


def main(arguments: list[str]) -> None:
    """Run one seed and print its figures."""
    world = World(int(arguments[0]))
    world.run(int(arguments[1]) if len(arguments) > 1 else 3000)
    for name, figure in world.summary().items():
        print(f"{name}: {figure}")


if __name__ == "__main__":
    main(sys.argv[1:])
