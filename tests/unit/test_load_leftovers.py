"""What dead load tests leave behind, and who removes it."""

from __future__ import annotations

import pathlib
import socket
import subprocess
import sys
import tempfile

import orjson
import pytest

from bidplane_loadtest.load import exposition, leftovers

DIES = """
import os
from bidplane_loadtest.load import leftovers
with leftovers.folder() as made:
    (made / "agents.json").write_text("keys")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def scratch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder for temporary files, of this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_next_run_removes_the_keys_of_one_that_was_killed(scratch: pathlib.Path) -> None:
    """A folder goes with the process that held it; that of a live run and of others stays."""
    subprocess.run([sys.executable, "-c", DIES], check=False)
    (dead,) = scratch.iterdir()
    other = scratch / f"{leftovers.PREFIX}own-kept"
    other.mkdir()
    with leftovers.folder() as mine:
        leftovers.sweep(None)
        assert not dead.exists()
        assert mine.exists()
        assert other.exists()
    assert not mine.exists()


def test_a_target_at_which_nobody_listens_is_removed(scratch: pathlib.Path) -> None:
    """The target file of a live run stays, one whose process is gone does not."""
    path = exposition.target(scratch)
    path.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        path.write_bytes(orjson.dumps([{"targets": [address], "labels": {}}]))
        leftovers.sweep(scratch)
        assert path.exists()
    leftovers.sweep(scratch)
    assert not path.exists()
