"""Waiting for an agent's kubeconfig: where it will be, and how waiting ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bidplane_agents import kubeconfigs
from bidplane_agents.errors import NoAnswer


def test_the_path_follows_from_the_settings(tmp_path: Path) -> None:
    """BIDPLANE_CLUSTERS_DIR names the folder itself, a working directory the one above it."""
    environ = {"BIDPLANE_CLUSTERS_DIR": str(tmp_path)}
    assert kubeconfigs.path_of("t/a", "", environ) == tmp_path / "t" / "a" / "kubeconfig"
    assert kubeconfigs.path_of("t/a", str(tmp_path), {}).parts[-4:-1] == ("clusters", "t", "a")


def test_waiting_ends_when_the_file_comes(tmp_path: Path) -> None:
    """Progress is said meanwhile."""
    path, said = tmp_path / "kubeconfig", list[str]()
    maker = threading.Timer(0.3, path.touch)
    maker.start()
    kubeconfigs.wait(path, "t/a", 60, said.append)
    maker.join()
    assert said == ["waiting for the control plane of t/a"]


def test_waiting_in_vain_says_what_to_look_at(tmp_path: Path) -> None:
    """After the time it is a server that did not answer, with its name."""
    with pytest.raises(NoAnswer, match="sink clusters"):
        kubeconfigs.wait(tmp_path / "none", "t/a", 0.1, lambda _: None)
