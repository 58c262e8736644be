"""Short builders for the events of the core, and a feeder that numbers them as a broker would.

Decides defaults. Refuses to know what is tested: whatever a test is about, it says itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from bidplane_streams.market import state as core
from bidplane_streams.market.effects import CloseWindow, DeadLetter, Effect, Emit, Input
from bidplane_streams.market.effects import SignedCommands as Signed
from bidplane_topics import agents, bids, codec, ids, ledger, markets, orders, registry, supply
from bidplane_topics.envelope import SigningKey
from bidplane_topics.leases import LeaseChanged, LeasedDevice
from bidplane_topics.ledger import Origin
from bidplane_topics.outcomes import OutcomeReported

T0_MS = 1_800_000_000_000
PLACEMENTS: dict[supply.Profile, Iterable[int]] = {
    "1g": range(7),
    "2g": (0, 2, 4),
    "3g": (0, 4),
    "4g": (0,),
}
S = TypeVar("S", core.AccountsState, core.MarketState)
_TOPIC_OF: dict[type, registry.Topic] = {
    event: topic for topic in registry.TOPICS for event in topic.events
} | {Signed: registry.BIDS}


@functools.cache
def key(number: int = 0) -> SigningKey:
    """The signing key with that number."""
    return SigningKey(number.to_bytes(32, "big"))


def agent_key(number: int = 0, **changes: Any) -> agents.AgentKey:
    """The public half of ``key(number)``."""
    made = key(number)
    return agents.AgentKey(key_id=made.key_id, public_key=made.public_text(), **changes)


def tenant(name: str = "t", partition: int = 0, organisation: str = "") -> agents.TenantRegistered:
    """A tenant of accounts partition 0, in no organisation."""
    return agents.TenantRegistered(tenant=name, partition=partition, organisation=organisation)


def allotted(
    amount_micros: int, name: str = "", *, tenant: str = "t", grant_id: str = "o", **changes: Any
) -> agents.CreditAllotted:
    """Money from organisation o to a tenant of partition 0, or through it to an agent."""
    fields: dict[str, Any] = {"organisation": "o", "tenant_partition": 0}
    return agents.CreditAllotted(
        grant_id=grant_id, tenant=tenant, agent=name, amount_micros=amount_micros,
        **(fields | changes),
    )  # fmt: skip


def budget(
    amount_micros: int = 0, period_ms: int = 1000, decay_permille: int = 0, **whose: Any
) -> agents.BudgetSet:
    """What every period does to agent t/a, unless ``whose`` names another account."""
    fields: dict[str, Any] = whose or {"tenant": "t", "agent": "a"}
    return agents.BudgetSet(
        amount_micros=amount_micros, period_ms=period_ms, decay_permille=decay_permille, **fields
    )


def agent(name: str = "a", *numbers: int, tenant: str = "t") -> agents.AgentRegistered:
    """An agent with the keys of those numbers."""
    keys = tuple(agent_key(number) for number in numbers or (0,))
    return agents.AgentRegistered(tenant=tenant, agent=name, keys=keys)


def grant(
    amount_micros: int, name: str = "a", *, tenant: str = "t", grant_id: str = "g", **changes: Any
) -> agents.CreditGranted:
    """Money from the treasury to an agent."""
    return agents.CreditGranted(
        grant_id=grant_id, tenant=tenant, agent=name, amount_micros=amount_micros, **changes
    )


def market(name: str = "m", partition: int = 0, **changes: Any) -> markets.MarketDeclared:
    """A market with windows of one second."""
    rules: dict[str, Any] = {"window_ms": 1000, "bind_deadline_ms": 5000, "grace_ms": 2000}
    return markets.MarketDeclared(market=name, partition=partition, **(rules | changes))


def alternative(shape: Any = "1", duration_ms: int = 10_000, **selector: Any) -> bids.Alternative:
    """One way to serve a bid."""
    return bids.Alternative(selector=selector, shape=shape, duration_ms=duration_ms)


def place(value_micros: int = 100, *ways: bids.Alternative, **changes: Any) -> bids.Place:
    """A rigid bid for one device in market m."""
    fields: dict[str, Any] = {"market": "m", "alternatives": ways or (alternative(),)}
    return bids.Place(value_micros=value_micros, **(fields | changes))


def command(part: bids.Place | bids.Cancel | bids.Release | bids.Offer) -> bids.Command:
    """The command that holds ``part``."""
    fields: dict[str, Any] = {type(part).__name__.lower(): part}
    return bids.Command(**fields)


def signed(
    sequence: int, *parts: Any, name: str = "a", number: int = 0, tenant: str = "t",
    expires_at_ms: int = 2**53 - 1,
) -> Signed:  # fmt: skip
    """A verified envelope of those commands."""
    envelope = bids.Envelope(
        v=1, tenant=tenant, agent=name, sequence=sequence, expires_at_ms=expires_at_ms,
        commands=tuple(map(command, parts)),
    )  # fmt: skip
    return Signed(envelope, key(number).key_id, ids.digest("seal", str(number), str(sequence)))


def order(
    bid_id: str, value_micros: int = 1000, *ways: bids.Alternative, seq: int = 0, **changes: Any
) -> orders.OrderPlaced:
    """An admitted rigid bid for one device."""
    fields: dict[str, Any] = {
        "tenant": "t", "agent": "a", "market": "m", "source": 0, "sequence": 1, "index": 0,
        "mode": "rigid", "alternatives": ways or (alternative(),),
        "seal": ids.digest("seal", bid_id),
    }  # fmt: skip
    return orders.OrderPlaced(bid_id=bid_id, value_micros=value_micros, seq=seq, **fields | changes)


def settled(
    bid_id: str, cause: Any, seq: int, *, charge: int = 0, refund: int = 0, **changes: Any
) -> ledger.Settled:
    """The market's word on an order."""
    fields: dict[str, Any] = {
        "settlement_id": f"{bid_id}|{cause}", "market": "m", "tenant": "t", "agent": "a",
        "source": 0, "charge_micros": charge, "refund_micros": refund,
    }  # fmt: skip
    return ledger.Settled(bid_id=bid_id, cause=cause, seq=seq, **(fields | changes))


def gpu(name: str, node: str = "n0", *, mig: bool = False, **attributes: Any) -> supply.Device:
    """A whole device, with its partitions where ``mig``."""
    return supply.Device(
        name=name, driver="gpu.nvidia.com", pool=node, uuid=f"GPU-{node}-{name}",
        device_class="gpu.nvidia.com", attributes={"productName": "H100"} | attributes,
        partitions=tuple(
            supply.Partition(
                name=f"{name}-{profile}-{start}", uuid=f"MIG-{node}-{name}-{profile}-{start}",
                profile=profile, start=start,
            )
            for profile, starts in PLACEMENTS.items()
            for start in starts
        ) if mig else (),
    )  # fmt: skip


def node(
    name: str = "n0", gpus: int = 8, *, mig: bool = False, market: str = "m", **attributes: Any
) -> supply.NodeOffered:
    """A node with that many alike devices."""
    return supply.NodeOffered(
        market=market, node=name, cpu_millis=128_000, memory_mib=1_000_000, ephemeral_mib=10_000,
        devices=tuple(gpu(f"gpu-{n}", name, mig=mig, **attributes) for n in range(gpus)),
    )  # fmt: skip


def lease(**changes: Any) -> LeaseChanged:
    """An awarded lease of one device: price 1000, ten slots of a second."""
    device = LeasedDevice(
        node="n0", name="gpu-0", driver="gpu.nvidia.com", pool="n0", uuid="GPU-n0-gpu-0",
        device_class="gpu.nvidia.com",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "market": "m", "lease_id": "l", "bid_id": "b", "tenant": "t", "agent": "a",
        "state": "awarded", "epoch": 1, "window": 1, "market_pool": "p", "shape": "1", "level": 1,
        "devices": (device,), "nodes": (), "price_micros": 1000, "duration_ms": 10_000,
        "awarded_at_ms": T0_MS, "bind_by_ms": T0_MS + 5000,
    }  # fmt: skip
    return LeaseChanged(**(fields | changes))


class Feed(Generic[S]):
    """Feeds a state: numbers records per topic, keeps the time, remembers what came out."""

    def __init__(self, state: S, now_ms: int = T0_MS) -> None:
        """``state`` is an AccountsState or a MarketState."""
        self.state: S = state
        self.now_ms = now_ms
        self.next_offset: dict[str, int] = {}
        self.out: list[Effect] = []

    def give(self, event: Any, after_ms: int = 0) -> list[Effect]:
        """Apply one record ``after_ms`` later than the last."""
        self.now_ms += after_ms
        topic = _TOPIC_OF[type(event)].name
        offset = self.next_offset.get(topic, 0)
        self.next_offset[topic] = offset + 1
        origin = Origin(topic=topic, partition=self.state.partition, offset=offset)
        _, effects = core.apply(self.state, Input(event, origin, self.now_ms), self.now_ms)
        self.out += effects
        return effects

    def close(self, after_ms: int = 1000) -> list[Effect]:
        """Close the window ``after_ms`` later."""
        self.now_ms += after_ms
        assert isinstance(self.state, core.MarketState)
        event = CloseWindow(self.now_ms, dict(sorted(self.next_offset.items())))
        _, effects = core.apply(self.state, event, self.now_ms)
        self.out += effects
        return effects

    def restart(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Forget the state and take it back from changelog rows."""
        self.state = type(self.state)(self.state.partition)
        restore(self.state, rows)


def restore(
    state: core.AccountsState | core.MarketState, rows: Mapping[bytes, bytes | None]
) -> None:
    """Take changelog rows back."""
    for name, value in rows.items():
        state.restore(name, value)


def dump(state: core.AccountsState | core.MarketState) -> dict[str, bytes]:
    """Every row of a state, for comparing two of them byte by byte."""
    return {
        f"{table.name}/{name}": msgspec.json.encode(row)
        for table in state.tables
        for name, row in table.items()
    }


def events(effects: list[Effect], kind: type[Any]) -> list[Any]:
    """The emitted events of that type, in order."""
    return [one.event for one in effects if isinstance(one, Emit) and isinstance(one.event, kind)]


def outcomes(effects: list[Effect], *kinds: str) -> list[OutcomeReported]:
    """The outcomes, of those kinds where any are named; else all but receipts."""
    found: list[OutcomeReported] = events(effects, OutcomeReported)
    return [one for one in found if (one.kind in kinds if kinds else one.kind != "receipt")]


def dead(effects: list[Effect]) -> list[DeadLetter]:
    """The dead letters."""
    return [one for one in effects if isinstance(one, DeadLetter)]


def check_wire(effects: list[Effect]) -> None:
    """Every emitted record decodes to what was emitted: nothing leaves the contract's bounds."""
    for one in effects:
        if isinstance(one, Emit):
            assert codec.decode(one.topic, codec.encode(one.event)) == one.event


def wire(effects: list[Effect]) -> list[tuple[Any, ...]]:
    """Effects as bytes, for comparing two runs."""
    return [
        (one.topic.name, one.partition, one.key, msgspec.json.encode(one.event))
        if isinstance(one, Emit)
        else tuple(one)
        for one in effects
    ]
