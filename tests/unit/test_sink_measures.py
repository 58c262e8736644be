"""What sinks count of leases, pods and control planes, at chosen times."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_streams.lanes.lane import Lane
from bidplane_streams.sinks import clusters, errors, lease_stages, shown
from measured_lanes import metric

T0 = 1_795_000_000_000


def stage(name: str, market: str) -> tuple[float, float]:
    """How often a stage was seen, and for how long in all."""
    labels = {"stage": name, "market": market}
    seen = metric("bidplane_stage_seconds_count", **labels)
    return seen, metric("bidplane_stage_seconds_sum", **labels)


def test_a_release_that_is_tried_again_is_evicted_once() -> None:
    """No pod is left at the first try; the claims go at the second."""
    seen = lease_stages.LeaseStages("twice", lambda: T0 + 250)
    seen.evicted("l", T0)
    seen.evicted("l", T0)
    seen.deallocated("l")
    seen.deallocated("never ended")
    assert stage("evicted", "twice") == (1, 0.25)
    assert stage("deallocated", "twice")[0] == 1


def test_a_clock_that_is_behind_counts_nothing_as_negative() -> None:
    """Where the sink's clock is behind the broker's the stage took no time."""
    lease_stages.LeaseStages("behind", lambda: T0 - 5).allocated(T0)
    assert stage("allocated", "behind") == (1, 0.0)


def test_pods_are_counted_by_what_they_do() -> None:
    """A pod on its way out is ending whatever its phase; nodes of other markets are not ours."""
    pods: list[dict[str, Any]] = [
        {"metadata": {}, "status": {"phase": "Running"}},
        {"metadata": {"deletionTimestamp": "now"}, "status": {"phase": "Running"}},
        {"metadata": {}},
        {"metadata": {}, "status": {"phase": "Strange"}},
    ]
    ours, other = ({"metadata": {"labels": {"bidplane.io/market": one}}} for one in ("mine", "x"))
    shown.count("mine", [{"a": ours, "b": other}, {"a": ours}], pods)
    counted = {one: metric("bidplane_host_pods", market="mine", state=one) for one in shown.STATES}
    assert counted == {
        "running": 1, "ending": 1, "pending": 1, "unknown": 1, "succeeded": 0, "failed": 0,
    }  # fmt: skip
    assert metric("bidplane_virtual_nodes", market="mine") == 2


class Broken:
    """As much of a provider as is asked here: its planes do not start."""

    async def provide(self, agent: str) -> None:
        """Never."""
        raise errors.Unreachable(agent)


async def test_a_plane_that_did_not_start_has_failed_until_it_runs() -> None:
    """Wanted planes are ready, failed at the last try, or starting; nobody is two of these."""
    broken: Any = Broken()
    sink = clusters.ClustersSink("127.0.0.1:9", broken, asyncio.Event())
    wanted = frozenset({"t/runs", "t/a", "t/b"})
    with pytest.raises(errors.Unreachable):
        await sink.apply(clusters.Provide("t/a"))
    runs = frozenset({"t/runs"})
    sink._count(clusters.Observed(wanted, runs, runs))
    states = ("wanted", "ready", "starting", "failed")
    assert [metric("bidplane_planes", state=one) for one in states] == [3, 1, 1, 1]
    sink._count(clusters.Observed(wanted, runs | {"t/a"}, runs))
    assert [metric("bidplane_planes", state=one) for one in states] == [3, 2, 1, 0]


def test_a_lane_without_kafka_says_so() -> None:
    """Before a lane has its consumer, readiness names the lane and what it waits for."""
    conf = LaneConf(
        app_id="x", name="accounts", inputs=(), access=Access("127.0.0.1:9"), instance="i"
    )
    assert Lane(conf, None).missing() == "accounts waits for Kafka and its topics"  # type: ignore[arg-type]
