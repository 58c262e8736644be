"""A standing market on real servers: its own claims hold the nodes, and leases need none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bidplane_topics import registry
from bidplane_topics.supply import NodeOffered
from live_system import Live, until, up

AGENT = "research/server"
NODE = "node-001"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Two nodes in pool-a, and a market on standing claims, which was declared before."""
    directory = tmp_path_factory.mktemp("standing") / "s"
    with up(directory, "--nodes", "2") as made:
        made.run("market", "create", "fast", "--standing", "--window", "50ms", "--slot", "50ms")
    with up(directory, "--nodes", "2", "--beside", "fast") as made:
        made.run("agent", "register", AGENT, "--credits", "50")
        yield made


def claims(live: Live) -> list[dict[str, Any]]:
    """The claims of the host cluster that are the fast market's."""
    host = live.state()["kubeconfig"]
    found = json.loads(live.kubectl(host, "get", "resourceclaims", "-A", "-o", "json"))["items"]
    return [one for one in found if one["metadata"]["annotations"]["bidplane.io/market"] == "fast"]


def bid(live: Live, seconds: str) -> dict[str, Any]:
    """A bound lease of the whole node."""
    words = ("--shape", "8", "--minutes", seconds, "--value", "3", "--wait", "--json")
    found: dict[str, Any] = json.loads(
        live.run("bid", "--agent", AGENT, "--market", "fast", *words)
    )
    return found


def offered(live: Live, market: str) -> bool:
    """Whether the market's newest word on the node is an offer."""
    last = [event for _, _, event in live.records(registry.SUPPLY)
            if (event.market, event.node) == (market, NODE)]  # fmt: skip
    return bool(last) and isinstance(last[-1], NodeOffered)


def test_a_node_is_sold_while_its_standing_claim_stands(live: Live) -> None:
    """One claim for the node, before and after a lease, which writes nothing in the cluster."""
    live.run("market", "move-node", NODE, "--to", "fast", "--wait")
    first = bid(live, "0.02")
    (before,) = claims(live)
    assert before["metadata"]["name"].startswith("standing-")
    results = before["status"]["allocation"]["devices"]["results"]
    assert {one["device"] for one in results} >= {one["name"] for one in first["devices"]}
    second = bid(live, "10")
    assert second["epoch"] > first["epoch"] + 1
    (after,) = claims(live)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    reported = {getattr(event, "lease_id", "") for _, _, event in live.records(registry.REPORTS)}
    assert not reported & {first["lease_id"], second["lease_id"]}


def test_a_node_that_moves_away_keeps_its_claim_until_its_last_lease_is_over(live: Live) -> None:
    """Then the claim goes, the old market has the node again, and the log is sound."""
    newest = {event.lease_id: event for _, _, event in live.records(registry.LEASES)}
    (lease,) = [one for one in newest.values() if one.state == "bound"]
    live.run("market", "move-node", NODE, "--to", "pool-a")
    until("fast withdraws it", lambda: not offered(live, "fast"))
    assert len(claims(live)) == 1
    live.run("release", lease.lease_id, "--agent", AGENT)
    live.run("market", "move-node", NODE, "--to", "pool-a", "--wait")
    assert not claims(live)
    live.run("audit")


def test_a_claim_that_is_taken_away_comes_back(live: Live) -> None:
    """Without it the node is off sale; the sink makes it again, and the node is sold again."""
    live.run("market", "move-node", NODE, "--to", "fast", "--wait")
    until("the claim stands", lambda: claims(live))
    (claim,) = claims(live)
    meta = claim["metadata"]
    host = live.state()["kubeconfig"]
    patch = '{"metadata": {"finalizers": []}}'
    where = ("-n", meta["namespace"], meta["name"])
    live.kubectl(host, "delete", "resourceclaim", "--wait=false", *where)
    live.kubectl(host, "patch", "resourceclaim", "--type=merge", "-p", patch, *where)

    def again() -> bool:
        found = claims(live)
        return len(found) == 1 and found[0]["metadata"]["uid"] != meta["uid"]

    until("the claim is made again", again)
    assert bid(live, "0.02")["devices"]
