"""``bidplane audit`` says what it must, where it must, with the right exit code."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import orjson
import pytest

from bidplane_agents.audit import command
from bidplane_agents.audit import log as logs
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.log import Log
from bidplane_topics import codec, registry
from bidplane_topics.ledger import LedgerPosted, Origin


def _file(tmp_path: Path, *records: Record) -> str:
    logs.save(Log(records), tmp_path / "log")
    return str(tmp_path / "log")


def _entry() -> Record:
    entry = LedgerPosted(
        entry_id="bidplane.accounts.v1|0|7|0", kind="grant", debit="tenant/t", credit="agent/t/a",
        amount_micros=5, tenant="t", agent="a", reference="g", at_ms=1,
        origin=Origin(topic=registry.ACCOUNTS.name, partition=0, offset=7),
    )  # fmt: skip
    return Record(registry.LEDGER.name, 0, 3, 1, None, codec.encode(entry))


def test_an_empty_log_breaks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was promised, nothing is broken: exit 0."""
    assert command.run("", as_json=False, load=_file(tmp_path)) == 0
    out, err = capsys.readouterr()
    assert out.endswith("all promises kept\n")
    assert out.count("\npromise ") == 6
    assert err.startswith("audit: ")


def test_a_broken_promise_exits_5_and_names_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Money from nowhere is found, with the place, what was expected and what stands there."""
    assert command.run("", as_json=True, load=_file(tmp_path, _entry())) == 5
    verdict = orjson.loads(capsys.readouterr().out)
    assert not verdict["sound"]
    first = verdict["first"]
    assert (first["topic"], first["partition"], first["offset"]) == (registry.LEDGER.name, 0, 3)
    assert first["what"]
    assert first["expected"]
    assert first["found"]


def test_a_copy_of_the_log_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What --save writes, --load reads to the same verdict."""
    copy = str(tmp_path / "copy")
    assert command.run("", as_json=True, save=copy, load=_file(tmp_path, _entry())) == 5
    first = capsys.readouterr().out
    assert command.run("", as_json=True, load=copy) == 5
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("option", ["load", "save"])
def test_a_file_that_cannot_be_used_exits_2(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, nothing on stdout."""
    files = {"load": _file(tmp_path), option: str(tmp_path / "none" / "log")}
    assert command.run("", as_json=False, **files) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_kafka_out_of_reach_exits_4_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens: one line within ten seconds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        assert command.run(f"127.0.0.1:{taken.getsockname()[1]}", as_json=False) == 4
    assert time.monotonic() - began < 12
    out, err = capsys.readouterr()
    assert out == ""
    assert "Kafka" in err


def test_an_empty_file_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what to name instead."""
    (tmp_path / "empty").touch()
    assert command.run("", as_json=False, load=str(tmp_path / "empty")) == 2
    assert "the file is empty: name a file that --save wrote" in capsys.readouterr().err


def test_progress_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """However many rounds there are, a person reads the first word and then the newest."""
    now_s = [0.0]
    progress = command.Progress(lambda: now_s[0])
    for number in range(70):
        now_s[0] = number / 10
        progress.say(f"round {number}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["audit: round 0", "audit: round 30", "audit: round 60"]


def test_the_last_line_counts_the_broken_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each broken one has its first record above, and the sum names them."""
    assert command.run("", as_json=False, load=_file(tmp_path, _entry())) == 5
    out = capsys.readouterr().out
    broken = [line.split(":")[0].split()[1] for line in out.splitlines() if "BROKEN" in line]
    assert out.count("  first: ") == len(broken)
    assert out.endswith(f"{len(broken)} of 6 promises broken: {', '.join(broken)}\n")
