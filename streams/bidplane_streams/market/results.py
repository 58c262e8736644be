"""From winners and what they pay to the result of a clearing: positions, prices, totals, digest.

Decides nothing about who wins; every rule ends here, so that results differ by their awards alone.
"""

from __future__ import annotations

import hashlib

import msgspec

from bidplane_streams.market import placement
from bidplane_streams.market.greedy import Outcome
from bidplane_streams.market.shapes import UNITS
from bidplane_topics import codec
from bidplane_topics.instances import Award, Instance, InstanceBid, Result


def assembled(instance: Instance, rule: str, outcome: Outcome, paid: dict[str, int]) -> Result:
    """The result of these wins at these prices."""
    positions = placement.place(instance, outcome)
    awards = {
        bid_id: Award(
            alternative=won.alternative, level=won.level, price_micros=paid[bid_id],
            devices=positions[bid_id],
        )
        for bid_id, won in sorted(outcome.wins.items())
    }  # fmt: skip
    bids = {bid.bid_id: bid for bid in instance.bids}
    result = Result(
        market=instance.market,
        window=instance.window,
        rule=rule,
        awards=awards,
        prices=_prices(bids, awards),
        welfare_micros=sum(bids[one].value_micros * won.level for one, won in awards.items()),
        revenue_micros=sum(won.price_micros for won in awards.values()),
    )
    return msgspec.structs.replace(result, root=root_of(instance, result))


def _prices(bids: dict[str, InstanceBid], awards: dict[str, Award]) -> dict[str, int]:
    """What was paid per unit and slot in each pool that sold, floored."""
    paid: dict[str, int] = {}
    sold: dict[str, int] = {}
    for bid_id, won in awards.items():
        chosen = bids[bid_id].alternatives[won.alternative]
        paid[chosen.pool] = paid.get(chosen.pool, 0) + won.price_micros
        units = UNITS[chosen.shape] * chosen.slots * won.level
        sold[chosen.pool] = sold.get(chosen.pool, 0) + units
    return {pool: paid[pool] // sold[pool] for pool in sorted(paid)}


def root_of(instance: Instance, result: Result) -> str:
    """SHA-256 (hex) over the canonical JSON of [instance, rule, wins].

    The instance has its bids by id and pools by name, every field present; wins maps a bid id to
    [alternative, level, price]. Canonical: keys sorted, no spaces, UTF-8. Positions are left out,
    so that whoever recomputes a round need not repeat the placement: named devices are checked
    apart.
    """
    ordered = msgspec.structs.replace(
        instance,
        bids=tuple(sorted(instance.bids, key=lambda bid: bid.bid_id)),
        pools=tuple(sorted(instance.pools, key=lambda pool: pool.name)),
    )
    wins = {
        bid_id: [won.alternative, won.level, won.price_micros]
        for bid_id, won in result.awards.items()
    }
    return hashlib.sha256(codec.canonical([ordered, result.rule, wins])).hexdigest()
