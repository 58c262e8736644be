"""A system of one directory comes up whole, heals itself, and leaves nothing behind."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

import patience
from bidplane_streams.embedded import directory, system

PROGRAM = textwrap.dedent("""
    import asyncio, pathlib, sys
    from bidplane_streams.embedded import errors, system
    async def main():
        async with system.System(pathlib.Path(sys.argv[1]), nodes=2) as running:
            await running.add("steady", ["sleep", "86396"])
            await running.add("flaky", ["sh", "-c", "exit 7"])
            running.note(ready=True)
            await running.until_stopped()
    try:
        asyncio.run(main())
    except errors.EmbeddedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
""")


@contextlib.contextmanager
def _system(folder: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)]) as process:
        try:
            yield process
        finally:
            process.kill()


def _until(holds: Callable[[], Any], timeout_s: float = 120) -> None:
    deadline = patience.deadline(timeout_s)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _ready(folder: pathlib.Path) -> dict[str, Any]:
    _until(lambda: (directory.Directory(folder).state() or {}).get("ready"))
    return directory.Directory(folder).status() or {}


def _left(folder: pathlib.Path) -> list[str]:
    """The command lines that still name the folder, ours apart."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["pid"] != os.getpid():
            found.append(line)
    return found


def test_a_system_comes_up_heals_and_goes_down(tmp_path: pathlib.Path) -> None:
    """Killed servers come back at their addresses; down ends everything; a start finds its data."""
    place = directory.Directory(tmp_path)
    with _system(tmp_path) as process:
        state = _ready(tmp_path)
        rows = state["processes"]
        assert {"kafka", "nodes", "steady", "host/etcd", "host/kube-apiserver"} <= set(rows)
        again = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert again.returncode == 2
        assert "already runs" in again.stderr
        for name in ("kafka", "host/kube-apiserver", "steady"):
            os.kill(rows[name]["pid"], signal.SIGKILL)
        _until(lambda: all(_starts(place, name) > 1 for name in ("kafka", "steady", "flaky")))
        assert (place.state() or {})["kafka"] == state["kafka"]
        assert place.down()
        assert process.wait(5) == 0
    assert _left(tmp_path) == []
    assert not (tmp_path / "state.json").exists()
    with _system(tmp_path) as process:
        assert _ready(tmp_path)["kafka"] == state["kafka"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert _left(tmp_path) == []


def _starts(place: directory.Directory, name: str) -> int:
    row = (place.state() or {"processes": {}})["processes"].get(name, {"starts": 0})
    return int(row["starts"])


def test_a_killed_system_leaves_no_process(tmp_path: pathlib.Path) -> None:
    """SIGKILL of the supervisor takes every server and process along, and frees the directory."""
    with _system(tmp_path) as process:
        pids = [row["pid"] for row in _ready(tmp_path)["processes"].values() if row["pid"]]
        assert len(pids) >= 6
        process.kill()
        process.wait(5)
    _until(lambda: _left(tmp_path) == [], 5)
    assert directory.Directory(tmp_path).holder() is None


def test_an_interrupted_start_leaves_no_process(tmp_path: pathlib.Path) -> None:
    """SIGINT while servers start ends them again, with one line and exit code 130."""
    with _system(tmp_path) as process:
        _until((tmp_path / "host" / "logs" / "kube-apiserver.log").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert _left(tmp_path) == []


async def test_a_system_with_foreign_servers_starts_none(tmp_path: pathlib.Path) -> None:
    """With Kafka and a cluster given, only added processes run, and state.json names yours."""
    yours = system.System(
        tmp_path, kafka_address="10.0.0.1:9092", kubeconfig=tmp_path / "kubeconfig"
    )
    async with yours as running:
        await running.add("own", ["sleep", "86395"])
        state = running.directory.state() or {}
        assert state["kafka"] == "10.0.0.1:9092"
        assert set(state["processes"]) == {"own"}
        asyncio.get_running_loop().call_later(0.1, running.request_stop)
        await running.until_stopped()
