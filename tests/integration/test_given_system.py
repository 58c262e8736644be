"""`bidplane up` on servers that exist already: what it says it would do, and what it then does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bare_servers
import live_system
from bidplane_topics import registry

BLUEPRINT = Path(__file__).parents[2] / "helm/blueprints/2026.11.yaml"
BINDING = "bidplane-claim-template"
OPERATOR: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {
        "name": "gpu-operator", "namespace": "default",
        "labels": {"app.kubernetes.io/name": "gpu-operator"},
    },
    "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "gpu-operator"}},
        "template": {
            "metadata": {"labels": {"app": "gpu-operator"}},
            "spec": {"containers": [{"name": "o", "image": "nvidia/gpu-operator:v25.10.1"}]},
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bare_servers.Servers]:
    """Somebody's Kafka and cluster."""
    with bare_servers.running(tmp_path_factory.mktemp("servers"), nodes=2) as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the system that uses them."""
    return tmp_path_factory.mktemp("given") / "system"


@pytest.fixture(scope="module")
def words(servers: bare_servers.Servers) -> tuple[str, ...]:
    """How `up` is told."""
    return ("--kafka", servers.kafka, "--kubeconfig", servers.kubeconfig)


def _rehearsed(home: Path, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    live = live_system.Live(home)
    rows = live.json("up", "--dry-run", "--dir", str(home), *words)["rows"]
    return {(row["kind"], row["name"]): row for row in rows}


def test_a_dry_run_lists_everything_and_changes_nothing(
    servers: bare_servers.Servers, home: Path, words: tuple[str, ...]
) -> None:
    """Topics, market, CRD, classes and policies would be created; none of them is."""
    found = _rehearsed(home, *words)
    wanted = {topic.name for topic in registry.all_topics()}
    created = {name for (kind, name), row in found.items() if row["does"] == "create"}
    assert wanted <= created
    assert {"pool-a", "deviceleases.bidplane.io", "gpu.nvidia.com", "bidplane-allocate"} <= created
    assert found["process", "sink-claims"]["does"] == "start"
    assert found["Kafka", servers.kafka]["does"] == "keep"
    assert not home.exists()
    assert servers.topics() == set()
    assert "bidplane" not in servers.kubectl("get", "crd,validatingadmissionpolicy", "-o", "name")


def test_a_user_without_rights_is_told_which_before_anything_starts(
    servers: bare_servers.Servers, home: Path, tmp_path: Path
) -> None:
    """Exit code 2 with and without --dry-run, each missing right by its component."""
    config = servers.kubeconfig_of("nobody", tmp_path)
    words = ("--dir", str(home), "--kafka", servers.kafka, "--kubeconfig", str(config))
    live = live_system.Live(home)
    told = live.run("up", "--dry-run", *words, code=2)
    assert "the right to get resourceclaims in resource.k8s.io is missing (sink-claims" in told
    assert live.run("up", *words, code=2).strip().count("\n") == 0
    assert servers.topics() == set()


@pytest.mark.parametrize("given", ["kafka", "cluster"])
def test_the_other_server_would_be_started(
    servers: bare_servers.Servers, home: Path, given: str
) -> None:
    """With a Kafka alone a host cluster is embedded, and the other way round."""
    kafka, cluster = ("--kafka", servers.kafka), ("--kubeconfig", servers.kubeconfig)
    found = _rehearsed(home, *(kafka if given == "kafka" else cluster))
    kinds = {kind: row["does"] for (kind, _), row in found.items()}
    want = ("keep", "start") if given == "kafka" else ("start", "keep")
    assert (kinds["Kafka"], kinds["host cluster"]) == want


@pytest.fixture(scope="module")
def system(home: Path, words: tuple[str, ...]) -> Iterator[live_system.Live]:
    """The system on these servers."""
    with live_system.up(home, *words) as live:
        yield live


def test_what_was_foretold_comes_true_and_is_kept_the_next_time(
    servers: bare_servers.Servers, system: live_system.Live, words: tuple[str, ...]
) -> None:
    """The devices are sold, and a second dry run finds everything as it should be."""
    live_system.until("the devices are on sale", lambda: _on_sale(system), 60)

    def sound() -> bool:
        """Whether a dry run has nothing to do but to start."""
        rows = _rehearsed(system.directory, *words).values()
        apart = {"process", "file"}
        return all(row["does"] in {"keep", "note"} for row in rows if row["kind"] not in apart)

    live_system.until("a dry run finds all of it", sound, 60)


def _on_sale(system: live_system.Live) -> bool:
    rounds = [event for _, _, event in system.records(registry.ROUNDS)]
    if not rounds or rounds[-1].units_total != 2 * 8 * 7:
        return False
    # Nothing is offered while the claims sink is silent.
    return any(pool.units_offered for pool in rounds[-1].pools.values())


def test_what_differs_is_told_and_kept(
    system: live_system.Live, servers: bare_servers.Servers, words: tuple[str, ...]
) -> None:
    """A market with other rules and a topic with another retention stay as they are."""
    system.run("market", "create", "pool-b", "--window", "5s", "--kafka", servers.kafka)
    found = _rehearsed(system.directory, *words, "--beside", "pool-b")
    row = found["market", "pool-b"]
    assert row["does"] == "differs"
    assert "window_ms is 5000, 2000 wanted" in row["detail"]
    system.run("market", "remove", "pool-b", "--kafka", servers.kafka)


def _page(system: live_system.Live, path: str) -> Any:
    with urllib.request.urlopen(f"{system.state()['web']}{path}", timeout=20) as answer:
        return json.loads(answer.read())


def test_the_workers_pages_say_what_the_records_say(system: live_system.Live) -> None:
    """A lease that is won shows on the pages of markets, leases and budgets, and nobody's bid."""
    system.run("agent", "register", "research/tuner", "--credits", "50")
    bid = ("bid", "--agent", "research/tuner", "--market", "pool-a", "--shape", "2")
    system.run(*bid, "--minutes", "5", "--value", "3.50", "--wait")
    shown = live_system.until(
        "the lease shows", lambda: _page(system, "/leases?market=pool-a")["leases"] or None
    )
    (lease,) = shown
    assert (lease["tenant"], lease["units"]) == ("research", 14)
    (board,) = [row for row in _page(system, "/markets")["markets"] if row["market"] == "pool-a"]
    assert board["last_round"]["units_total"] == 2 * 8 * 7
    (money,) = _page(system, "/budgets?tenant=research")["tenants"]
    assert 0 < money["available_micros"] < 50_000_000
    assert _page(system, "/usage") == {"tenants": {}, "windows": []}
    system.run("release", lease["lease_id"], "--agent", "research/tuner")
    live_system.until("it is over", lambda: not _page(system, "/leases")["leases"] or None)


def _examined(
    system: live_system.Live, servers: bare_servers.Servers, code: int, *words: str
) -> dict[str, Any]:
    """The doctor's findings by where; it must end with this exit code."""
    done = subprocess.run(
        [
            sys.executable, "-m", "bidplane_agents.cli", "doctor", "--kafka", servers.kafka,
            "--kubeconfig", servers.kubeconfig, "--blueprint", str(BLUEPRINT), "--json", *words,
        ],
        capture_output=True, timeout=120, check=False,
        env={**os.environ, "BIDPLANE_DIR": str(system.directory)},
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    found: dict[str, dict[str, Any]] = {}
    for one in json.loads(done.stdout)["findings"]:
        known = found.setdefault(one["where"], one)
        known["all"] = [*known.get("all", []), one["what"]]
    return found


def test_the_doctor_finds_nothing_to_mend_in_a_sound_system(
    system: live_system.Live, servers: bare_servers.Servers
) -> None:
    """Exit code 0; what is not installed is a note."""
    found = _examined(system, servers, 0)
    assert {one["severity"] for one in found.values()} <= {"note", "warning"}, found
    assert found["NVIDIA GPU operator"]["what"] == "not installed"


@pytest.fixture(scope="module")
def broken(system: live_system.Live, servers: bare_servers.Servers) -> dict[str, dict[str, Any]]:
    """What the doctor finds where much was changed, and asked for a worker of another name."""
    servers.kubectl("delete", "validatingadmissionpolicybinding", BINDING)
    servers.kubectl("create", "-f", "-", stdin=json.dumps(OPERATOR))
    system.run("market", "create", "pool-b", "--kafka", servers.kafka)
    servers.set_retention(registry.ORDERS.name, 3_600_000)
    servers.write(registry.dead_letters(registry.SUPPLY).name, b"?")
    return _examined(system, servers, 5, "--app-id", "other")


def test_the_doctor_finds_what_was_changed_in_the_cluster(
    broken: dict[str, dict[str, Any]],
) -> None:
    """A binding that is gone, and an operator of another version, each by its name."""
    assert broken[f"ValidatingAdmissionPolicyBinding {BINDING}"]["severity"] == "error"
    operator = broken["NVIDIA GPU operator"]
    assert operator["severity"] == "differs"
    assert operator["what"] == "v25.10.1 runs, the blueprint pins 26.3.2"


def test_the_doctor_finds_what_was_changed_in_kafka(broken: dict[str, dict[str, Any]]) -> None:
    """A retention, a dead letter, and a market that no sink serves, each by its name."""
    orders = broken[registry.ORDERS.name]
    assert orders["severity"] == "differs"
    assert orders["what"] == "retention.ms is 3600000, the registry says 15552000000"
    letters = broken[registry.dead_letters(registry.SUPPLY).name]
    assert (letters["severity"], letters["what"]) == ("warning", "1 dead letters are kept")
    assert any("silent" in what for what in broken["market pool-b"]["all"])


def test_the_doctor_finds_that_no_worker_runs(broken: dict[str, dict[str, Any]]) -> None:
    """A lane whose group has no member is an error."""
    groups = {name for name, one in broken.items() if one["what"] == "no worker serves it"}
    assert groups == {f"group other-{lane}" for lane in ("accounts", "markets", "router")}
