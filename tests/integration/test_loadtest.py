"""`bidplane loadtest` on one shared system: its report, its honesty, its ends."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import live_system
from bidplane_loadtest.load import compare, latency, result
from live_system import until

# A window that is short beside the pause, so that a pause is not lost in waiting for a close.
RATE = 25
PAUSE_S = 2.0
STEADY = 'bidplane_loadtest_phase{phase="steady",scenario="smoke"} 1.0'


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_system.Live]:
    """A small system."""
    with live_system.up(tmp_path_factory.mktemp("load"), "--nodes", "1") as system:
        yield system


def started(live: live_system.Live, out: pathlib.Path, *words: str) -> subprocess.Popen[str]:
    """A load test as a process, to be watched and interrupted."""
    argv = [sys.executable, "-m", "bidplane_agents.cli", "loadtest", *words]
    more = ["--dir", str(live.directory), "--out", str(out), "--agents", "20"]
    return subprocess.Popen(
        [*argv, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def target(live: live_system.Live) -> dict[str, Any] | None:
    """The target file of the load test, once it is there."""
    path = live.directory / "targets" / "loadtest.json"
    if not path.exists():
        return None
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found[0]


def scraped(live: live_system.Live) -> str:
    """What the load test's own page says now."""
    row = target(live)
    if row is None:
        return ""
    with urllib.request.urlopen(f"http://{row['targets'][0]}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def paused(
    live: live_system.Live, tmp_path_factory: pytest.TempPathFactory
) -> tuple[result.Result, pathlib.Path, str]:
    """A smoke run in which the worker stands still for two seconds: result, folder, live page."""
    out = tmp_path_factory.mktemp("out")
    child = started(live, out, "smoke", "--rate", str(RATE), "--seconds", "12", "--p99-ms", "60000",
                    "--admitted-p99-ms", "60000")  # fmt: skip
    pages: list[str] = []
    worker = live.pid("worker")

    def pause() -> None:
        # Eight seconds after the begin: four of warming, four as usual.
        page = until("eight seconds of load", lambda: _after(live, RATE * 8), 120)
        pages.append(page)
        os.kill(worker, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(worker, signal.SIGCONT)

    watcher = threading.Thread(target=pause)
    watcher.start()
    _, told = child.communicate(timeout=240)
    watcher.join()
    assert child.returncode == 0, told
    assert pages, told
    return result.read(out), out, pages[0]


def _after(live: live_system.Live, bids: int) -> str:
    page = scraped(live)
    offered = re.search(r"\nbidplane_loadtest_offered_total\{[^}]*\} ([\d.e+]+)\n", page)
    steady = STEADY in page
    return page if steady and offered and float(offered.group(1)) >= bids else ""


def test_a_pause_of_the_system_is_not_omitted(
    paused: tuple[result.Result, pathlib.Path, str],
) -> None:
    """Every bid that was due while the worker stood still was sent on time and counts its wait."""
    whole, _, _ = paused
    course = whole.course
    slow = [value or 0.0 for value in course.latency_ms["admitted"]["max"]]
    worst = int(np.argmax(slow))
    assert slow[worst] >= 0.8 * PAUSE_S * 1000
    # A generator that waits for answers would have sent next to nothing meanwhile.
    during = course.offered[worst : worst + 2]
    assert sum(during) >= RATE
    assert course.sent[worst : worst + 2] == pytest.approx(during, abs=5)
    assert whole.lag_ms.p99 is not None
    assert whole.lag_ms.p99 < 0.5 * PAUSE_S * 1000
    late = sum(1 for value in course.latency_ms["admitted"]["p50"] if (value or 0) > 500)
    assert late >= 1


def test_a_run_keeps_its_promises(paused: tuple[result.Result, pathlib.Path, str]) -> None:
    """All bids are sent and answered, the audit holds, and every range has a verdict."""
    whole, _, _ = paused
    assert whole.offered == whole.sent == whole.answered
    assert whole.audit.exit_code == 0
    assert whole.ranges
    assert all(one.kept for one in whole.ranges)
    assert whole.bound > 0
    assert whole.kinds["won"] + whole.kinds["lost"] == whole.sent


def test_the_report_needs_nothing_else(paused: tuple[result.Result, pathlib.Path, str]) -> None:
    """The page holds its charts and names no other file and no network."""
    _, out, _ = paused
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 12
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page
    assert not re.search(r'url\((?!["\']?#)', page)


def test_the_logs_hold_what_the_result_says(
    paused: tuple[result.Result, pathlib.Path, str],
) -> None:
    """The `.hlog` of admissions counts every bid that was admitted."""
    whole, out, _ = paused
    read = latency.read_log(out / "admitted.hlog")
    assert read.get_total_count() == sum(whole.course.admitted)


def test_the_run_can_be_watched(
    live: live_system.Live, paused: tuple[result.Result, pathlib.Path, str]
) -> None:
    """Its page tells offered, sent, answered, lag, latencies and the phase; its target is gone."""
    _, _, page = paused
    for name in ("sent_total", "answered_total", "unsent", "lag_seconds", "phase",
                 "latency_seconds_bucket", "beyond_close_seconds_bucket"):  # fmt: skip
        assert f"bidplane_loadtest_{name}{{" in page, name
    assert STEADY in page
    assert target(live) is None


def test_two_runs_compare(
    live: live_system.Live, paused: tuple[result.Result, pathlib.Path, str],
    tmp_path: pathlib.Path,
) -> None:  # fmt: skip
    """A run compared with itself differs nowhere beyond noise, in the table and in the page."""
    _, out, _ = paused
    rows = live.json("loadtest", "compare", str(out), str(out), "--out", str(tmp_path))
    assert len(rows) >= 8
    assert not {row["verdict"] for row in rows} & {"higher", "lower"}
    assert (tmp_path / compare.PAGE).read_text().count("<svg") >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_still_reports(
    live: live_system.Live, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:  # fmt: skip
    """Ctrl-C or a lost terminal ends a run with code 130, a report, and no target or key left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    child = started(live, tmp_path, "smoke", "--rate", "20", "--seconds", "300")
    until("bids are sent", lambda: _after(live, 40), 120)
    child.send_signal(number)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 130, told
    whole = result.read(tmp_path)
    assert whole.cut_short
    assert 0 < whole.sent < 20 * 300
    assert target(live) is None
    assert not list(scratch.iterdir())
    assert "Traceback" not in told


def test_bad_input_is_one_line(live: live_system.Live, tmp_path: pathlib.Path) -> None:
    """What cannot be run is refused with code 2, before anything is sent."""
    assert "no scenario 'stress'" in live.run("loadtest", "stress", code=2)
    assert "takes the trace's file" in live.run("loadtest", "replay-azure", code=2)
    assert "give --own" in live.run("loadtest", "failover", code=2)
    assert "no market 'nowhere'" in live.run("loadtest", "smoke", "--market", "nowhere", code=2)
    missing = str(tmp_path / "none")
    assert "name the folder" in live.run("loadtest", "compare", missing, missing, code=2)
