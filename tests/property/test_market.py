"""A market under any sequence of records and closings: what its readers see is never a lie.

Decides what may happen in which order. Refuses a model of prices: the clearing has its own tests.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import builders
from bidplane_streams.market import invariants, pools, rounds
from bidplane_streams.market.market import MarketState
from bidplane_topics import markets, orders, reports, supply
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.ledger import Settled
from bidplane_topics.outcomes import OutcomeReported
from property.market_model import Model

SHAPES = ("1g", "2g", "3g", "4g", "1", "1", "2", "2", "4", "8", "16")
RARELY = st.sampled_from((False,) * 9 + (True,))
NODES: dict[str, dict[str, Any]] = {
    "n0": {"gpus": 8}, "n1": {"gpus": 8}, "n2": {"gpus": 2, "mig": True},
    "n3": {"gpus": 4, "productName": "A100"},
}  # fmt: skip
STEPS_MS = st.sampled_from((1, 200, 1000, 1000, 1000, 2500, 7000))
REPORTS = (reports.LeaseBound, reports.LeaseFailed, reports.LeaseReleased)
WAYS = st.builds(
    builders.alternative,
    st.sampled_from(SHAPES),
    st.sampled_from((500, 1000, 3000, 3500, 9000)),
)


def report(kind: type, lease_id: str, epoch: int) -> Any:
    """A sink's word on a lease."""
    more = {"reason": "broken"} if kind is reports.LeaseFailed else {}
    return kind(market="m", lease_id=lease_id, epoch=epoch, **more)


class Market(RuleBasedStateMachine):
    """One market, a model that reads its records, and a shadow that restarts at random."""

    def __init__(self) -> None:
        """``shadow`` hears all that ``feed`` hears."""
        super().__init__()
        self.feed: builders.Feed[MarketState] = builders.Feed(MarketState(0))
        self.shadow = builders.Feed(MarketState(0))
        self.model = Model()
        self.changelog: dict[bytes, bytes | None] = {}
        self.seq = 0
        self.alive_at_ms = 0
        self.new_nodes: set[str] = set()
        self.declared_as: dict[str, Any] = {}

    @property
    def state(self) -> MarketState:
        """The market's state."""
        return self.feed.state

    def give(self, event: Any, after_ms: int = 0) -> None:
        """One record to both."""
        said = self.feed.give(event, after_ms)
        assert builders.wire(said) == builders.wire(self.shadow.give(event, after_ms))
        self.after(said)

    def after(self, said: list[Any]) -> None:
        """Both changed the same rows; the model believes what it reads."""
        rows = self.feed.state.drain()
        assert self.shadow.state.drain() == rows
        self.changelog |= rows
        self.model.read(said)

    @initialize(
        rules=st.sampled_from(("greedy", "uniform", "pay-as-bid")), fee=st.integers(0, 50),
        pending_ms=st.sampled_from((0, 2500, 9000)),
    )  # fmt: skip
    def begin(self, rules: str, fee: int, pending_ms: int) -> None:
        """A market with some nodes, on sale from the second window."""
        self.declared_as = {"stale_after_ms": 5000, "pending_ms": pending_ms}
        self.model.sells_leaving = pending_ms > 0
        self.give(
            builders.market(
                rule=rules, release_fee_micros=fee, reserve_micros=1, **self.declared_as
            )
        )
        for name in ("n0", "n2", "n3"):
            self.offer(name)
        self.alive(0)
        self.close(1000)

    @rule(after_ms=STEPS_MS, silent=RARELY)
    def window(self, after_ms: int, *, silent: bool) -> None:
        """The sink says that it works, mostly, and the window closes."""
        if not silent:
            self.alive(0)
        self.close(after_ms)

    def close(self, after_ms: int) -> None:
        """The window closes."""
        said = self.feed.close(after_ms)
        assert builders.wire(said) == builders.wire(self.shadow.close(after_ms))
        self.after(said)
        changed = builders.events(said, LeaseChanged)
        awarded = [one for one in changed if one.state in ("pending", "awarded")]
        stale = self.feed.now_ms - self.alive_at_ms > 5000
        assert not (stale and awarded), "sold while the sink was silent"
        for lease in awarded:
            nodes = {device.node for device in lease.devices}
            assert not nodes & self.new_nodes, "sold in the window in which it came"
            assert nodes <= {name for name, _ in self.state.nodes.items()}
        self.new_nodes = set()

    def alive(self, after_ms: int) -> None:
        """The sink says that it works."""
        self.give(reports.SinkAlive(market="m", sink="s"), after_ms)
        self.alive_at_ms = self.feed.now_ms

    @rule(name=st.sampled_from(sorted(NODES)))
    def offer(self, name: str) -> None:
        """A node comes, or comes again."""
        if name not in self.state.nodes:
            self.new_nodes.add(name)
        self.give(builders.node(name, **NODES[name]))

    @rule(name=st.sampled_from(sorted(NODES)), lost=st.booleans(), really=RARELY)
    def lose(self, name: str, *, lost: bool, really: bool) -> None:
        """A node goes: cordoned, or lost with its leases."""
        if really and lost:
            self.give(reports.NodeLost(market="m", node=name, reason="gone"))
        elif really:
            self.give(supply.NodeWithdrawn(market="m", node=name, reason="cordoned"))

    @rule(value=st.integers(1, 40), ways=st.lists(WAYS, min_size=1, max_size=3),
          levels=st.integers(0, 4), rest_ms=st.sampled_from((0, 0, 1500, 6000)),
          wait_ms=st.sampled_from((0, 0, 0, 1500)), copies=st.integers(1, 3))  # fmt: skip
    def order(
        self, value: int, ways: list[Any], levels: int, rest_ms: int, wait_ms: int, copies: int
    ) -> None:
        """Orders: rigid, or elastic from one level on; some rest, some wait."""
        for _ in range(copies):
            now_ms = self.feed.now_ms
            self.seq += 1
            elastic = {"mode": "elastic", "level_min": (levels + 1) // 2, "level_max": levels}
            event = builders.order(
                f"t/a/k/{self.seq}/0", value * 200, *(ways[:1] if levels else ways), seq=self.seq,
                rest_until_ms=rest_ms and now_ms + rest_ms,
                not_before_ms=wait_ms and now_ms + wait_ms, **(elastic if levels else {}),
            )  # fmt: skip
            self.model.placed[event.bid_id] = event
            self.give(event)

    @rule(data=st.data(), after_ms=st.integers(0, 300))
    def cancel(self, data: st.DataObject, after_ms: int) -> None:
        """A cancel of an order in the book, or of one that is settled."""
        known = sorted(self.model.placed)[-6:]
        bid_id = data.draw(st.sampled_from([*known, "nothing"]))
        self.seq += 1
        event = orders.CancelRequested(
            bid_id=bid_id, tenant="t", agent="a", market="m", source=0, seq=self.seq
        )
        self.give(event, after_ms)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), kind=st.sampled_from(REPORTS[:1] * 3 + REPORTS),
          skew=st.sampled_from((0, 0, 0, 0, 0, -1, 1)),
          repeat=RARELY, after_ms=st.integers(0, 300))  # fmt: skip
    def report(
        self, data: st.DataObject, kind: type, skew: int, *, repeat: bool, after_ms: int
    ) -> None:
        """A sink's report, at times late, repeated or of another epoch."""
        lease = data.draw(st.sampled_from(sorted(self.model.leases)))
        epoch = self.model.leases[lease].epoch + skew
        for _ in range(1 + repeat):
            self.give(report(kind, lease, epoch), after_ms)

    @precondition(lambda self: any(
        lease.state == "ending" for lease in self.model.leases.values()
    ))  # fmt: skip
    @rule()
    def confirm(self) -> None:
        """The sink confirms every release that it owes."""
        for lease in list(self.model.leases.values()):
            if lease.state == "ending":
                self.give(report(reports.LeaseReleased, lease.lease_id, lease.epoch))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """The holder gives a lease back, at times one that has ended."""
        lease = self.model.leases[data.draw(st.sampled_from(sorted(self.model.leases)))]
        self.seq += 1
        event = orders.ReleaseRequested(
            lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent="a", market="m",
            source=0, seq=self.seq,
        )  # fmt: skip
        self.give(event)

    @precondition(lambda self: self.able())
    @rule(data=st.data(), value=st.integers(1, 300), duration_ms=st.sampled_from((2500, 6000)),
          rest_ms=st.sampled_from((0, 0, 3000)), skew=RARELY)  # fmt: skip
    def renew(
        self, data: st.DataObject, value: int, duration_ms: int, rest_ms: int, *, skew: bool
    ) -> None:
        """A holder bids for another term of a lease, at times of one that cannot have any."""
        known = self.model.leases if skew else self.able()
        lease = self.model.leases[data.draw(st.sampled_from(sorted(known)))]
        self.seq += 1
        event = builders.order(
            f"t/a/k/{self.seq}/0", value * 200, builders.alternative(lease.shape, duration_ms),
            seq=self.seq, renews=lease.lease_id,
            rest_until_ms=rest_ms and self.feed.now_ms + rest_ms,
        )  # fmt: skip
        self.model.placed[event.bid_id] = event
        self.give(event)

    def able(self) -> list[str]:
        """The leases that stand and are of a shape that can be renewed."""
        return [
            name for name, one in self.model.leases.items()
            if one.state == "bound" and one.shape in ("1", "2", "4", "8")
        ]  # fmt: skip

    @rule(really=RARELY, back=RARELY.map(lambda rare: not rare))
    def remove(self, *, really: bool, back: bool) -> None:
        """The market goes; its orders are settled at the close; it may come again."""
        if not really:
            return
        self.give(markets.MarketRemoved(market="m"))
        self.close(1000)
        assert len(self.state.book) == 0
        if back:
            self.give(builders.market(**self.declared_as))

    @rule()
    def restart(self) -> None:
        """The shadow forgets everything and comes back from the changelog."""
        self.shadow.restart(self.changelog)
        assert builders.dump(self.shadow.state) == builders.dump(self.feed.state)

    @invariant()
    def the_audit_holds(self) -> None:
        """No device is held twice and every order is in the book or settled."""
        invariants.audit_market(self.state)
        self.model.check_book({bid_id for bid_id, _ in self.state.book.items()})

    def teardown(self) -> None:
        """In time every lease ends and every order is settled."""
        if not len(self.state.market):
            return
        self.give(markets.MarketRemoved(market="m"))
        for _ in range(4):
            self.close(60_000)
        self.confirm()
        assert not len(self.state.book)
        assert not len(self.state.leases)
        assert all(self.model.lease_ends[lease] == 1 for lease in self.model.leases)
        assert not rounds.due(self.state, 2**53)


Market.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, derandomize=True, deadline=None,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
TestMarket = Market.TestCase
TestMarket.__doc__ = "Whatever a market hears, in any order, its readers see no lie."


def opened(**rules: Any) -> builders.Feed[MarketState]:
    """A market with two nodes of eight on sale."""
    feed = builders.Feed(MarketState(0))
    feed.give(builders.market(**rules))
    feed.give(builders.node("n0"))
    feed.give(builders.node("n1"))
    feed.give(reports.SinkAlive(market="m", sink="s"))
    feed.close()
    return feed


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32),
    bids=st.lists(st.tuples(st.integers(1, 30), WAYS), min_size=2, max_size=12),
)
def test_the_order_of_arrival_changes_nothing(seed: int, bids: list[tuple[int, Any]]) -> None:
    """Orders of one window win the same devices at the same price in whatever order they came."""
    numbered = [(f"t/a/k/{n}/0", value, way) for n, (value, way) in enumerate(bids)]
    shuffled = random.Random(seed).sample(numbered, len(numbered))
    heard = []
    for arrival in (numbered, shuffled):
        feed = opened()
        for seq, (bid_id, value, way) in enumerate(arrival, 1):
            feed.give(builders.order(bid_id, value * 50, way, seq=seq))
        heard.append(builders.wire(feed.close()))
    assert heard[0] == heard[1]


EVENTS = ("bound", "failed", "released", "early", "lost", "removed", "time", "late")


def won() -> tuple[builders.Feed[MarketState], LeaseChanged]:
    """A market with one lease just awarded."""
    feed = opened(release_fee_micros=7)
    feed.give(builders.order("t/a/k/1/0", 70_000, builders.alternative("2", 3000), seq=1))
    feed.give(builders.order("t/b/k/1/0", 7000, builders.alternative("16", 9000), seq=2))
    (lease,) = [one for one in builders.events(feed.close(), LeaseChanged) if one.shape == "2"]
    return feed, lease


def hear(feed: builders.Feed[MarketState], lease: LeaseChanged, what: str, seq: int) -> bool:
    """One event about the lease; whether it used up an order number."""
    current = feed.state.leases.get(lease.lease_id)
    epoch = lease.epoch if current is None else current.lease.epoch
    match what:
        case "bound" | "failed" | "released":
            kind = {"bound": 0, "failed": 1, "released": 2}[what]
            feed.give(report(REPORTS[kind], lease.lease_id, epoch), 10)
        case "early":
            event = orders.ReleaseRequested(
                lease_id=lease.lease_id, bid_id=lease.bid_id, tenant="t", agent="a", market="m",
                source=0, seq=seq,
            )  # fmt: skip
            feed.give(event, 10)
        case "lost":
            feed.give(reports.NodeLost(market="m", node=lease.devices[0].node, reason="x"))
        case "removed":
            feed.give(markets.MarketRemoved(market="m"))
        case "time":
            feed.close(5000)
        case "late":
            feed.give(report(reports.LeaseReleased, lease.lease_id, lease.epoch))
    return what == "early"


def test_any_four_events_settle_a_lease_at_most_once() -> None:
    """Of all sequences of four events after an award, none settles twice or frees unconfirmed."""
    start, lease = won()
    start.state.drain()
    rows = {name.encode(): row for name, row in builders.dump(start.state).items()}
    for sequence in itertools.product(EVENTS, repeat=4):
        feed = builders.Feed(MarketState(0), start.now_ms)
        builders.restore(feed.state, rows)
        seq = 3
        for what in sequence:
            seq += hear(feed, lease, what, seq)
        check_lease(feed, lease)


def check_lease(feed: builders.Feed[MarketState], lease: LeaseChanged) -> None:
    """One settlement for an end, none without; free devices only after the confirmation."""
    changes = [
        one for one in builders.events(feed.out, LeaseChanged) if one.lease_id == lease.lease_id
    ]
    paid = [one for one in builders.events(feed.out, Settled) if one.lease_id == lease.lease_id]
    states = [one.state for one in changes]
    assert len(set(states)) == len(states)
    assert len(paid) == ("ending" in states)
    assert all(one.refund_micros <= lease.price_micros for one in paid)
    told = [one.outcome_id for one in builders.events(feed.out, OutcomeReported)]
    assert len(set(told)) == len(told)
    state = feed.state
    keys = [pools.leased_key(one) for one in lease.devices]
    for key in keys:
        assert (lease.lease_id in state.uses[key].holders) == ("ended" not in states)
    assert ("ended" in states) == (lease.lease_id not in state.leases)
