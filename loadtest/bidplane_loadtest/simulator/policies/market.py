"""The market: the production core, unchanged, driven through ``state.apply`` in simulated time.

Decides what agents and sinks do around it, as simply as it can be done: one order per job at its
true value, which rests until it wins; leases are bound at once, given back when the job is done and
released at once. Refuses to clear, price, place or count devices: that is bidplane_streams.market.

A lease comes with CPU and memory in proportion to its devices, so a job bids for the least shape
whose share holds it, on every kind of host that sells one. Every device is taken to be sliceable.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bidplane_loadtest.jobs import Qos
from bidplane_loadtest.simulator.engine import Decision, Start
from bidplane_loadtest.simulator.policies import offers
from bidplane_loadtest.simulator.work import Job, Scenario
from bidplane_streams.exact import solving
from bidplane_streams.fast import clearing as fast
from bidplane_streams.market import state as core
from bidplane_streams.market.effects import CloseWindow, DeadLetter, Effect, Emit, Input
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import markets, orders, reports
from bidplane_topics.instances import Instance, Result
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Origin
from bidplane_topics.rounds import RoundClosed

# Policy name -> rule.
MARKETS: Final = {f"market-{rule}": rule for rule in ("greedy", "uniform", "exact")}
SLOT_MS: Final = 60_000
SOLVE_MS: Final = 30_000
# Hosts of one model differ in CPU per GPU: prices tell which kinds to keep for those who need them.
SCARCITY_RATE_PERMILLE: Final = 100
START_MS: Final = 1_700_000_000_000  # a real date, as the core's windows count from 1970
SPAN_MAX_MS: Final = 2_592_000_000
SLOTS_PER_HOUR: Final = 3_600_000 // SLOT_MS


class MarketPolicy:
    """Agents that tell the truth, in a market with one rule."""

    def __init__(
        self, scene: Scenario, rule: str, *, floors: bool = False, urgent: int = 1
    ) -> None:
        """Declare the market, offer every node, and close the first window.

        With ``floors`` every tenant is entitled to an even part of the devices. ``urgent`` is the
        class weight of latency-sensitive work.
        """
        fast.warm()
        self.state = core.MarketState(0, fast.clear, _solved)
        self._kinds = offers.host_kinds(scene.nodes)
        self._window_ms = scene.window_ms
        self._now_ms = 0
        self._offset = self._seq = 0
        self._ends_ms = START_MS + scene.horizon_ms + scene.window_ms
        self._jobs: dict[str, Job] = {}
        self._leases: dict[int, LeaseChanged] = {}
        self._unserved: list[Job] = []
        self._prices: list[tuple[int, int]] = []
        self._closed_ms = -1
        self.used: dict[tuple[str, int], str] = {}
        part = scene.capacity_milli // 1000 * UNITS["1"] // len(scene.tenants)
        entitled = dict.fromkeys(scene.tenants, part) if floors else {}
        rules = _rules(scene.window_ms)
        weights = {f"{tenant}/{_agent('LS')}": urgent for tenant in scene.tenants}
        self._give(
            msgspec.structs.replace(rules, rule=rule, entitlements=entitled, weights=weights)
        )
        for node in scene.nodes:
            if node.gpus:
                self._give(offers.offered(node))
        self._close(0)

    def bid(self, job: Job) -> int:
        """What the agent says that the job is worth."""
        return job.value_micros

    def arrive(self, job: Job, now_ms: int) -> None:
        """Its agent bids; the order rests in the book until the job runs."""
        self._now_ms = now_ms
        ways = offers.alternatives(job, self._kinds)
        if not ways:
            self._unserved.append(job)
            return
        bid_id = f"{job.number:07d}"
        self._jobs[bid_id] = job
        self._seq += 1
        self._give(
            orders.OrderPlaced(
                bid_id=bid_id, tenant=job.tenant, agent=_agent(job.qos), market=offers.MARKET,
                source=0, seq=self._seq, sequence=job.number, index=0, mode="rigid",
                value_micros=self.bid(job), rest_until_ms=self._ends_ms, alternatives=ways,
            )
        )  # fmt: skip

    def leave(self, job: Job, now_ms: int) -> None:
        """Its agent gives the lease back, and the sink confirms that nothing holds the devices."""
        self._now_ms = now_ms
        lease = self._leases.pop(job.number)
        self._seq += 1
        ending = self._give(
            orders.ReleaseRequested(
                lease_id=lease.lease_id, bid_id=lease.bid_id, tenant=lease.tenant,
                agent=lease.agent, market=offers.MARKET, source=0, seq=self._seq,
            )
        )  # fmt: skip
        epoch = next(one.epoch for one in ending if isinstance(one, LeaseChanged))
        self._give(
            reports.LeaseReleased(market=offers.MARKET, lease_id=lease.lease_id, epoch=epoch)
        )
        for slot in offers.slots(lease):
            del self.used[slot]

    def due_ms(self, now_ms: int) -> int | None:
        """At the end of every window in which somebody bids."""
        if not len(self.state.book):
            return None
        length = self._window_ms
        return max(self._closed_ms // length + 1, -(-now_ms // length)) * length

    def decide(self, now_ms: int) -> Decision:
        """Close the window; every award is bound at once."""
        started = []
        for lease in self._close(now_ms):
            job = self._jobs[lease.bid_id]
            self._leases[job.number] = lease
            self._give(
                reports.LeaseBound(market=offers.MARKET, lease_id=lease.lease_id, epoch=lease.epoch)
            )
            for slot in offers.slots(lease):
                assert slot not in self.used, "a device is leased twice"
                self.used[slot] = lease.lease_id
            held = UNITS[lease.shape] * lease.level * 1000 // UNITS["1"]
            started.append(Start(job, held))
        return Decision([], started, self.due_ms(now_ms + 1))

    def prices(self) -> list[tuple[int, int]]:
        """What was paid for a GPU-hour in each window that sold something."""
        return self._prices

    def _close(self, now_ms: int) -> list[LeaseChanged]:
        self._now_ms = self._closed_ms = now_ms
        self._give(reports.SinkAlive(market=offers.MARKET, sink="claims"))
        at_ms = START_MS + now_ms
        events = self._apply(CloseWindow(at_ms, {}))
        closed = next(one for one in events if isinstance(one, RoundClosed))
        sold = sum(pool.units_sold for pool in closed.pools.values())
        if sold:
            paid = sum(pool.units_sold * pool.price_micros for pool in closed.pools.values())
            self._prices.append((now_ms, paid * UNITS["1"] * SLOTS_PER_HOUR // sold))
        return [one for one in events if isinstance(one, LeaseChanged) and one.state == "awarded"]

    def _give(self, event: Any) -> list[Any]:
        self._offset += 1
        origin = Origin(topic="simulated", partition=0, offset=self._offset)
        return self._apply(Input(event, origin, START_MS + self._now_ms))

    def _apply(self, event: Input | CloseWindow) -> list[Any]:
        _, effects = core.apply(self.state, event, START_MS + self._now_ms)
        return [_emitted(effect).event for effect in effects]


def _agent(qos: Qos) -> str:
    """Each tenant has an agent for each class of work."""
    return qos.lower()


def _solved(instance: Instance, _: int) -> Result:
    """With time enough for nearly any proof, since a real deadline would make runs differ."""
    return solving.clear(instance, SOLVE_MS)


def _rules(window_ms: int) -> markets.MarketDeclared:
    return markets.MarketDeclared(
        market=offers.MARKET, partition=0, window_ms=window_ms, slot_ms=SLOT_MS,
        scarcity_rate_permille=SCARCITY_RATE_PERMILLE,
        fingerprint=(offers.HOST,), grace_ms=0, max_duration_ms=SPAN_MAX_MS,
        bind_deadline_ms=window_ms,
    )  # fmt: skip


def _emitted(effect: Effect) -> Emit:
    assert not isinstance(effect, DeadLetter), f"the core refused a record: {effect}"
    return effect
