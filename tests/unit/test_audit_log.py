"""A saved log is the same log."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bidplane_agents.audit import log as logs
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.log import Log
from bidplane_agents.errors import BadInput

RECORDS = [
    Record("t", 0, 0, 10, b"k", b'{"a":"\xc3\xa9"}', (("h", b"\x00\xff"),)),
    Record("t", 0, 3, 11, None, None),
    Record("t", 1, 0, 12, b"\xfe", b"\xff\x00", ()),
]


def test_a_saved_log_is_loaded_byte_for_byte(tmp_path: Path) -> None:
    """Text, bytes that are no text, tombstones, headers and marks survive the file."""
    before = Log(RECORDS, {("t", 0): 0}, {("t", 1): 1})
    logs.save(before, tmp_path / "log")
    after = logs.load(tmp_path / "log")
    assert list(after) == list(before)
    assert (after.firsts, after.settled) == (before.firsts, before.settled)


@pytest.mark.parametrize(
    ("text", "line"),
    [("{}", 1), ('{"format":"x"}', 1), ("nothing", 1)],
)
def test_a_file_that_is_no_log_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    """Whatever is wrong with a file is one sentence with its line."""
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(BadInput, match=f"log:{line}"):
        logs.load(path)


def test_an_empty_file_is_no_log(tmp_path: Path) -> None:
    """It says so, and what to name instead."""
    (tmp_path / "log").touch()
    with pytest.raises(BadInput, match="log: the file is empty"):
        logs.load(tmp_path / "log")


def test_a_broken_record_is_named_with_its_line(tmp_path: Path) -> None:
    """A line in the middle that is no record is found by its number."""
    path = tmp_path / "log"
    logs.save(Log(RECORDS), path)
    path.write_bytes(path.read_bytes() + b'{"topic":"t"}\n')
    with pytest.raises(BadInput, match="log:5"):
        logs.load(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """A name that leads nowhere is bad input, not a traceback."""
    with pytest.raises(BadInput, match="name a file"):
        logs.load(tmp_path / "none")


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for the log the audit says so, and where it wanted it."""
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: full.open("r+b", buffering))
    log = Log(RECORDS)
    with pytest.raises(BadInput, match=r"No space left on device.*set TMPDIR"):
        list(log)


def test_a_log_in_any_order_is_read_in_order() -> None:
    """Records are sorted by offset as they come, and found by it."""
    shuffled = [RECORDS[1], RECORDS[2], RECORDS[0]]
    assert list(Log(shuffled)) == RECORDS
    assert Log(shuffled).find(("t", 0, 3)) == RECORDS[1]
    assert Log(shuffled).find(("t", 0, 1)) is None


def test_records_are_late_from_the_settled_end_on() -> None:
    """Late is what appeared during the reading."""
    log = Log(RECORDS, settled={("t", 0): 3})
    assert [log.is_late(one) for one in log] == [False, True, False]


def test_a_log_with_gaps_is_not_whole() -> None:
    """Compaction shows as missing offsets; an empty topic misses nothing."""
    log = Log(RECORDS)
    assert not log.is_whole("t", 0)
    assert log.is_whole("t", 1)
    assert log.is_whole("u", 0)
