"""What an agent's own objects can make the nodes sink do: nothing that does not end."""

from __future__ import annotations

from typing import Any

import pytest

from bidplane_streams.sinks import kube, names, nodes_plan

Object = dict[str, Any]


def seen(
    nodes: tuple[Object, ...] = (), slices: tuple[Object, ...] = (), pods: tuple[Object, ...] = ()
) -> nodes_plan.Observed:
    """One agent's cluster, no leases, no host pods."""

    def by_key(found: tuple[Object, ...]) -> dict[nodes_plan.Key, Object]:
        return {
            (one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in found
        }

    cluster = nodes_plan.Cluster("t/a", by_key(pods), {}, by_key(nodes), by_key(slices))
    return nodes_plan.Observed("m", {}, {"t/a": cluster}, {}, {}, frozenset())


def node(name: str, **meta: Any) -> Object:
    """A node with our marks."""
    labels = {names.MARKET: "m", names.LEASE: "x"}
    return {"metadata": {"name": name, "labels": labels, **meta}, "spec": {}}


def a_slice(name: str, **spec: Any) -> Object:
    """A ResourceSlice with our mark."""
    return {"metadata": {"name": name, "labels": {names.LEASE: "x"}}, "spec": spec}


def pod(**meta: Any) -> Object:
    """A pod on the node ``n`` that is being deleted."""
    labels = {"name": "p", "namespace": "d", "uid": "u", "deletionTimestamp": "t", **meta}
    return {"metadata": labels, "spec": {"nodeName": "n", "containers": []}, "status": {}}


def test_a_node_that_a_finalizer_keeps_is_not_deleted_again_and_again() -> None:
    """It was asked for once; the rest is the agent's."""
    (first,) = nodes_plan.plan(seen(nodes=(node("n"),)), 0)
    assert isinstance(first, nodes_plan.RemoveNode)
    assert not nodes_plan.plan(seen(nodes=(node("n", deletionTimestamp="t"),)), 0)


def test_a_pod_that_a_finalizer_keeps_is_not_deleted_again_and_again() -> None:
    """Its end was confirmed once, with a grace of zero."""
    there = (node("n", deletionTimestamp="t"),)
    (first,) = nodes_plan.plan(seen(nodes=there, pods=(pod(deletionGracePeriodSeconds=30),)), 0)
    assert isinstance(first, nodes_plan.DeleteVirtual)
    again = seen(nodes=there, pods=(pod(deletionGracePeriodSeconds=0),))
    kinds = {type(action) for action in nodes_plan.plan(again, 0)}
    assert nodes_plan.DeleteVirtual not in kinds


def test_a_slice_that_names_no_node_costs_no_node() -> None:
    """Only the slice goes: an empty name would have meant all nodes."""
    (action,) = nodes_plan.plan(seen(slices=(a_slice("rogue", allNodes=True),)), 0)
    assert action == nodes_plan.RemoveNode("t/a", "", ("rogue",))


async def test_nothing_is_ever_deleted_without_a_name() -> None:
    """The API would take that for the whole collection."""
    nobody = kube.Kube(None, "nowhere")
    with pytest.raises(AssertionError, match="collection"):
        await nobody.delete(kube.NODES, "")
