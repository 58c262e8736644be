"""The adapters between records and the core, without Kafka."""

from __future__ import annotations

from typing import Any

from bidplane_streams.lanes import accounts, deadletters, markets
from bidplane_streams.lanes.logic import Batch, Effects, Record
from bidplane_topics import agents, bids, codec, envelope, ledger, registry, reports
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.rounds import RoundClosed

KEY = envelope.SigningKey(b"k" * 32)
NOW_MS = 1_795_000_000_000


def _batch(lane: Any, **given: list[Record]) -> Batch:
    """A batch of the lane's topics; names are the topics' middle words."""
    topics = (*lane.GLOBALS, *lane.INPUTS)
    found = {topic.name: given.pop(topic.name.split(".")[1], []) for topic in topics}
    assert not given
    return Batch(found, {name: len(records) for name, records in found.items()})


def _records(topic: registry.Topic, *values: Any, headers: Any = ()) -> list[Record]:
    return [
        Record(
            topic.name, 0, offset, NOW_MS + offset, b"k",
            value if isinstance(value, bytes | None) else codec.encode(value), tuple(headers),
        )
        for offset, value in enumerate(values)
    ]  # fmt: skip


def _events(effects: Effects | None, topic: registry.Topic) -> list[Any]:
    assert effects is not None
    return [
        codec.decode(topic, output.value)
        for (name, _), outputs in effects.outputs.items()
        if name == topic.name
        for output in outputs
    ]


def _declared() -> list[Record]:
    return _records(registry.MARKETS, MarketDeclared(market="m", partition=0))


def _registration() -> list[Record]:
    key = agents.AgentKey(key_id=KEY.key_id, public_key=KEY.public_text())
    return _records(
        registry.AGENTS,
        agents.TenantRegistered(tenant="t", partition=0),
        agents.AgentRegistered(tenant="t", agent="a", keys=(key,)),
    )


def _grant() -> list[Record]:
    grant = agents.CreditGranted(grant_id="g", tenant="t", agent="a", amount_micros=1000)
    return _records(registry.ACCOUNTS, grant)


def _bid(value_micros: int) -> list[Record]:
    alternative = bids.Alternative(shape="1", duration_ms=1000)
    place = bids.Place(market="m", value_micros=value_micros, alternatives=(alternative,))
    sealed = bids.Envelope(
        v=1, tenant="t", agent="a", sequence=1, expires_at_ms=NOW_MS * 2,
        commands=(bids.Command(place=place),),
    )  # fmt: skip
    value, headers = envelope.seal(sealed, KEY)
    return _records(registry.BIDS, value, headers=headers)


def test_one_batch_registers_pays_and_bids() -> None:
    """Within a batch a registration precedes the money, and the money precedes the bid."""
    logic = accounts.AccountsLogic()
    state = logic.new_state(0)
    batch = _batch(
        accounts, markets=_declared(), agents=_registration(), accounts=_grant(), bids=_bid(900)
    )
    effects = logic.decide(state, 0, batch, NOW_MS)
    (order,) = _events(effects, registry.ORDERS)
    assert order.value_micros == 900
    holds = [entry for entry in _events(effects, registry.LEDGER) if entry.kind == "hold"]
    assert holds[0].origin == ledger.Origin(topic=registry.BIDS.name, partition=0, offset=0)


def test_a_restored_state_decides_as_the_old_one() -> None:
    """The changelog of a batch is the whole state: another process goes on from it alike."""
    logic = accounts.AccountsLogic()
    state = logic.new_state(0)
    first = _batch(accounts, markets=_declared(), agents=_registration(), accounts=_grant())
    effects = logic.decide(state, 0, first, NOW_MS)
    assert effects is not None
    again = logic.new_state(0)
    for key, value in effects.changes.items():
        logic.restore(again, key, value)
    second = _batch(accounts, bids=_bid(5000))
    here, there = logic.decide(state, 0, second, 0), logic.decide(again, 0, second, 0)
    assert here is not None
    assert there is not None
    assert (here.outputs, here.changes) == (there.outputs, there.changes)


def test_malformed_globals_are_buried_once() -> None:
    """Every partition of every lane reads the markets: the first accounts partition buries."""
    broken = _batch(accounts, markets=_records(registry.MARKETS, b"{", None))
    logic = accounts.AccountsLogic()
    for partition, letters in ((0, 2), (1, 0)):
        effects = logic.decide(logic.new_state(partition), partition, broken, NOW_MS)
        assert effects is not None
        assert sum(map(len, effects.outputs.values())) == letters


def test_a_dead_letter_keeps_bytes_and_headers() -> None:
    """The original value, key and headers, and beside them the reason and the origin."""
    logic = accounts.AccountsLogic()
    records = _records(registry.BIDS, b"\xff", headers=(("trace", b"1"),))
    effects = logic.decide(logic.new_state(0), 0, _batch(accounts, bids=records), NOW_MS)
    assert effects is not None
    (letter,) = effects.outputs[f"{registry.BIDS.name}.dlq", 0]
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["trace"]) == (b"k", b"\xff", b"1")
    assert headers[deadletters.REASON_HEADER] == b"unsigned"
    assert headers[deadletters.ORIGIN_HEADER] == b"bidplane.bids.v1/0/0"


def test_records_wait_for_their_market_but_not_for_ever() -> None:
    """Without a market nothing is decided; too much of it is answered as misrouted."""
    logic = markets.MarketsLogic()
    state = logic.new_state(0)
    alive = reports.SinkAlive(market="m", sink="s")
    few = _batch(markets, reports=_records(registry.REPORTS, alive))
    assert logic.next_close_ms(state, NOW_MS) is None
    assert logic.decide(state, 0, few, NOW_MS) is None
    many = _records(registry.REPORTS, *[alive] * markets.HOMELESS_RECORDS)
    effects = logic.decide(state, 0, _batch(markets, reports=many), NOW_MS)
    assert effects is not None
    assert len(effects.outputs[f"{registry.REPORTS.name}.dlq", 0]) == len(many)


def test_a_window_closes_over_all_its_inputs() -> None:
    """The round names the next offset of every input; then a window with nothing writes nothing."""
    logic = markets.MarketsLogic()
    state = logic.new_state(0)
    alive = reports.SinkAlive(market="m", sink="s")
    batch = _batch(markets, markets=_declared(), reports=_records(registry.REPORTS, alive))
    effects = logic.decide(state, 0, batch, NOW_MS + 10)
    (closed,) = _events(effects, registry.ROUNDS)
    assert isinstance(closed, RoundClosed)
    assert closed.inputs == batch.positions
    assert logic.next_close_ms(state, NOW_MS) == (NOW_MS // 2000 + 1) * 2000
    assert logic.decide(state, 0, _batch(markets), NOW_MS + 2010) is None
