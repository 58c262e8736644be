"""`bidplane simulate`: results on stdout, one line and exit 2 for what cannot be used."""

from __future__ import annotations

import pathlib

import orjson
import pytest

from bidplane_agents import cli
from bidplane_loadtest.simulator import anchor

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,96000,393216,8,G2\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time\n"
    "p0,6000,12288,1,460,,LS,10,700\np1,6000,12288,8,1000,,BE,20,7000\n"
    "p2,6000,12288,0,0,,BE,20,7000\n"
)
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"


def write(folder: pathlib.Path, name: str, text: str) -> str:
    """A file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that exits 2."""
    assert cli.run(["simulate", *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err


def test_policies_stand_side_by_side(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each policy, seed and load has one result in INTERFACES' form."""
    files = ["--trace", write(tmp_path, "pods.csv", PODS), "--nodes",
             write(tmp_path, "nodes.csv", NODES), "--shrink", "1"]  # fmt: skip
    asked = ["--policy", "fifo", "--policy", "market-greedy", "--seeds", "2", "--json"]
    assert cli.run(["simulate", *files, *asked]) == 0
    found = capsys.readouterr()
    results = orjson.loads(found.out)
    assert [(one["policy"], one["seed"]) for one in results] == [
        ("fifo", 1), ("market-greedy", 1), ("fifo", 2), ("market-greedy", 2),
    ]  # fmt: skip
    assert set(results[0]) == {
        "policy", "seed", "load_percent", "allocation_ratio", "frozen_allocation_ratio",
        "useful_gpu_hours", "wasted_gpu_hours", "fragmented_gpu_hours", "wait_s",
        "value_weighted_completion", "welfare_over_bound", "jain", "preemption_waste",
        "price_cv", "clear_ms",
    }  # fmt: skip
    assert "1 pods without a GPU left out" in found.err


def test_without_a_trace_a_seeded_workload_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of every policy comes out of nothing but a seed."""
    assert cli.run(["simulate", "--jobs", "60", "--shrink", "400"]) == 0
    found = capsys.readouterr().out
    assert found.count("\n") >= 9
    assert "value-fifo" in found


def test_bursts_come_beside_gangs(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Azure trace gives latency-sensitive jobs, and gangs that are best-effort."""
    bursts = write(tmp_path, "azure.csv", AZURE)
    asked = ["--bursts", bursts, "--policy", "best-fit", "--json", "--shrink", "400"]
    assert cli.run(["simulate", *asked]) == 0
    assert set(orjson.loads(capsys.readouterr().out)[0]["wait_s"]) == {"BE", "LS"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trace", "name\np0\n", "line 1, field cpu_milli: no such column"),
        ("trace", PODS.replace("460", "4600"), "line 2, field gpu_milli: 4600"),
        ("trace", PODS.replace("LS", "L"), "line 2, field qos: 'L'"),
        ("trace", PODS.replace("6000,12288,8", "x,12288,8"), "line 3, field cpu_milli: 'x'"),
        ("trace", PODS.replace("700\n", "7\n"), "line 2, field deletion_time: 7"),
        ("nodes", NODES.replace("G2", "G2,1"), "line 2, field +: more fields"),
        ("nodes", NODES.replace(",8,", ",9,"), "line 2, field gpu: 9"),
        ("nodes", NODES.replace(",8,", ",0,"), "no node with a GPU"),
        ("bursts", AZURE.replace("2023", "x"), "line 2, field TIMESTAMP: 'x"),
        ("bursts", AZURE.replace("374", "-1"), "line 2, field ContextTokens: '-1'"),
    ],
)
def test_a_bad_line_is_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    """File, line and field stand in the one line of the error."""
    path = write(tmp_path, "given.csv", text)
    assert said in (line := failing(capsys, f"--{name}", path))
    assert path in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trace", "nowhere.csv"], "nowhere.csv: No such file"),
        (["--policy", "lottery"], "--policy lottery: is none of fifo"),
        (["--values", "flat"], "--values flat: is none of lognormal"),
        (["--anchor"], "give --trace and --nodes"),
    ],
)
def test_wrong_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What was wrong, and what to give instead."""
    assert said in failing(capsys, *arguments)


def test_an_anchor_that_does_not_hold_is_a_broken_promise(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a cluster that is not the published one the command exits 5."""
    files = ["--trace", write(tmp_path, "pods.csv", PODS), "--nodes",
             write(tmp_path, "nodes.csv", NODES)]  # fmt: skip
    assert cli.run(["simulate", "--anchor", "--json", *files]) == 5
    found = orjson.loads(capsys.readouterr().out)
    assert {one["policy"] for one in found} == set(anchor.PUBLISHED)
