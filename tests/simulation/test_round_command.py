"""`bidplane round` on the log of a recorded world: rebuilt, cleared again, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidplane_agents import cli
from bidplane_agents.audit import log as logs
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.log import Log
from bidplane_topics import codec, registry
from bidplane_topics.rounds import RoundClosed
from simulation.audit_mutants import body
from simulation.audit_world import World

WINDOWS = 14


@pytest.fixture(scope="module")
def recorded() -> Log:
    """A world's whole log, with sales, floors, faults and drifting weights."""
    world = World(1)
    world.run(WINDOWS)
    return world.log()


@pytest.fixture
def saved(recorded: Log, tmp_path: Path) -> Path:
    """The log as `bidplane audit --save` keeps it."""
    logs.save(recorded, tmp_path / "log")
    return tmp_path / "log"


def closed_rounds(log: Log) -> list[RoundClosed]:
    """All rounds, market by market."""
    rounds = (one for one in log if one.topic == registry.ROUNDS.name)
    return [codec.decode(registry.ROUNDS, one.value or b"") for one in rounds]


def test_any_round_is_rebuilt_and_clears_to_what_was_published(
    recorded: Log, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The instance file of every fourth round, given to `bidplane clear`, gives its awards."""
    winners = 0
    for closed in closed_rounds(recorded)[::4]:
        name, file = f"{closed.market}/{closed.window}", str(tmp_path / "instance.json")
        assert cli.run(["round", name, "--load", str(saved), "--instance", file, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["same"], told["root"]) == (True, closed.root)
        assert cli.run(["clear", file, "--rule", closed.rule]) == 0
        cleared = json.loads(capsys.readouterr().out)
        assert cleared == told["result"]
        assert len(cleared["awards"]) == closed.awarded
        assert cleared["revenue_micros"] == closed.revenue_micros
        winners += closed.awarded
    assert winners


def test_a_person_sees_bids_and_the_verdict(
    recorded: Log, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row a bid, who won what, and that the round is what the log makes of it."""
    closed = max(closed_rounds(recorded), key=lambda one: one.awarded)
    assert cli.run(["round", f"{closed.market}/{closed.window}", "--load", str(saved)]) == 0
    out = capsys.readouterr().out
    assert out.endswith("cleared again: the awards, prices and root that were published\n")
    rows = out.splitlines()
    (heading,) = [at for at, row in enumerate(rows) if row.startswith("bid ")]
    assert len(rows[heading + 1 : -1]) == closed.orders


def falsified(log: Log, window: int, field: str) -> Log:
    """The log with one round's figure one too high."""

    def change(record: Record) -> Record:
        if record.topic != registry.ROUNDS.name or body(record)["window"] != window:
            return record
        event = body(record)
        event[field] += 1
        return record._replace(value=json.dumps(event).encode())

    return Log([change(one) for one in log])


@pytest.mark.parametrize("field", ["revenue_micros", "awarded"])
def test_a_round_that_was_not_cleared_so_is_told(
    recorded: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    """A falsified figure is named, with exit code 5."""
    closed = closed_rounds(recorded)[6]
    logs.save(falsified(recorded, closed.window, field), tmp_path / "bad")
    arguments = ["round", f"{closed.market}/{closed.window}", "--load", str(tmp_path / "bad")]
    assert cli.run(arguments) == 5
    assert f"round {closed.window}, {field}" in capsys.readouterr().out


def test_a_dearer_award_is_told(
    recorded: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A winner charged one micro-credit more than the clearing says is named, with exit code 5."""
    records = list(recorded)
    at, lease = next(
        (at, body(one)) for at, one in enumerate(records)
        if one.topic == registry.LEASES.name and body(one)["state"] in ("awarded", "pending")
    )  # fmt: skip
    lease["price_micros"] += 1
    records[at] = records[at]._replace(value=json.dumps(lease).encode())
    logs.save(Log(records), tmp_path / "bad")
    name = f"{lease['market']}/{lease['window']}"
    assert cli.run(["round", name, "--load", str(tmp_path / "bad"), "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert not told["same"]
    assert any("price_micros" in one for one in told["differences"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alpha", "write MARKET/WINDOW"),
        ("alpha/x", "write MARKET/WINDOW"),
        ("gamma/3", "no round of a market 'gamma' is kept: there are rounds of alpha, beta"),
        ("alpha/3", "alpha closed no window 3 that is kept: the nearest is "),
    ],
)
def test_a_round_that_is_not_there_is_refused(
    saved: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """One line says what is there, with exit code 2."""
    assert cli.run(["round", name, "--load", str(saved)]) == 2
    assert said in capsys.readouterr().err


def test_a_round_whose_beginning_is_gone_is_refused(
    recorded: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the market's orders are no longer kept from the first, nothing is rebuilt: exit 2."""
    closed = closed_rounds(recorded)[-1]
    log = Log(recorded, {(registry.ORDERS.name, n): 1 for n in range(2)})
    logs.save(log, tmp_path / "cut")
    arguments = ["round", f"{closed.market}/{closed.window}", "--load", str(tmp_path / "cut")]
    assert cli.run(arguments) == 2
    assert "no longer kept" in capsys.readouterr().err
