"""The instruments that prometheus-client lacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from bidplane_streams import instruments

VALUES = (0.0, 0.001, 0.0015, 0.1, 7.0)


@pytest.fixture
def gauge() -> Iterator[instruments.PartitionGauge]:
    """A gauge that is gone after the test."""
    made = instruments.PartitionGauge("test_owned", "For a test.", ("who",))
    yield made
    REGISTRY.unregister(made)


def test_many_at_once_are_counted_as_one_by_one() -> None:
    """Buckets, sum and count agree, on a bound and beyond the last one too."""
    bounds = (0.001, 0.1, 1.0)
    single = instruments.Histogram("test_single", "", ["x"], registry=None, buckets=bounds)
    batch = instruments.Histogram("test_single", "", ["x"], registry=None, buckets=bounds)
    for value in VALUES:
        single.labels("a").observe(value)
    batch.labels("a").observe_each(VALUES)
    found = [
        [(one.name, one.labels, one.value) for family in each.collect() for one in family.samples
         if not one.name.endswith("_created")]
        for each in (single, batch)
    ]  # fmt: skip
    assert found[0] == found[1]


def test_series_go_with_their_owner(gauge: instruments.PartitionGauge) -> None:
    """What an owner no longer says is gone, and what two owners say is added up."""
    gauge.put(0, {("a",): 1.0, ("b",): 2.0})
    gauge.put(1, lambda: {("a",): 4.0})
    assert REGISTRY.get_sample_value("test_owned", {"who": "a"}) == 5.0
    gauge.put(0, {("a",): 1.0})
    assert REGISTRY.get_sample_value("test_owned", {"who": "b"}) is None
    gauge.drop(1)
    assert REGISTRY.get_sample_value("test_owned", {"who": "a"}) == 1.0
