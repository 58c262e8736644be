"""An operator on a real Kafka: markets and their partitions, and who is due a control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import sdk_world
from bidplane_agents import cli, kubeconfigs, operator
from bidplane_agents.errors import BadInput
from sdk_world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A real broker with all topics."""
    async with sdk_world.on_kafka(tmp_path_factory.mktemp("operator")) as made:
        yield made


async def test_markets_take_the_lowest_free_partition_until_none_is_left(world: World) -> None:
    """A market is one partition; a name or a partition is never given twice."""
    async with operator.Operator(world.connection) as hand:
        with pytest.raises(BadInput, match="window_ms"):
            await hand.create_market({"market": "pool-q", "window_ms": 1})
        made = [await hand.create_market({"market": f"pool-{n}"}) for n in "wxyz"]
        with pytest.raises(BadInput, match="exists already"):
            await hand.create_market({"market": "pool-w"})
        with pytest.raises(BadInput, match="all 4 market partitions are taken"):
            await hand.create_market({"market": "pool-q"})
    assert [market.partition for market in made] == [0, 1, 2, 3]


async def test_a_declared_market_is_left_as_it_is(world: World) -> None:
    """`market create --if-missing` may be repeated with any rules: it changes nothing."""
    async with operator.Operator(world.connection) as hand:
        before = await hand.declared_markets()
        words = ["market", "create", "pool-w", "--window", "9s", "--if-missing"]
        kafka_words = ["--kafka", world.connection.bootstrap]
        assert await asyncio.to_thread(cli.run, [*words, *kafka_words]) == 0
        assert await hand.declared_markets() == before


async def test_a_removed_market_keeps_its_partition(world: World) -> None:
    """No other market gets it, since its lane and its leases live on; created again, it is back."""
    async with operator.Operator(world.connection) as hand:
        before = await hand.declared_markets()
        name = min(before)
        await hand.remove_market(name)
        assert name not in await hand.declared_markets()
        with pytest.raises(BadInput, match="removed markets keep theirs"):
            await hand.create_market({"market": "pool-q"})
        again = await hand.create_market({"market": name})
        with pytest.raises(BadInput, match="no market 'pool-q'"):
            await hand.remove_market("pool-q")
    assert again.partition == before[name].partition


async def test_only_an_agent_with_a_cluster_is_due_a_kubeconfig(world: World) -> None:
    """Waiting for another's would be in vain, and the answer says why."""
    async with operator.Operator(world.connection) as hand:
        await hand.register_agent("kube/with", cluster=True)
        await hand.register_agent("kube/without")
    await kubeconfigs.is_due(world.connection, "kube/with")
    with pytest.raises(BadInput, match="without a control plane"):
        await kubeconfigs.is_due(world.connection, "kube/without")
    with pytest.raises(BadInput, match="not registered"):
        await kubeconfigs.is_due(world.connection, "kube/none")
