"""What is remembered of tenants, agents, keys and money: the tables of one accounts partition.

Decides the rows' shapes. Refuses to decide anything else: accounts.py does.
"""

from __future__ import annotations

import base64
import functools
from collections import Counter

import msgspec

from bidplane_streams.market.ledger import Balance
from bidplane_streams.market.rows import Rows, State
from bidplane_streams.market.schedules import Schedule
from bidplane_topics import markets


class Tenant(msgspec.Struct, frozen=True):
    """A registered tenant, and the organisation that its money comes from, if any."""

    organisation: str = ""


class Agent(msgspec.Struct, frozen=True):
    """A registered agent."""

    tenant: str
    agent: str
    key_ids: tuple[str, ...]


class Key(msgspec.Struct, frozen=True):
    """A signing key and its owner; ``sequence`` is the last one seen. Kept after revocation."""

    tenant: str
    agent: str
    public_key: str
    not_before_ms: int
    not_after_ms: int
    sequence: int = 0
    revoked: bool = False


class HeldOrder(msgspec.Struct, frozen=True):
    """An order on its way through a market, and the money held for it."""

    tenant: str
    agent: str
    market: str
    held_micros: int


class HeldLease(msgspec.Struct, frozen=True):
    """A lease that an order became: what may still be refunded is at most ``paid_micros``."""

    tenant: str
    agent: str
    market: str
    bid_id: str
    paid_micros: int


class HeldOrders(Rows[HeldOrder]):
    """Orders by bid id, counted by agent. The counts follow from the rows and are not kept."""

    def __init__(self) -> None:
        """No orders."""
        super().__init__("order", HeldOrder)
        self._open: Counter[tuple[str, str]] = Counter()

    def open_of(self, tenant: str, agent: str) -> int:
        """How many orders of this agent are on their way through markets."""
        return self._open[tenant, agent]

    def put(self, key: str, row: HeldOrder) -> HeldOrder:
        """As every table, and counted."""
        self._count(self._rows.get(key), -1)
        self._count(row, 1)
        return super().put(key, row)

    def remove(self, key: str) -> None:
        """As every table, and counted."""
        self._count(self._rows.get(key), -1)
        super().remove(key)

    def restore(self, key: str, value: bytes | None) -> None:
        """As every table, and counted."""
        self._count(self.get(key), -1)
        super().restore(key, value)
        self._count(self.get(key), 1)

    def _count(self, row: HeldOrder | None, change: int) -> None:
        if row is None:
            return
        owner = row.tenant, row.agent
        self._open[owner] += change
        if not self._open[owner]:
            del self._open[owner]


class AccountsState(State):
    """All state of one partition of tenants."""

    def __init__(self, partition: int) -> None:
        """An empty partition."""
        self.partition = partition
        self.organisations: Rows[bool] = Rows("organisation", bool)
        self.tenants: Rows[Tenant] = Rows("tenant", Tenant)
        self.agents: Rows[Agent] = Rows("agent", Agent)
        self.keys: Rows[Key] = Rows("key", Key)
        self.grants: Rows[bool] = Rows("grant", bool)
        # Transfers that came here, by id, and those of ours that came back.
        self.arrived: Rows[bool] = Rows("arrived", bool)
        self.returned: Rows[bool] = Rows("returned", bool)
        self.schedules: Rows[Schedule] = Rows("schedule", Schedule)
        self.orders = HeldOrders()
        self.leases: Rows[HeldLease] = Rows("lease", HeldLease)
        self.markets: Rows[markets.MarketDeclared] = Rows("market", markets.MarketDeclared)
        self.balances: Rows[Balance] = Rows("balance", Balance)
        self.sent: Rows[int] = Rows("sent", int)
        self.heard: Rows[int] = Rows("heard", int)
        self.tables = (
            self.organisations, self.tenants, self.agents, self.keys, self.grants, self.arrived,
            self.returned, self.schedules, self.orders, self.leases, self.markets, self.balances,
            self.sent, self.heard,
        )  # fmt: skip

    def public_key(self, key_id: str) -> bytes | None:
        """The raw public key for checking a signature, or None for a key nobody registered."""
        key = self.keys.get(key_id)
        return None if key is None else _raw(key.public_key)


@functools.lru_cache(maxsize=4096)
def _raw(text: str) -> bytes:
    return base64.b64decode(text)
