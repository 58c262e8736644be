"""A node moves between two markets of one cluster, on real servers: drained, never sold twice."""

from __future__ import annotations

import json
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from bidplane_topics import registry
from bidplane_topics.supply import NodeOffered
from live_system import Live, until, up

AGENT = "research/mover"
WHOLE_NODE = ("--shape", "8", "--minutes", "10", "--value", "3")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Two nodes, both in pool-a; pool-b has what is moved there."""
    with up(tmp_path_factory.mktemp("moves") / "s", "--nodes", "2", "--beside", "pool-b") as made:
        made.run("agent", "register", AGENT, "--credits", "50")
        yield made


def bid(live: Live, market: str) -> dict[str, Any]:
    """A lease of a whole node, bound."""
    words = ("bid", "--agent", AGENT, "--market", market, *WHOLE_NODE, "--wait", "--json")
    found: dict[str, Any] = json.loads(live.run(*words))
    return found


def node_of(lease: dict[str, Any]) -> str:
    """Where its devices are."""
    (node,) = {device["node"] for device in lease["devices"]}
    return str(node)


def offers(live: Live, node: str) -> list[str]:
    """The markets whose newest word on the node is an offer."""
    last = {event.market: event for _, _, event in live.records(registry.SUPPLY)
            if event.node == node}  # fmt: skip
    return [market for market, event in sorted(last.items()) if isinstance(event, NodeOffered)]


def test_a_node_is_handed_over_when_its_last_lease_is_over(live: Live) -> None:
    """Sold nowhere while a lease holds it, then in its new market under higher epochs only."""
    lease = bid(live, "pool-a")
    node = node_of(lease)
    live.run("market", "move-node", node, "--to", "pool-b")
    until("pool-a withdraws it", lambda: not offers(live, node))
    os.kill(live.pid("source-inventory-pool-b"), signal.SIGKILL)
    assert "already" in live.run("market", "move-node", node, "--to", "pool-b")
    other = bid(live, "pool-a")
    assert node_of(other) != node
    assert not offers(live, node)
    live.run("release", lease["lease_id"], "--agent", AGENT)
    live.run("market", "move-node", node, "--to", "pool-b", "--wait")
    assert offers(live, node) == ["pool-b"]
    later = bid(live, "pool-b")
    assert node_of(later) == node
    assert later["epoch"] > lease["epoch"] + 1
    live.run("release", other["lease_id"], "--agent", AGENT)


def test_moved_twice_and_back_it_is_sold_where_it_was_moved_last(live: Live) -> None:
    """The newest move counts, also with sources that die on the way; then the log is audited."""
    newest = {event.lease_id: event for _, _, event in live.records(registry.LEASES)}
    (lease,) = [one for one in newest.values() if (one.market, one.state) == ("pool-b", "bound")]
    node = lease.devices[0].node
    for market in ("pool-a", "pool-b", "pool-a"):
        live.run("market", "move-node", node, "--to", market)
    os.kill(live.pid("source-inventory"), signal.SIGKILL)
    live.run("release", lease.lease_id, "--agent", AGENT)
    live.run("market", "move-node", node, "--to", "pool-a", "--wait")
    assert offers(live, node) == ["pool-a"]
    assert {node_of(bid(live, "pool-a")) for _ in range(2)} >= {node}
    live.run("audit")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "--to", "pool-b"), "no market ever offered a node 'nowhere'"),
        (("node-000", "--to", "pool-q"), "no market 'pool-q'"),
    ],
)
def test_an_unknown_node_or_market_is_one_line(
    live: Live, words: tuple[str, ...], said: str
) -> None:
    """Nothing is written."""
    told = live.run("market", "move-node", *words, code=2)
    assert said in told
    assert len(told.splitlines()) == 1


def test_markets_beside_the_first_are_named_rightly(tmp_path: pathlib.Path) -> None:
    """A bad name, or the first market's, is refused before anything starts."""
    for name in ("Pool B", "pool-a"):
        told = Live(tmp_path).run("up", "--dir", str(tmp_path), "--beside", name, code=2)
        assert len(told.splitlines()) == 1
