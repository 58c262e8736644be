"""Which alternatives a tenant's floor covers, told a second time (market/README.md, "Floors").

Decides from the rules, the leases at the opening and the orders' shapes. Refuses to clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bidplane_agents.audit import inventory
from bidplane_agents.audit.mechanism import UNITS
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced


def units_of(rules: MarketDeclared, tenant: str, leases: Iterable[LeaseChanged]) -> int:
    """What a tenant has of the market's devices in leases that have not begun to end."""
    return sum(
        inventory.units(rules.device_class, lease.devices)
        for lease in leases
        if lease.tenant == tenant and lease.state != "ending"
    )


def covered(
    rules: MarketDeclared, had: Mapping[str, int], known: Mapping[str, inventory.Pool],
    book: Iterable[OrderPlaced],
) -> set[tuple[str, int]]:  # fmt: skip
    """(bid id, position) of every alternative that comes first."""
    by_age = sorted(book, key=lambda order: (order.seq, order.bid_id))
    found: set[tuple[str, int]] = set()
    for tenant, entitled in rules.entitlements.items():
        left = entitled - had.get(tenant, 0)
        for order in by_age:
            if order.tenant != tenant or order.mode != "rigid":
                continue
            sizes = {}
            for position, one in enumerate(order.alternatives):
                own = [
                    pool for pool in known.values()
                    if pool.device_class == rules.device_class
                    and inventory.matches(pool, one.selector, rules.device_class)
                    and inventory.holds_when_empty(pool, one.shape)
                ]  # fmt: skip
                if own and one.duration_ms <= rules.max_duration_ms and UNITS[one.shape] <= left:
                    sizes[position] = UNITS[one.shape]
            found |= {(order.bid_id, position) for position in sizes}
            left -= max(sizes.values(), default=0)
    return found
