"""Asks: what the next bid would have had to name, against the clearing itself."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings

from bidplane_streams.market import asks, clearing
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid
from clearing_instances import SHAPES, instances

EXACT = settings(max_examples=60, derandomize=True, database=None, deadline=None)
SLOTS = 2


def with_one_more(instance: Instance, pool: str, shape: str, ask_micros: int) -> bool:
    """Whether one more bid at that price per unit and slot would have won."""
    late = InstanceBid(
        bid_id="one-more", agent="nobody", value_micros=ask_micros * UNITS[shape] * SLOTS,
        alternatives=(InstanceAlternative(pool=pool, shape=shape, slots=SLOTS),),  # type: ignore[arg-type]
    )  # fmt: skip
    more = msgspec.structs.replace(instance, bids=(*instance.bids, late))
    return late.bid_id in clearing.clear(more).awards


@EXACT
@given(instances(most=8))
def test_who_names_the_ask_wins_and_who_names_clearly_less_does_not(instance: Instance) -> None:
    """At the ask one more copy gets in; below it by more than a rounding it never does."""
    found = asks.asks(instance, clearing.clear(instance), bidders_least=0)
    for pool in instance.pools:
        for shape in SHAPES:
            ask = found[pool.name].get(shape)
            if ask is None:
                assert not with_one_more(instance, pool.name, shape, 10**7)
                continue
            assert with_one_more(instance, pool.name, shape, ask)
            if ask > 1:
                assert not with_one_more(instance, pool.name, shape, ask - 2)


@EXACT
@given(instances(most=8))
def test_few_bidders_see_no_asks(instance: Instance) -> None:
    """A pool with fewer than three agents shows none, since an ask would be another's bid."""
    found = asks.asks(instance, clearing.clear(instance))
    for pool in instance.pools:
        took_part = {
            bid.agent
            for bid in instance.bids
            if any(one.pool == pool.name for one in bid.alternatives)
        }
        assert (pool.name in found) == (len(took_part) >= asks.BIDDERS_LEAST)
