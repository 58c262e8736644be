"""Child processes end with their parent, come back when they should, and never block a stop."""

import asyncio
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest

import patience
from bidplane_streams.embedded import directory, errors, ports, probes, processes


def _child(
    folder: pathlib.Path, program: str, *, restart: bool = False, grace_s: float = 5
) -> processes.Child:
    recipe = processes.Recipe(
        "child", [sys.executable, "-c", program], folder, stop_grace_s=grace_s
    )
    return processes.Child(recipe, restart=restart)


def _lives(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen within 10 s")


async def test_an_early_death_is_told_with_the_last_line_of_its_log(tmp_path: pathlib.Path) -> None:
    """A server that dies while it starts gives one line with its code and its last words."""
    child = _child(tmp_path, "print('no such disk'); raise SystemExit(3)")
    await child.start()

    async def never() -> bool:
        return False

    with pytest.raises(errors.ServerFailed, match=r"code 3.*no such disk"):
        await child.ready(never, 10)
    await child.stop()


async def test_a_program_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    """A missing program ends with 127 and says its name."""
    recipe = processes.Recipe("child", ["/nonexistent/program"], tmp_path)
    child = processes.Child(recipe)
    await child.start()
    assert await child.ended(10) == 127
    assert "cannot run /nonexistent/program" in processes.last_line(recipe.log)
    await child.stop()


async def test_a_child_that_ends_is_started_again(tmp_path: pathlib.Path) -> None:
    """A restarted child gets more than one life, at least the first back-off apart."""
    child = _child(tmp_path, "raise SystemExit(1)", restart=True)
    begun = time.monotonic()
    await child.start()
    await _until(lambda: child.starts >= 3)
    assert time.monotonic() - begun > processes.BACKOFF_FIRST_S * 3
    await child.stop()
    lives = child.starts
    await asyncio.sleep(0.5)
    assert child.starts == lives


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: pathlib.Path) -> None:
    """After its grace a stubborn child is killed, and what it forked goes with it."""
    stubborn = textwrap.dedent("""
        import signal, subprocess, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        own = subprocess.Popen(["sleep", "86398"])
        print(own.pid, flush=True)
        time.sleep(86398)
    """)
    child = _child(tmp_path, stubborn, grace_s=0.5)
    await child.start()
    await _until(lambda: processes.last_line(child.recipe.log).isdigit())
    grandchild = int(processes.last_line(child.recipe.log))
    begun = time.monotonic()
    await child.stop()
    assert time.monotonic() - begun < 4
    await _until(lambda: not _lives(grandchild))


def test_a_killed_parent_takes_its_children_along(tmp_path: pathlib.Path) -> None:
    """SIGKILL of the parent leaves no child, without anybody's help."""
    program = textwrap.dedent(f"""
        import asyncio, pathlib
        from bidplane_streams.embedded import processes
        async def main():
            recipe = processes.Recipe("c", ["sleep", "86397"], pathlib.Path({str(tmp_path)!r}))
            child = processes.Child(recipe)
            await child.start()
            print(child.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _lives(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    deadline = patience.deadline(5)
    while _lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_directory_is_held_by_one_system(tmp_path: pathlib.Path) -> None:
    """A second holder is told who holds the directory, and how to stop it."""
    place = directory.Directory(tmp_path)
    with place.held():
        again = textwrap.dedent(f"""
            import pathlib
            from bidplane_streams.embedded import directory
            with directory.Directory(pathlib.Path({str(tmp_path)!r})).held():
                pass
        """)
        done = subprocess.run(
            [sys.executable, "-c", again], capture_output=True, text=True, check=False
        )
        assert "already runs" in done.stderr
        assert "bidplane down" in done.stderr
    assert place.holder() is None
    assert place.down() is False


def test_state_is_gone_with_its_holder(tmp_path: pathlib.Path) -> None:
    """state.json is believed only while its writer lives."""
    place = directory.Directory(tmp_path)
    with place.held():
        place.write_state({"pid": 1, "processes": {}})
        assert (place.state() or {}).get("pid") == 1
    place.write_state({"pid": 1})
    assert place.state() is None


def test_ports_are_remembered_and_low(tmp_path: pathlib.Path) -> None:
    """The same names get the same ports again, below the range that clients draw from."""
    file = tmp_path / "ports.json"
    first = ports.remembered(file, "a", "b")
    assert ports.remembered(file, "a", "b") == first
    assert all(1024 < port < 32768 for port in first.values())
    assert first["a"] != first["b"]


async def test_a_taken_port_is_replaced(tmp_path: pathlib.Path) -> None:
    """A remembered port that somebody took meanwhile is given up for another."""
    file = tmp_path / "ports.json"
    before = ports.remembered(file, "a")["a"]
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", before)
    assert await probes.listens(before)
    assert ports.remembered(file, "a")["a"] != before
    server.close()
    await server.wait_closed()


def test_no_port_is_given_twice(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that do not listen yet get different ports, and no more than there are."""
    monkeypatch.setattr(ports, "LOWEST", 10_000)
    monkeypatch.setattr(ports, "HIGHEST", 10_004)
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    monkeypatch.setattr(ports, "_given", {})
    first = ports.remembered(tmp_path / "kafka.json", "broker", "controller")
    second = ports.remembered(tmp_path / "host.json", "apiserver", "etcd")
    assert {*first.values(), *second.values(), ports.find_free()} == {*range(10_000, 10_005)}
    assert ports.remembered(tmp_path / "kafka.json", "broker", "controller") == first
    with pytest.raises(errors.ServerFailed, match="no port between 10000 and 10004 is free"):
        ports.remembered(tmp_path / "more.json", "web")


async def test_nobody_at_a_port_is_an_answer() -> None:
    """A question to a port without a server is answered with status 0."""
    assert await probes.get(ports.find_free(), "/readyz") == (0, b"")
