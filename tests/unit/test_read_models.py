"""Read models: what they count, what they show and hide, and how much at a time."""

from __future__ import annotations

import types
from typing import Any

import builders
from bidplane_streams.market.account_rows import AccountsState
from bidplane_streams.market.ledger import Balance
from bidplane_streams.processors import (
    budgets,
    buried,
    live_leases,
    market_board,
    pages,
    usage_windows,
)
from bidplane_topics import codec
from bidplane_topics.event import Event
from bidplane_topics.leases import LeaseChanged
from bidplane_topics.markets import MarketDeclared, MarketRemoved
from bidplane_topics.telemetry import UsageMeasured


def _record(event: Event | None, key: str = "", **more: Any) -> Any:
    value = None if event is None else codec.encode(event)
    return types.SimpleNamespace(value=value, key=key.encode(), **more)


def _leases(*found: LeaseChanged) -> live_leases.Leases:
    model = live_leases.Leases()
    for lease in found:
        model.take(_record(lease))
    return model


def test_an_ended_lease_is_forgotten() -> None:
    """So is one whose key has a tombstone: memory holds what lives."""
    model = _leases(
        builders.lease(lease_id="a"), builders.lease(lease_id="b"),
        builders.lease(lease_id="a", state="ended"),
    )  # fmt: skip
    assert [row["lease_id"] for row in model.view({})["leases"]] == ["b"]
    model.take(_record(None, key="b"))
    assert model.view({})["leases"] == []


def test_leases_are_counted_by_market_and_state() -> None:
    """The counts are of all, whatever part of the rows is asked for."""
    model = _leases(
        builders.lease(lease_id="a", market="m", state="bound"),
        builders.lease(lease_id="b", market="m", state="ending"),
        builders.lease(lease_id="c", market="n", state="bound"),
    )
    seen = model.view({"market": "n"})
    assert seen["counts"] == {"m": {"bound": 1, "ending": 1}, "n": {"bound": 1}}
    assert [row["lease_id"] for row in seen["leases"]] == ["c"]


def test_pages_follow_one_another_to_the_end() -> None:
    """`next` is the `after` of the next page, and null on the last."""
    model = _leases(*(builders.lease(lease_id=name) for name in "abcde"))
    seen: list[str] = []
    after: Any = ""
    while after is not None:
        page = model.view({"limit": "2", "after": after})
        seen += [row["lease_id"] for row in page["leases"]]
        after = page["next"]
    assert seen == list("abcde")


def test_a_lease_shows_no_price() -> None:
    """What was bid and paid is its holder's business."""
    (row,) = _leases(builders.lease()).view({})["leases"]
    assert not {name for name in row if "price" in name or "bid" in name}


def test_a_limit_that_is_none_is_the_usual_one() -> None:
    """Words, nothing and too much are bounded."""
    words = ("", "x", "9" * 40, "0", "5000")
    assert [pages.limit({"limit": word}) for word in words] == [20, 20, 20, 1, 1000]
    assert pages.limit({}) == 20


def _window(lease_id: str, start_ms: int, busy: int, samples: int = 1) -> Any:
    return _record(
        UsageMeasured(
            lease_id=lease_id, tenant="t", agent="a", window_start_ms=start_ms,
            window_end_ms=start_ms + 60_000, samples=samples, busy_permille_mean=busy,
            memory_mib_max=1,
        )
    )  # fmt: skip


def test_usage_keeps_the_newest_windows() -> None:
    """A window that is published twice counts once; the oldest give way."""
    model = usage_windows.Usage(kept=2)
    for start_ms, busy in ((0, 1), (60_000, 100), (60_000, 200), (120_000, 400)):
        model.take(_window("l", start_ms, busy))
    seen = model.view({})
    assert [row["busy_permille_mean"] for row in seen["windows"]] == [400, 200]
    assert seen["tenants"] == {"t": {"samples": 2, "busy_permille_mean": 300}}


def test_a_dead_letters_contents_are_not_shown() -> None:
    """Reason, detail and origin are; the bytes may be somebody's bid."""
    model = buried.DeadLetters()
    headers = [("bidplane-reason", b"forged"), ("bidplane-origin", b"bidplane.bids.v1/0/7")]
    letter = types.SimpleNamespace(
        topic="bidplane.bids.v1.dlq", value=b"secret", headers=headers, timestamp=5
    )
    model.take(letter)
    seen = model.view({"topic": "bidplane.bids.v1"})
    assert seen["counts"] == {"bidplane.bids.v1": {"forged": 1}}
    assert "secret" not in str(seen)
    assert seen["last"][0]["origin"] == "bidplane.bids.v1/0/7"


async def test_a_tenants_money_is_its_own_and_its_agents() -> None:
    """Available and held are sums over tenant and agents; the system's accounts are nobody's."""
    state = AccountsState(0)
    for account, micros in (
        ("treasury", -100), ("tenant/t", 50), ("agent/t/a", 30), ("hold/t/a", 20), ("agent/u/b", 7),
    ):  # fmt: skip
        state.balances.put(account, Balance(micros))
    model = budgets.Budgets(lambda: {3: state})
    seen = await model.view({})
    assert seen["partitions"] == [3]
    assert [(row["tenant"], row["available_micros"]) for row in seen["tenants"]] == [
        ("t", 80), ("u", 7),
    ]  # fmt: skip
    (mine,) = (await model.view({"tenant": "t"}))["tenants"]
    assert mine["agents"] == {"a": {"available_micros": 30, "held_micros": 20}}


def test_a_removed_market_leaves_the_board() -> None:
    """A market that nobody here serves has no count of resting orders, and says so."""
    model = market_board.Board(lambda _: {}, lambda: {"m": 4})
    for event in (builders.market("m"), builders.market("n")):
        assert isinstance(event, MarketDeclared)
        model.take(_record(event))
    rows = {row["market"]: row["orders_resting"] for row in model.view({})["markets"]}
    assert rows == {"m": 4, "n": None}
    model.take(_record(MarketRemoved(market="m")))
    assert [row["market"] for row in model.view({})["markets"]] == ["n"]
