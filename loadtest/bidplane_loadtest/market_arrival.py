"""What a bid costs when it arrives, and what its receipt costs when the window closes.

Decides how a benchmark's bids look as orders. Refuses to clear them: results are handed in.
"""

from __future__ import annotations

import gc
import time
from typing import Final, get_args

import msgspec

from bidplane_streams.fast.columns import Columns
from bidplane_streams.market import receipts
from bidplane_topics import bids, codec, ids, registry
from bidplane_topics.instances import Instance, InstanceBid, Result
from bidplane_topics.orders import OrderPlaced
from bidplane_topics.receipts import Fate
from bidplane_topics.rounds import RoundClosed

# Bids whose arrival is timed: a cost per bid needs no million of them.
SAMPLE: Final = 20_000
assert {"won", "lost"} <= set(get_args(Fate))


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """CPU microseconds a bid, before the close."""

    decode_us: float
    columns_us: float


def order_of(bid: InstanceBid) -> OrderPlaced:
    """The order that an accounts lane would have written for the bid."""
    tenant, agent = bid.agent.split("/")
    return OrderPlaced(
        bid_id=bid.bid_id, tenant=tenant, agent=agent, market="bench", source=0,
        seq=bid.sequence + 1, sequence=bid.sequence, index=0, mode=bid.mode,
        value_micros=bid.value_micros, level_min=bid.level_min, level_max=bid.level_max,
        alternatives=tuple(
            bids.Alternative(selector={"pool": way.pool}, shape=way.shape, duration_ms=60_000)
            for way in bid.alternatives
        ),
        seal=ids.digest("seal", bid.bid_id),
    )  # fmt: skip


def arrival(given: Instance) -> Arrival:
    """Decode records, then make columns and each bid's text, in the order of arrival."""
    sample = given.bids[:SAMPLE]
    raw = [codec.encode(order_of(bid)) for bid in sample]
    begun = time.process_time()
    for one in raw:
        codec.decode(registry.ORDERS, one)
    decoded = time.process_time()
    Columns.of(sample)
    done = time.process_time()
    scale = 1e6 / len(sample)
    return Arrival(
        decode_us=round((decoded - begun) * scale, 2), columns_us=round((done - decoded) * scale, 2)
    )


def receipts_ms(given: Instance, result: Result) -> float:
    """CPU milliseconds to write every agent's leaf, the tree and all receipts of the round."""
    closed = RoundClosed(
        market=given.market, window=given.window, closed_at_ms=1, inputs={}, rule=result.rule,
        rule_version=1, slot_ms=given.slot_ms, beacon=given.beacon, previous_root="0" * 64,
        root="", orders=len(given.bids), awarded=len(result.awards),
        revenue_micros=result.revenue_micros, pools={}, leases_active=0, units_leased=0,
        units_total=0,
    )  # fmt: skip
    decided: receipts.Decided = [
        (order_of(bid), "won" if bid.bid_id in result.awards else "lost") for bid in given.bids
    ]
    gc.collect()
    begun = time.process_time()
    receipts.issue(closed, given, result, decided)
    return round((time.process_time() - begun) * 1000, 1)
