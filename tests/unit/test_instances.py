"""Reading clearing instances, and `bidplane clear`."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner

from bidplane_agents import cli
from bidplane_streams import commands_clear
from bidplane_topics import instances
from bidplane_topics.errors import ContractError

# INTERFACES, "A clearing instance", with a whole beacon.
TYPED = """{"market": "pool-a", "window": 7, "beacon": "9f00", "slot_ms": 1000,
 "pools": [{"name": "h100", "device_class": "gpu.nvidia.com", "nodes": [8, 8, 5],
            "scarcity_permille": 1000, "reserve_micros": 3}],
 "bids": [
   {"bid_id": "b1", "agent": "a", "sequence": 1, "mode": "rigid", "value_micros": 900,
    "boost_micros": 0, "weight": 1, "alternatives": [{"pool": "h100", "shape": "2", "slots": 1}]},
   {"bid_id": "b2", "agent": "b", "sequence": 4, "mode": "elastic", "value_micros": 50,
    "level_min": 1, "level_max": 6, "boost_micros": 0, "weight": 1,
    "alternatives": [{"pool": "h100", "shape": "1", "slots": 1}]}]}"""


def changed(path: str, value: object) -> bytes:
    """The typed instance with the value at a dotted path replaced."""
    body: Any = json.loads(TYPED)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = body
    for step in steps:
        place = place[step]
    place[last] = value
    return orjson.dumps(body)


def test_the_documented_instance_reads() -> None:
    """What INTERFACES shows is an instance, and a tier left out is 1."""
    instance = instances.decode_instance(TYPED.encode())
    assert [bid.tier for bid in instance.bids] == [1, 1]
    assert instance.pools[0].nodes == (8, 8, 5)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("beacon", "9", "$.beacon"),
        ("beacon", "zz", "$.beacon"),
        ("slot_ms", 0, "$.slot_ms"),
        ("pools.0.nodes", [8, -1], "$.pools[0].nodes[1]"),
        ("pools.0.nodes", [1025], "$.pools[0].nodes[0]"),
        ("pools.0.scarcity_permille", 0, "$.pools[0].scarcity_permille"),
        ("pools.0.reserve_micros", -1, "$.pools[0].reserve_micros"),
        ("bids.1.bid_id", "b1", "$.bids[1].bid_id"),
        ("bids.0.value_micros", "900", "$.bids[0].value_micros"),
        ("bids.0.value_micros", 2**42, "$.bids[0].value_micros"),
        ("bids.0.value_micros", 1.5, "$.bids[0].value_micros"),
        ("bids.0.weight", 0, "$.bids[0].weight"),
        ("bids.0.boost_micros", 2**42, "$.bids[0].value_micros"),
        ("bids.0.mode", "loose", "$.bids[0].mode"),
        ("bids.0.level_max", 2, "$.bids[0].level_max"),
        ("bids.1.level_min", 7, "$.bids[1].level_min"),
        ("bids.1.level_min", 0, "$.bids[1].level_min"),
        ("bids.0.alternatives", [], "$.bids[0].alternatives"),
        ("bids.0.alternatives.0.pool", "a100", "$.bids[0].alternatives[0].pool"),
        ("bids.0.alternatives.0.shape", "3", "$.bids[0].alternatives[0].shape"),
        ("bids.0.alternatives.0.slots", 0, "$.bids[0].alternatives[0].slots"),
        ("bids.0.wieght", 2, "$.bids[0]"),
    ],
)
def test_bad_fields_are_named(path: str, value: object, said: str) -> None:
    """What breaks the contract is refused by the path of its field."""
    with pytest.raises(ContractError) as refused:
        instances.decode_instance(changed(path, value))
    assert f"`{said}`" in str(refused.value)


def test_an_elastic_bid_has_one_alternative() -> None:
    """Two alternatives of an elastic bid are refused: over two pools it would not be monotone."""
    two = [{"pool": "h100", "shape": "1", "slots": 1}] * 2
    with pytest.raises(ContractError, match="exactly one"):
        instances.decode_instance(changed("bids.1.alternatives", two))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1"),
        (b"{\n  oops}", "line 2, column 3"),
        (b'{"market": "m"', "ends too early"),
        (b"[]", "`$`: Expected `object`"),
        (b"{}", "`market`"),
    ],
)
def test_broken_json_is_placed(raw: bytes, said: str) -> None:
    """Broken JSON is refused by line and column, a wrong root or a missing field by name."""
    with pytest.raises(ContractError) as refused:
        instances.decode_instance(raw)
    assert said in str(refused.value)


@pytest.fixture
def runner() -> tuple[CliRunner, typer.Typer]:
    """The command alone, without the rest of the command line."""
    app = typer.Typer()
    app.command()(commands_clear.clear)
    return CliRunner(), app


def test_clear_prints_the_result(
    runner: tuple[CliRunner, typer.Typer], tmp_path: pathlib.Path
) -> None:
    """The documented instance clears: both win at the reserve, and every device has a position."""
    file = tmp_path / "instance.json"
    file.write_text(TYPED)
    done = runner[0].invoke(runner[1], [str(file)])
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["awards"]["b1"]["price_micros"] == 42
    assert result["awards"]["b2"] == {
        "alternative": 0, "level": 6, "price_micros": 6 * 21,
        "devices": result["awards"]["b2"]["devices"],
    }  # fmt: skip
    assert sum(count for _, count in result["awards"]["b2"]["devices"]) == 6
    assert (result["prices"], result["revenue_micros"]) == ({"h100": 3}, 42 + 126)
    assert len(result["root"]) == 64


@pytest.mark.parametrize("rule", ["greedy", "uniform", "exact"])
def test_clear_bounds_the_surplus(
    runner: tuple[CliRunner, typer.Typer], tmp_path: pathlib.Path, rule: str
) -> None:
    """Beside any rule's result stands a bound on its surplus, which here everybody's best meets."""
    file = tmp_path / "instance.json"
    file.write_text(TYPED)
    done = runner[0].invoke(runner[1], [str(file), "--rule", rule, "--bound"])
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["surplus_micros"] == result["bound_micros"] > 0
    assert result["surplus_micros"] == result["welfare_micros"] - result["revenue_micros"]
    assert "fell_back" not in result


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.json"], "missing.json"),
        (["bad.json"], "$.slot_ms"),
        (["good.json", "--rule", "best"], "--rule 'best'"),
        (["good.json", "--limit", "soon"], "--limit 'soon'"),
        (["."], "."),
    ],
)
def test_clear_refuses_in_one_line(
    tmp_path: pathlib.Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Bad input ends with exit code 2 and one line on stderr that names the place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.json").write_text(TYPED)
    (tmp_path / "bad.json").write_bytes(changed("slot_ms", 0))
    assert cli.run(["clear", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
