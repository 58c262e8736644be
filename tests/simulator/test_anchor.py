"""The published experiment: on the real trace where there is one, else on a seeded one."""

from __future__ import annotations

import os
import pathlib
import random

import pytest

from bidplane_loadtest.simulator import anchor, openb, synthetic
from bidplane_loadtest.simulator.cluster import Cluster, Node, Place, Request
from bidplane_loadtest.simulator.fragmentation import Fragmentation, popular

TRACES = os.environ.get("BIDPLANE_TRACES")
NODES = "openb/openb_node_list_gpu_node.csv"
PODS = "openb/openb_pod_list_default.csv"


def given() -> tuple[tuple[Node, ...], list[Request]]:
    """The real lists, or seeded ones of their shape."""
    if TRACES is None:
        return synthetic.nodes(4), [pod.request for pod in synthetic.pods(1, 1500)]
    folder = pathlib.Path(TRACES)
    assert (folder / NODES).is_file(), f"BIDPLANE_TRACES has no {folder / NODES}"
    return openb.nodes(folder / NODES), [pod.request for pod in openb.pods(folder / PODS)]


def test_the_simulator_lands_where_the_published_one_did() -> None:
    """Random packs worst and FGD best, and on the real trace all are within their tolerance."""
    nodes, pods = given()
    found = {row.policy: row for row in anchor.compare(nodes, pods, 1, list(anchor.PUBLISHED))}
    print({name: (row.ours_100, row.ours_130) for name, row in found.items()})
    assert found["random"].ours_130 < found["best-fit"].ours_130 <= found["fgd"].ours_130
    if TRACES is not None:
        assert all(row.within for row in found.values())


def test_figures_far_from_the_published_are_not_within() -> None:
    """One load out of tolerance is enough."""
    theirs = anchor.Published(86.3, 87.5, 1.0)
    assert anchor.Compared("random", 86.9, 88.4, theirs).within
    assert not anchor.Compared("random", 86.3, 88.6, theirs).within


def test_pods_come_once_before_any_comes_again() -> None:
    """The inflow holds every pod, and then enough of them again."""
    pods = [Request(1, 1, 1, milli) for milli in range(100, 200)]
    order = anchor.inflow(pods, 30_000, random.Random(1))
    assert sorted(order[:100]) == pods
    assert 30_000 <= sum(pod.total_milli for pod in order) < 30_200


@pytest.mark.parametrize(
    ("left", "cpu_milli", "amount"),
    [((1000, 1000), 64_000, 0), ((500, 1000), 64_000, 500), ((500, 1000), 1000, 1500),
     ((300, 300), 64_000, 600)],
)  # fmt: skip
def test_fragmentation_is_what_a_pod_cannot_use(
    left: tuple[int, ...], cpu_milli: int, amount: int
) -> None:
    """GPUs with too little left are fragments, and all of them where the CPU is short."""
    known = Fragmentation(popular([Request(4000, 1, 1, 600)]))
    assert known.of(cpu_milli, "G2", left) == amount


def test_a_gpu_cannot_be_taken_twice() -> None:
    """The cluster refuses a placement on what is not free."""
    cluster = Cluster((Node("n0", 64_000, 64_000, 2, "G2"),))
    cluster.take(Place(0, (0,)), Request(1, 1, 1, 600))
    with pytest.raises(AssertionError, match="a GPU is used twice"):
        cluster.take(Place(0, (0,)), Request(1, 1, 1, 600))
