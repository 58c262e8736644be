"""What of a clearing everyone may see: asks, and the bound of the rule `exact`.

Decides when too few agents took part for either, since it would be another's bid.
"""

from __future__ import annotations

from bidplane_agents.audit import inventory, mechanism, proven
from bidplane_agents.audit.inventory import Pool
from bidplane_topics.instances import Instance, Result

BIDDERS_LEAST = 3
MICROS_MAX = 2**53 - 1


def asks(instance: Instance, result: Result, offered: dict[str, Pool]) -> dict[str, dict[str, int]]:
    """What one more bidder would have had to name; nobody knows it where a solver cleared."""
    return {
        pool.name: {
            shape: price for shape, price in mechanism.asks(instance, result, pool).items()
            if inventory.holds_when_empty(offered[pool.name], shape)
        }
        for pool in instance.pools
        if mechanism.agents_in(instance, pool.name) >= BIDDERS_LEAST
        and (result.rule != proven.RULE or pool.name in result.fell_back)
    }  # fmt: skip


def bound(instance: Instance, result: Result) -> int | None:
    """The bound on the surplus, where it tells of several bids at least."""
    agents = {bid.agent for bid in instance.bids}
    told = result.bound_micros
    return told if told is None or (len(agents) >= BIDDERS_LEAST and told <= MICROS_MAX) else None
