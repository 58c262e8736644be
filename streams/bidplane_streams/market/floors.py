"""Floors: what of a tenant's orders comes before everybody else's, as far as it is entitled.

Decides which alternatives are of the first tier, from what was frozen when the window opened and
from shapes alone. Refuses to know values and reserves: no bid can name its way to the front.

The tier belongs to an alternative, not to a bid. A tier of the whole bid cannot be capped and yet
punish nobody for naming a further alternative: one that fits would carry a larger one along, or the
larger one would spoil the one that fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from bidplane_streams.market import pools
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.bids import Alternative
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.orders import OrderPlaced

FIRST: Final = 0

# Of an order, by its bid id: the positions of its alternatives that the floor covers.
Floors = dict[str, frozenset[int]]


def leased(rules: MarketDeclared, leases: Iterable[LeaseChanged]) -> dict[str, int]:
    """Units of the market's own devices that each entitled tenant may use, ending leases apart."""
    found = dict.fromkeys(sorted(rules.entitlements), 0)
    for lease in leases:
        if lease.tenant in found and lease.state not in ("ending", "ended"):
            own = (one for one in lease.devices if one.device_class == rules.device_class)
            found[lease.tenant] += sum(device.units for device in own)
    return found


def floors(
    rules: MarketDeclared, opened: Mapping[str, int], offered: Mapping[str, pools.Pool],
    orders: Iterable[OrderPlaced],
) -> Floors:  # fmt: skip
    """What the floors cover; ``opened`` says what each tenant had when the window opened.

    A tenant's orders come in the order in which they were admitted. Each is covered in those
    alternatives that fit into what is still missing, and takes the largest of them from it.
    """
    missing = {name: units - opened.get(name, 0) for name, units in rules.entitlements.items()}
    found: Floors = {}
    for order in sorted(orders, key=lambda order: (order.seq, order.bid_id)):
        room = missing.get(order.tenant, 0)
        if order.mode == "elastic":
            continue  # its levels are one bid: covering some of them would not be monotone
        fitting = {
            index: UNITS[alternative.shape]
            for index, alternative in enumerate(order.alternatives)
            if UNITS[alternative.shape] <= room and _counts(alternative, rules, offered)
        }
        if fitting:
            found[order.bid_id] = frozenset(fitting)
            missing[order.tenant] = room - max(fitting.values())
    return found


def _counts(
    alternative: Alternative, rules: MarketDeclared, offered: Mapping[str, pools.Pool]
) -> bool:
    """Whether some pool of the market's own devices could ever serve it, whatever it names."""
    return alternative.duration_ms <= rules.max_duration_ms and any(
        pool.device_class == rules.device_class
        and pools.matches(pool, alternative.selector, rules.device_class)
        and pools.sells(pool, alternative.shape)
        for pool in offered.values()
    )
