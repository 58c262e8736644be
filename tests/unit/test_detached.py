"""`up --detach`: what the waiting person reads, against real child processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bidplane_agents import errors
from bidplane_streams import detached
from bidplane_streams.embedded import directory

READY = """
import pathlib, sys, time
from bidplane_streams.embedded import directory
home = directory.Directory(pathlib.Path(sys.argv[1]))
with home.held():
    print("bidplane: building", flush=True)
    home.write_state({"ready": False})
    print("starting", flush=True)
    time.sleep(1)
    home.write_state({"ready": True, "kafka": "k"})
    time.sleep(60)
"""
FAILS = """
import sys
print("starting", flush=True)
print("bidplane: no JDK: install one", file=sys.stderr, flush=True)
sys.exit({code})
"""


def start(tmp_path: Path, script: str) -> tuple[dict[str, object] | Exception, list[str]]:
    """The state or the error of a script, and what was said."""
    said: list[str] = []
    home = directory.Directory(tmp_path)
    try:
        return detached.start(
            [sys.executable, "-c", script, str(tmp_path)], home, said.append
        ), said
    except errors.BidplaneError as error:
        return error, said


def test_the_stages_are_told_until_it_is_ready(tmp_path: Path) -> None:
    """Each line of the started process is passed on, of this start and no earlier one."""
    log = tmp_path / "logs" / "up.log"
    log.parent.mkdir()
    log.write_text("an old line\n")
    state, said = start(tmp_path, READY)
    assert directory.Directory(tmp_path).down()
    assert isinstance(state, dict)
    assert state["kafka"] == "k"
    assert said == ["bidplane: building", "starting"]


@pytest.mark.parametrize(("code", "kind"), [(2, errors.BadInput), (4, errors.Unreachable)])
def test_a_start_that_fails_says_why(
    tmp_path: Path, code: int, kind: type[errors.BidplaneError]
) -> None:
    """The process' own error and its log, with the exit code that it had."""
    error, said = start(tmp_path, FAILS.format(code=code))
    assert type(error) is kind
    assert str(error).startswith("no JDK: install one (its log: ")
    assert said == ["starting"]
