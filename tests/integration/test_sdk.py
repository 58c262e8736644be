"""The client on a real Kafka; the test itself plays the market."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import sdk_world
from bidplane_agents import errors, log, operator, placing, profiles, sequence, topology
from bidplane_agents.client import Client
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput, BidLost, BidRefused, LeaseVoided, NoAnswer, Unreachable
from bidplane_topics import bids, codec, ids, registry
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection, sentence
from sdk_world import World, eventually, outcome

pytestmark = pytest.mark.asyncio(loop_scope="module")
GPU = "gpu.nvidia.com"
DEVICE = LeasedDevice(
    node="node-1", name="gpu-3", driver=GPU, pool="node-1", uuid="GPU-3", device_class=GPU
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A real broker with all topics."""
    async with sdk_world.on_kafka(tmp_path_factory.mktemp("sdk")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def profile(world: World) -> profiles.Profile:
    """A freshly registered agent of a tenant of its own, whose allocations topic exists."""
    tenant = f"t{secrets.token_hex(4)}"
    async with operator.Operator(world.connection) as hand:
        done = await hand.register_agent(f"{tenant}/tuner")
    await world.make_allocations(tenant)
    assert done.profile is not None
    return done.profile


def place(market: str = "pool-a") -> bids.Place:
    """Two devices for ten minutes."""
    return placing.rigid(market=market, shape="2", minutes=10, value="3.50")


async def test_applying_topics_twice_changes_nothing(world: World) -> None:
    """Topics that exist are compared, not touched, and a different partition count is reported."""
    again = await topology.apply(world.connection, registry.Partitions())
    assert again.created == ()
    assert again.drift == ()
    other = await topology.apply(world.connection, registry.Partitions(market=9))
    assert {drift.what for drift in other.breaking()} == {"partitions"}
    assert registry.ORDERS.name in {drift.topic for drift in other.breaking()}
    assert await topology.partition_count(world.connection, registry.ORDERS) == 4


async def test_tenants_spread_over_the_partitions(world: World) -> None:
    """A new tenant gets a least used partition, and keeps it."""
    async with operator.Operator(world.connection) as hand:
        found = [await hand.register_tenant(f"s{secrets.token_hex(4)}") for _ in range(4)]
        known = await hand.directory()
        again = [await hand.register_tenant(tenant) for tenant in list(known.tenants)[-1:]]
    assert sorted(found) == [0, 1, 2, 3]
    assert again == [known.tenants[list(known.tenants)[-1]]]


async def test_an_agent_keeps_its_keys(world: World, profile: profiles.Profile) -> None:
    """Registering again adds a key and never drops one; without any key it is refused."""
    async with operator.Operator(world.connection) as hand:
        with pytest.raises(BadInput, match="--new-key"):
            await hand.register_agent(profile.id)
        same = await hand.register_agent(profile.id, keep_key=profile, cluster=True)
        more = await hand.register_agent(profile.id, new_key=True)
    assert same.key_ids == (profile.signing_key().key_id,)
    assert more.key_ids[0] == same.key_ids[0]
    assert len(more.key_ids) == 2
    assert more.cluster


async def test_a_bid_is_signed_and_stands_on_its_tenants_partition(
    world: World, profile: profiles.Profile
) -> None:
    """The bid's id is known before anyone answers, and follows from key, sequence and index."""
    heard = world.bids(profile.partition, profile.signing_key().public_text())
    async with Client(profile, world.connection) as client, contextlib.aclosing(heard):
        arriving = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(1)
        names = await client.bid_all([place(), place("pool-b")])
        record, envelope = await asyncio.wait_for(arriving, 10)
    key_id = profile.signing_key().key_id
    assert record.key == profile.id.encode()
    assert names == tuple(
        ids.bid_id(profile.tenant, profile.agent, key_id, envelope.sequence, index)
        for index in range(2)
    )
    assert [command.place for command in envelope.commands] == [place(), place("pool-b")]


async def test_more_commands_than_a_record_carries_are_refused(
    world: World, profile: profiles.Profile
) -> None:
    """The client refuses at home what the market would have to throw away."""
    async with Client(profile, world.connection, listen=False) as client:
        with pytest.raises(BadInput, match="65 commands"):
            await client.bid_all([place()] * 65)


async def test_an_answer_is_heard_even_if_the_topic_is_made_later(world: World) -> None:
    """A tenant that was never told anything has no topic yet: that counts as nothing so far."""
    async with operator.Operator(world.connection) as hand:
        done = await hand.register_agent(f"late{secrets.token_hex(3)}/tuner")
    assert done.profile is not None
    async with Client(done.profile, world.connection) as client:
        bid = await client.bid(place())
        with pytest.raises(NoAnswer, match="is a worker running"):
            await client.wait_for(bid, {"held"}, timeout_s=0.5)
        await world.make_allocations(done.profile.tenant)
        await world.tell(outcome(done.agent, "held", bid_id=bid))
        assert (await client.wait_for(bid, {"held"}, timeout_s=10)).bid_id == bid


async def test_following_gives_own_outcomes_once(world: World, profile: profiles.Profile) -> None:
    """The router may repeat and tenants share a topic: an agent sees its own, once each."""
    mine = [outcome(profile.id, "held", bid_id=f"b{n}") for n in range(3)]
    other = outcome(f"{profile.tenant}/other", "held", bid_id="b9")
    await world.tell(mine[0], other, mine[0], mine[1], mine[1])
    async with Client(profile, world.connection, listen=False) as client:
        told = client.follow(from_beginning=True)
        found = [await asyncio.wait_for(anext(told), 10) for _ in range(2)]
        assert found == mine[:2]
    async with Client(profile, world.connection) as client:
        told = client.follow()
        coming = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0)
        await world.tell(mine[2])
        assert await asyncio.wait_for(coming, 10) == mine[2]


async def test_what_came_before_the_client_is_no_answer(
    world: World, profile: profiles.Profile
) -> None:
    """A client listens from its start on: older outcomes are history."""
    await world.tell(outcome(profile.id, "won", bid_id="old"))
    async with Client(profile, world.connection) as client:
        with pytest.raises(NoAnswer):
            await client.wait_for("old", {"won"}, timeout_s=1)


async def test_a_refused_bid_says_why(world: World, profile: profiles.Profile) -> None:
    """The market's own sentence reaches the caller, with the outcome."""
    async with Client(profile, world.connection) as client:
        bid = await client.bid(place())
        said = outcome(
            profile.id, "refused", bid_id=bid, reason=Rejection.NO_FUNDS,
            sentence=sentence(Rejection.NO_FUNDS),
        )  # fmt: skip
        await world.tell(said)
        with pytest.raises(BidRefused, match="Nothing is available") as caught:
            await client.wait_for(bid, {"won"}, timeout_s=10)
    assert caught.value.outcome == said
    assert caught.value.reason is Rejection.NO_FUNDS
    assert caught.value.exit_code == 3


async def test_a_declined_cancel_does_not_end_its_bid(
    world: World, profile: profiles.Profile
) -> None:
    """Whoever waits for the bid goes on waiting; whoever cancelled learns that it failed."""
    async with Client(profile, world.connection) as client:
        bid = await client.bid(place())
        command = await client.cancel(bid)
        declined = outcome(
            profile.id, "declined", bid_id=bid, outcome_id=ids.joined("declined", command),
            reason=Rejection.UNKNOWN_BID, sentence=sentence(Rejection.UNKNOWN_BID),
        )  # fmt: skip
        await world.tell(declined)
        with pytest.raises(errors.CommandDeclined):
            await client.wait_for(bid, {"cancelled"}, 10, command_id=command)
        await world.tell(outcome(profile.id, "won", bid_id=bid, lease_id="l1"))
        assert (await client.wait_for(bid, {"won"}, 10)).lease_id == "l1"


async def test_a_replayed_record_ends_the_wait_and_raises_the_sequence(
    world: World, profile: profiles.Profile
) -> None:
    """A replay is told about the record; the client finds its bid in it and signs higher next."""
    ahead = 1_900_000_000_000
    async with Client(profile, world.connection) as client:
        sent = await client.submit(bids.Command(place=place()))
        replayed = outcome(
            profile.id, "replayed", outcome_id=ids.joined("replayed", sent.place()),
            reason=Rejection.REPLAYED, sentence=sentence(Rejection.REPLAYED),
            evidence={"last_sequence": ahead},
        )  # fmt: skip
        await world.tell(replayed)
        with pytest.raises(BidRefused, match="sequence"):
            await client.wait_for(sent.command_ids[0], {"won"}, 10)
        again = await client.submit(bids.Command(place=place()))
    assert again.sequence > ahead


async def play_market(
    world: World, profile: profiles.Profile, *kinds: str, ready: asyncio.Event,
    seen: list[bids.Command],
) -> None:  # fmt: skip
    """Answer the next bid with ``kinds``, then note every command that follows."""
    heard = world.bids(profile.partition, profile.signing_key().public_text())
    async with contextlib.aclosing(heard):
        ready.set()
        async for _, envelope in heard:
            command = envelope.commands[0]
            seen.extend(envelope.commands)
            if command.place is None:
                continue
            bid = ids.bid_id(
                profile.tenant, profile.agent, profile.signing_key().key_id, envelope.sequence, 0
            )
            for kind in kinds:
                await world.tell(_answer(profile, kind, bid))


def _answer(profile: profiles.Profile, kind: str, bid: str) -> OutcomeReported:
    lease = ids.lease_id("pool-a", bid)
    reason = {"lost": Rejection.OUTBID, "voided": Rejection.BIND_TIMEOUT}.get(kind)
    return outcome(
        profile.id, kind, bid_id=bid, market="pool-a", reason=reason,
        sentence="" if reason is None else sentence(reason),
        lease_id="" if kind in ("held", "lost") else lease, epoch=7,
        devices=(DEVICE,) if kind == "bound" else (), ends_at_ms=99 if kind == "bound" else 0,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def market(
    world: World, profile: profiles.Profile, *kinds: str
) -> AsyncIterator[list[bids.Command]]:
    """A market that answers ``kinds``; yields the commands that it saw."""
    ready, seen = asyncio.Event(), list[bids.Command]()
    task = asyncio.create_task(play_market(world, profile, *kinds, ready=ready, seen=seen))
    await ready.wait()
    await asyncio.sleep(1)  # its position is fixed by then
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_lease_is_held_inside_its_block_and_given_back_after_it(
    world: World, profile: profiles.Profile
) -> None:
    """Entering waits for the devices; the epoch fences; leaving releases."""
    noticed = list[OutcomeReported]()
    async with (
        market(world, profile, "held", "won", "bound") as seen,
        Client(profile, world.connection) as client,
    ):
        holding = client.lease(
            market="pool-a", shape="2", minutes=10, value="3.50", timeout_s=15,
            on_notice=noticed.append,
        )  # fmt: skip
        async with holding as lease:
            assert lease.epoch == 7
            assert lease.devices == (DEVICE,)
            assert lease.ends_at_ms == 99
            assert lease.live
            await world.tell(_answer(profile, "notice", lease.bid_id))
            assert (await asyncio.wait_for(lease.notice(), 10)).kind == "notice"
            await eventually(lambda: noticed)
        await eventually(lambda: len(seen) == 2)
        assert seen[1].release is not None
        assert seen[1].release.lease_id == lease.lease_id


async def test_a_lease_that_is_over_is_not_released_again(
    world: World, profile: profiles.Profile
) -> None:
    """The market took it back: the block learns so, and sends nothing more."""
    async with (
        market(world, profile, "held", "won", "bound", "ending") as seen,
        Client(profile, world.connection) as client,
        client.lease(
            market="pool-a", shape="2", minutes=10, value="3.50", timeout_s=15
        ) as lease,
    ):  # fmt: skip
        assert (await asyncio.wait_for(lease.ended(), 10)).kind == "ending"
        assert not lease.live
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("kinds", "raised", "reason"),
    [
        (("held", "lost"), BidLost, Rejection.OUTBID),
        (("held", "won", "voided"), LeaseVoided, Rejection.BIND_TIMEOUT),
    ],
)
async def test_a_lease_that_is_not_to_be_raises_the_markets_reason(
    world: World, profile: profiles.Profile, kinds: tuple[str, ...],
    raised: type[errors.Refusal], reason: Rejection,
) -> None:  # fmt: skip
    """Lost and voided are exceptions with a reason, and nothing is released."""
    async with market(world, profile, *kinds) as seen, Client(profile, world.connection) as client:
        with pytest.raises(raised) as caught:
            async with client.lease(
                market="pool-a", shape="2", minutes=10, value="3.50", timeout_s=15
            ):
                raise AssertionError("never held")
        assert caught.value.reason is reason
        assert len(seen) == 1


async def test_a_lease_that_nobody_answers_is_cancelled(
    world: World, profile: profiles.Profile
) -> None:
    """Giving up takes the bid out of the book and gives back what may still be won."""
    async with market(world, profile) as seen, Client(profile, world.connection) as client:
        with pytest.raises(NoAnswer):
            async with client.lease(
                market="pool-a", shape="2", minutes=10, value="3.50", timeout_s=1
            ):
                raise AssertionError("never held")
        await eventually(lambda: len(seen) == 3)
    assert seen[1].cancel is not None
    assert seen[2].release is not None


async def test_telemetry_reaches_its_topic(world: World, profile: profiles.Profile) -> None:
    """A sample goes out under the agent's own name; a figure outside the contract is refused."""
    async with Client(profile, world.connection, listen=False) as client:
        await client.publish_telemetry("l1", node="n", device="gpu-0", busy_permille=500)
        with pytest.raises(BadInput, match="busy_permille"):
            await client.publish_telemetry("l1", node="n", device="gpu-0", busy_permille=1001)
    found = [event async for _, event in log.events(world.connection, registry.TELEMETRY)]
    assert [e.busy_permille for e in found if e.tenant == profile.tenant] == [500]


async def test_rounds_of_a_market_are_public(world: World, profile: profiles.Profile) -> None:
    """Anyone may follow prices; an unknown market is refused."""
    async with Client(profile, world.connection, listen=False) as client:
        with pytest.raises(BadInput, match="no market"):
            await anext(client.rounds("nowhere"))


async def test_a_sequence_survives_the_process(
    world: World, profile: profiles.Profile, tmp_path: Path
) -> None:
    """Two clients after each other on one key, with a clock that jumped back, still grow."""
    path = tmp_path / "tuner.json"
    found = []
    for clock in (lambda: 2_000, lambda: 1_000):
        own = sequence.beside(path)
        client = Client(profile, world.connection, sequence=own, listen=False, clock=clock)
        async with client:
            found.append((await client.submit(bids.Command(place=place()))).sequence)
    assert found == [2_000, 2_001]


async def test_an_absent_broker_is_one_sentence() -> None:
    """Nobody listens there: the client says so within its time, naming the address."""
    profile = profiles.Profile(tenant="t", agent="a", partition=0, key="A" * 43 + "=")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 cannot be reached"):
        async with Client(profile, Connection("127.0.0.1:1")):
            raise AssertionError("never connected")


async def test_everything_that_was_written_decodes(world: World) -> None:
    """Whatever this module wrote by the SDK, the contract reads."""
    for topic in registry.TOPICS:
        async for record in log.read(world.connection, topic.name):
            assert record.value is not None
            codec.decode(topic, record.value)
