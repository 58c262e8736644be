"""When the kernel answers, and that without one nothing is lost but time."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from bidplane_streams.fast import building, clearing
from bidplane_streams.fast.columns import Beyond, Columns
from bidplane_streams.market import clearing as pure
from clearing_instances import corpus
from fast_kernels import compiled

(INSTANCE,) = corpus(1, sizes=(30,))


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A process that has no kernel yet, on a machine that has built none."""
    monkeypatch.setattr(clearing._Loaded, "kernel", None)
    monkeypatch.setenv("BIDPLANE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_cold_process_clears_by_the_pure_path(cold: pathlib.Path) -> None:
    """Before it is warm, `clear` gives the pure path's result and builds nothing."""
    assert clearing.clear(INSTANCE) == pure.clear(INSTANCE)
    assert not clearing.is_warm()
    assert not building.place().exists()


def test_warm_builds_once(cold: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first `warm` compiles; the next process finds the library and needs no compiler."""
    assert clearing.warm()
    assert building.place().exists()
    clearing._Loaded.kernel = None
    monkeypatch.setenv("PATH", "")
    assert clearing.warm()
    assert clearing.clear(INSTANCE) == pure.clear(INSTANCE)


def test_without_a_compiler_the_pure_path_clears(
    cold: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No compiler and no library: `warm` says so once, and windows are cleared all the same."""
    monkeypatch.setenv("PATH", "")
    assert not clearing.warm()
    assert "no C compiler" in caplog.text
    assert clearing.clear(INSTANCE) == pure.clear(INSTANCE)


def test_failed_build_leaves_nothing(cold: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that fails is told with its words, and nothing half-built stays."""
    (cold / "cc").write_text("#!/bin/sh\necho out of ideas >&2\nexit 1\n")
    (cold / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{cold}:/bin:/usr/bin")
    with pytest.raises(building.NoKernel, match="out of ideas"):
        building.ensure()
    assert list(building.place().parent.iterdir()) == []


def test_what_is_no_library_is_refused(cold: pathlib.Path) -> None:
    """A file in the kernel's place that is no library leaves the pure path in charge."""
    building.place().parent.mkdir(parents=True)
    building.place().write_text("nonsense")
    assert not clearing.warm()


def test_kernel_that_disagrees_is_refused(cold: pathlib.Path) -> None:
    """A library that loads but clears wrongly never answers."""
    compiled(cold, "replay.h", "return ahead ? tied : above;", "return above;")
    building.place().parent.mkdir(parents=True)
    (cold / "kernel.so").rename(building.place())
    assert not clearing.warm()
    assert clearing.clear(INSTANCE) == pure.clear(INSTANCE)


def test_broken_kernel_is_not_asked_again(
    cold: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel that refuses its own result hands this window and all later ones to Python."""
    broken = ("clear.c", "world.broken ? BROKEN : CLEARED", "BROKEN")
    clearing._Loaded.kernel = compiled(cold, *broken)
    assert clearing.clear(INSTANCE) == pure.clear(INSTANCE)
    assert not clearing.is_warm()
    assert "not asked again" in caplog.text


def test_library_is_named_by_its_sources(
    cold: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other sources or flags have another place, so no old library is ever taken for a new one."""
    before = building.place()
    monkeypatch.setattr(building, "_FLAGS", (*building._FLAGS, "-g"))
    assert building.place() != before
    assert building.place().parent == before.parent


def test_building_ahead_says_where(cold: pathlib.Path) -> None:
    """`python -m bidplane_streams.fast.building` builds the library and prints its path."""
    command = [sys.executable, "-m", "bidplane_streams.fast.building"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert said.strip() == str(building.place())
    assert building.place().exists()


def test_columns_refuse_what_they_hold() -> None:
    """An id that is there already is refused and changes nothing."""
    columns = Columns.of(INSTANCE.bids)
    with pytest.raises(Beyond):
        columns.add(INSTANCE.bids[0])
    assert len(columns) == len(INSTANCE.bids)
    assert len(columns.texts) == len(columns)
