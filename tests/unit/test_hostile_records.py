"""Records that once stopped a lane for good: each must end as data, never as a crash."""

from __future__ import annotations

import json

import msgspec
import pytest

from bidplane_streams.lanes import deadletters
from bidplane_streams.lanes.logic import Effects, Record
from bidplane_streams.market import pools
from bidplane_topics import codec, markets, registry, supply
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.rejections import Rejection

MIB = 1024 * 1024


def test_a_huge_record_fits_the_dead_letters() -> None:
    """The value and the headers of a dead letter are cut, and the cut is noted."""
    headers = tuple((f"h{number}", b"x" * MIB) for number in range(20))
    record = Record(registry.BIDS.name, 0, 7, 1, b"k", b"x" * (30 * MIB), headers)
    effects = Effects()
    deadletters.bury(effects, record, Rejection.OVERSIZED, "too large")
    ((_, written),) = effects.outputs.items()
    (output,) = written
    size = len(output.value or b"") + sum(len(raw) for _, raw in output.headers)
    assert size < 300 * 1024
    assert (deadletters.TRUNCATED_HEADER, str(30 * MIB).encode()) in output.headers


def test_bids_are_bounded_at_the_broker() -> None:
    """The broker itself refuses batches of bids far beyond a record's limit."""
    assert registry.BIDS.config()["max.message.bytes"] == str(256 * 1024)


def device(*placements: tuple[supply.Profile, int], name: str = "gpu-0") -> supply.Device:
    """A device with partitions at these placements."""
    return supply.Device(
        name=name, driver="gpu.nvidia.com", pool="n", uuid="u", device_class="gpu.nvidia.com",
        partitions=tuple(
            supply.Partition(name=f"{name}-{profile}-{at}", uuid="p", profile=profile, start=at)
            for profile, at in placements
        ),
    )  # fmt: skip


def test_a_device_with_some_placements_is_sold_whole() -> None:
    """Only a device with every placement is in a pool that sells slices."""
    whole = device(*sorted(supply.PLACEMENTS))
    part = device(("1g", 0), ("1g", 1))
    assert whole.sliceable
    assert not part.sliceable
    assert pools.pool_name(whole, ()) != pools.pool_name(part, ())


def test_a_device_named_twice_is_malformed() -> None:
    """An offer that names a device twice does not decode, so it cannot be sold twice."""
    offer = {
        "type": "node_offered", "market": "m", "node": "n",
        "devices": [msgspec.to_builtins(device()), msgspec.to_builtins(device())],
    }  # fmt: skip
    with pytest.raises(MalformedRecord, match="twice"):
        codec.decode(registry.SUPPLY, json.dumps(offer).encode())


@pytest.mark.parametrize("field", ["bind_deadline_ms", "grace_ms", "stale_after_ms"])
def test_market_times_are_bounded(field: str) -> None:
    """A time that would overflow a deadline is refused where it is declared."""
    declared = msgspec.to_builtins(markets.MarketDeclared(market="m", partition=0))
    raw = json.dumps(declared | {field: 2**53 - 1}).encode()
    with pytest.raises(MalformedRecord, match=field):
        codec.decode(registry.MARKETS, raw)
