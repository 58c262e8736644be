"""Artefacts appear whole or not at all; missing tools and bad settings are told in one line."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest

import patience
from bidplane_streams.embedded import assets, builds, errors, prerequisites

SCRIPT = pathlib.Path(prerequisites.__file__)


def _tool(folder: pathlib.Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def _prerequisites(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)], env=env, capture_output=True, text=True, check=False
    )


def test_a_failed_build_leaves_nothing(tmp_path: pathlib.Path) -> None:
    """After a build that failed there is no artefact and no leftover folder."""

    def fails(site: pathlib.Path) -> None:
        (site / "half").write_text("x")
        raise errors.BuildFailed("no")

    with pytest.raises(errors.BuildFailed):
        builds.once(tmp_path / "thing", fails)
    assert [each.name for each in tmp_path.iterdir()] == ["thing.lock"]


def test_a_build_sweeps_up_after_one_that_was_killed(tmp_path: pathlib.Path) -> None:
    """A folder that a killed builder left is removed by the next build, which succeeds."""
    (tmp_path / "thing.building-1").mkdir()
    place = builds.once(tmp_path / "thing", lambda site: (site / "ok").touch())
    assert (place / "ok").exists()
    assert not list(tmp_path.glob("*.building-*"))


def test_an_artefact_is_built_once(tmp_path: pathlib.Path) -> None:
    """A second call finds what the first one built."""
    calls: list[pathlib.Path] = []
    for _ in range(2):
        builds.once(tmp_path / "thing", calls.append)
    assert len(calls) == 1


def test_a_failing_tool_is_told_with_its_last_lines(tmp_path: pathlib.Path) -> None:
    """The error of a build holds what its tool said last, in one line."""
    argv = ["sh", "-c", "echo first; echo last words; exit 3"]
    with pytest.raises(errors.BuildFailed, match=r"code 3.*last words"):
        builds.run("x", argv, tmp_path, {})


def test_an_interrupted_build_takes_its_tool_along(tmp_path: pathlib.Path) -> None:
    """SIGINT in a build ends the tool and its children, and the site is gone."""
    program = textwrap.dedent(f"""
        import pathlib, signal
        from bidplane_streams.embedded import builds
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
        place = pathlib.Path({str(tmp_path)!r})
        tool = ["sh", "-c", f"sleep 86399 & echo $! > {{place}}/pid; wait"]
        builds.once(place / "thing", lambda site: builds.run("x", tool, site, {{}}))
    """)
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as parent:
        pid = tmp_path / "pid"
        _until(lambda: pid.exists() and pid.read_text().strip() != "")
        parent.send_signal(signal.SIGINT)
        assert parent.wait(10) != 0
    _until(lambda: not _lives(int(pid.read_text())))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pid", "thing.lock"]


def _until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = patience.deadline(timeout_s)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_missing_tools_are_one_line_each(tmp_path: pathlib.Path) -> None:
    """With nothing on the path each tool is one line that names the setting replacing it."""
    done = _prerequisites(PATH=str(tmp_path))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for setting in ("JAVA_HOME", "BIDPLANE_KAFKA_JARS", "KUBEBUILDER_ASSETS"):
        assert setting in done.stderr


def test_old_tools_are_told_with_their_version(tmp_path: pathlib.Path) -> None:
    """A Go of 1.21 and a JDK of 11 are refused by their versions, and Maven is content."""
    tools = tmp_path / "bin"
    _tool(tools, "java", 'openjdk version "11.0.2" 2019')
    _tool(tools, "mvn", "Apache Maven 3.8.7")
    _tool(tools, "go", "go version go1.21.0 linux/amd64")
    done = _prerequisites(PATH=f"{tools}:/bin:/usr/bin")
    assert done.returncode == 2
    assert "found 11" in done.stderr
    assert "found 1.21" in done.stderr
    assert "Maven" not in done.stderr


def test_settings_replace_tools(tmp_path: pathlib.Path) -> None:
    """With jars and all control-plane programs given, neither Maven nor Go is asked for."""
    tools, kube = tmp_path / "bin", tmp_path / "kube"
    _tool(tools, "java", 'openjdk version "21.0.1" 2023')
    for name in ("etcd", *assets.KUBE_PROGRAMS):
        _tool(kube, name, "Kubernetes v1.36.0")
    jars = {"BIDPLANE_KAFKA_JARS": "/x", "KUBEBUILDER_ASSETS": str(kube)}
    assert _prerequisites(PATH=f"{tools}:/bin", **jars).returncode == 0


def test_envtest_programs_come_first_if_they_are_new_enough(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBEBUILDER_ASSETS wins at 1.36 or newer; an older program there is passed over."""
    _tool(tmp_path, "kube-apiserver", "Kubernetes v1.36.1")
    _tool(tmp_path, "kubectl", "Client Version: v1.30.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert assets.program("kube-apiserver") == tmp_path / "kube-apiserver"
    assert assets.program("kubectl") != tmp_path / "kubectl"


def test_a_folder_without_kafka_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BIDPLANE_KAFKA_JARS that names a folder without Kafka gives one line and exit code 2."""
    monkeypatch.setenv("BIDPLANE_KAFKA_JARS", str(tmp_path))
    with pytest.raises(errors.PrerequisiteMissing, match="holds no Kafka") as caught:
        assets.kafka_jars()
    assert caught.value.exit_code == 2


def test_the_cache_is_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """BIDPLANE_CACHE comes before XDG_CACHE_HOME."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert assets.cache() == pathlib.Path("/x/bidplane")
    monkeypatch.setenv("BIDPLANE_CACHE", "/y")
    assert assets.cache() == pathlib.Path("/y")


def test_what_defines_an_artefact_names_its_folder() -> None:
    """Every definition is package data, and two artefacts never share a folder."""
    places = {each.place() for each in (assets.KAFKA, assets.ETCD, assets.CONTROLPLANE)}
    assert len(places) == 3
    assert all(os.path.commonpath([each, assets.cache()]) for each in places)
