"""Dashboards and rules against a real Prometheus that scraped a real load test on a real system.

One system for the whole module, and everything that a panel shows happens on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest

import chart_rules
import live_system
import patience
from bidplane_agents.errors import BadInput
from bidplane_loadtest.preview import boards, checking, serving
from bidplane_topics import registry

CLUSTER = "research/cluster"
CLI = (sys.executable, "-m", "bidplane_agents.cli")
POD = (
    '{"spec":{"containers":[{"name":"train","image":"train:1",'
    '"resources":{"limits":{"nvidia.com/gpu":"2"}}}]}}'
)
MINUTES = 15
EMPTY = {
    "annotation Alerts": "an alert fires where something is wrong, and here it need not be",
}
"""Questions that may come back empty, and why. A rule's alert may always: it should."""
KUBE_STATE_METRICS = {
    "kube_job_failed", "kube_job_status_failed", "kube_cronjob_created",
    "kube_cronjob_next_schedule_time", "kube_cronjob_status_last_schedule_time",
    "kube_cronjob_status_last_successful_time",
}  # fmt: skip
"""What the auditor's alerts ask for: of kube-state-metrics, which needs a cluster with Jobs."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_system.Live]:
    """A system under watch after a lease with a pod, a refund, a load test and faults."""
    with live_system.up(tmp_path_factory.mktemp("watched"), "--prometheus", "--nodes", "2") as one:
        one.run("agent", "register", "planned/agent", "--credits", "5", "--refill", "1/hour")
        _lease_is_used_and_given_back(one)
        _things_go_wrong(one)
        _load_is_tested(one)
        yield one


def _lease_is_used_and_given_back(live: live_system.Live) -> None:
    live.run("agent", "register", CLUSTER, "--credits", "50", "--cluster")
    config = live.run("agent", "kubeconfig", CLUSTER).strip()
    bid = ("bid", "--agent", CLUSTER, "--market", "pool-a", "--shape", "2", "--minutes", "5")
    for pod in ("first", "second"):  # what a counter begins with is no increase: twice, then
        won = live.json(*bid, "--value", "20", "--wait")
        live.kubectl(config, "run", pod, "--image=train:1", f"--overrides={POD}")
        live.kubectl(config, "wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=50s")
        live.run("release", won["lease_id"], "--agent", CLUSTER)


def _load_is_tested(live: live_system.Live) -> None:
    """Whether the run keeps its ranges on this machine is not asked."""
    out = live.directory / "load"
    words = ("loadtest", "smoke", "--rate", "20", "--seconds", "12", "--agents", "20")
    done = subprocess.run(
        [*CLI, *words, "--out", str(out)], capture_output=True, text=True, check=False,
        timeout=400, env={**os.environ, "BIDPLANE_DIR": str(live.directory)},
    )  # fmt: skip
    assert (out / "result.json").exists(), done.stderr


def _things_go_wrong(live: live_system.Live) -> None:
    """Records that nobody can read, and a sink that is killed."""
    producer = confluent_kafka.Producer({"bootstrap.servers": live.state()["kafka"]})
    for topic in (registry.BIDS, registry.TELEMETRY):
        producer.produce(topic.name, b"{", b"nobody")
    assert producer.flush(30) == 0
    os.kill(live.pid("sink-nodes"), signal.SIGKILL)


def asked(live: live_system.Live) -> list[checking.Line]:
    """Every question to the system's Prometheus."""
    files = sorted(checking.RULES.glob("*.yaml"))
    chosen = {"before": ["20s"]}
    found = boards.read_all(boards.CHART).values()
    url = live.state()["prometheus"]
    return asyncio.run(checking.checked(url, found, files, MINUTES, chosen))


def query(live: live_system.Live, path: str, **words: str) -> Any:
    """What the Prometheus answers on its API."""
    address = f"{live.state()['prometheus']}/api/v1/{path}?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.loads(answer.read())["data"]


def missing(lines: list[checking.Line]) -> list[str]:
    """Empty answers that nothing excuses."""
    return [
        one.name
        for one in lines
        if not one.series and one.what not in EMPTY and not one.what.startswith("alert ")
    ]


def test_every_question_has_an_answer(live: live_system.Live) -> None:
    """Every query of panels, variables, annotations and recording rules is taken and answered."""
    deadline = patience.deadline(40)
    while missing(lines := asked(live)) and time.monotonic() < deadline:
        time.sleep(2)
    for one in lines:
        print(f"{one.where:18} {one.what:45} {one.part:28} {one.refusal or one.series}")
    assert [one.name for one in lines if one.refusal] == []
    assert missing(lines) == []


def test_alerts_name_series_that_exist(live: live_system.Live) -> None:
    """Every metric in an alert's expression is one that this system or kube-state-metrics has."""
    known = set(query(live, "label/__name__/values")) | KUBE_STATE_METRICS
    for name, rule in chart_rules.alerts().items():
        named = set(re.findall(r"\b(?:bidplane[:_][\w:]+|kube_\w+|process_\w+|up\b)", rule["expr"]))
        assert named, name
        assert named <= known, (name, named - known)


def test_prometheus_evaluates_every_rule(live: live_system.Live) -> None:
    """Prometheus has loaded every rule and none of them fails."""
    loaded = [rule for group in query(live, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded if rule["type"] == "alerting"} == set(
        chart_rules.alerts()
    )
    assert [
        (rule["name"], rule.get("lastError")) for rule in loaded if rule["health"] == "err"
    ] == []


def test_every_process_is_a_target(live: live_system.Live) -> None:
    """Prometheus scrapes each process under its component's name, and each one answers."""
    expected = {"worker", "sink-claims", "sink-clusters", "sink-nodes", "source-inventory"}

    def jobs() -> set[str]:
        targets = query(live, "targets")["activeTargets"]
        return {one["labels"]["job"] for one in targets if one["health"] == "up"}

    # The load test's own target goes when Prometheus reads its folder again.
    live_system.until("the system's targets alone", lambda: jobs() == expected)


@pytest.fixture(scope="module")
def chromium() -> str:
    """A chromium: named, on the path, or Debian's, which root may install."""
    try:
        return serving.browser()
    except BadInput:
        apt = shutil.which("apt-get")
        assert apt, "no chromium here: install it, or name it in BIDPLANE_CHROMIUM"
        assert os.geteuid() == 0, "no chromium here: install it, or name it in BIDPLANE_CHROMIUM"
        subprocess.run([apt, "update"], check=False, capture_output=True, timeout=300)
        argv = [apt, "install", "-y", "--no-install-recommends", "chromium"]
        subprocess.run(argv, check=True, capture_output=True, timeout=550)
        return serving.browser()


def test_a_browser_shows_the_preview(
    live: live_system.Live, chromium: str, tmp_path: pathlib.Path
) -> None:
    """A real browser shows every panel of a served page, with its figures and without errors."""
    argv = [*CLI, "dashboards", "preview", "--dashboard", "loadtest", "--dir", str(live.directory)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        shown = f"{address}loadtest?minutes={MINUTES}&before=20s"
        dumped = subprocess.run(
            [chromium, *serving.FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", shown],
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    page = dumped.stdout
    assert "not Grafana" in page
    board = boards.read_all(boards.CHART)["loadtest"]
    panels = [one for one in board.panels if one.kind != "row"]
    assert all(f">{one.title}</h3>" in page for one in panels)
    assert page.count("<svg") == sum(one.kind in {"timeseries", "heatmap"} for one in panels)
    assert "no data" not in page
    assert "query failed" not in page


def test_a_picture_of_a_dashboard_is_made(
    live: live_system.Live, chromium: str, tmp_path: pathlib.Path
) -> None:
    """`dashboards preview --png` writes a picture of the whole page."""
    into = tmp_path / "market.png"
    live.run("dashboards", "preview", "--dashboard", "market", "--png", str(into))
    raw = into.read_bytes()
    assert raw.startswith(b"\x89PNG")
    width, height = (int.from_bytes(raw[at : at + 4], "big") for at in (16, 20))
    board = boards.read_all(boards.CHART)["market"]
    assert (width, height) == (1470, serving.height_of(board))
