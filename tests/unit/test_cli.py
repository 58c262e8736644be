"""The command line without servers: usage, exit codes, one-line errors, and what it imports."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import orjson
import pytest

from bidplane_agents import cli, profiles
from bidplane_streams.embedded import directory
from bidplane_topics import bids, codec, envelope, offers, registry

ROOT = Path(__file__).parents[2]
BID = ["bid", "--market", "pool-a", "--shape", "2", "--minutes", "10", "--value", "3.50"]
KEY = envelope.SigningKey(b"\7" * 32)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings is seen."""
    for name in ("KAFKA", "DIR", "AGENT", "PROFILE", "CLUSTERS_DIR"):
        monkeypatch.delenv(f"BIDPLANE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def saved_profile() -> None:
    """The only profile in the working directory."""
    profile = profiles.Profile(tenant="t", agent="a", partition=2, key=KEY.to_text())
    profiles.save(profiles.path_of("t/a"), profile)


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line of a command that fails and prints no result."""
    code = cli.run(list(arguments))
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("bidplane: ")
    assert found.err.count("\n") == 1
    return code, found.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["bid"], "Missing option"),
        ([*BID, "--nonsense"], "No such option: --nonsense"),
        ([*BID, "--timeout", "x"], "--timeout"),
        (BID, "0 agent profiles"),
        ([*BID, "--agent", "T"], "TENANT/NAME"),
        ([*BID[:-1], "3,50"], "no amount of credits"),
        (["bid", "--market", "m", "--value", "1"], "give --shape and --minutes"),
        (["offer", "l", "--price", "1"], "--to"),
        (["accept", "offer:m:l:t/a:5:nonsense"], "is no offer's id"),
        (["market", "show"], "Missing argument"),
        (["agent", "list"], "no Kafka address"),
        (["agent", "register", "T/a", "--kafka", "127.0.0.1:1"], "tenant 'T'"),
        (["agent", "register", "t/a", "--refill", "1", "--kafka", "127.0.0.1:1"], "PERIOD"),
        (["agent", "register", "t/a", "--refill", "1/100ms"], "one second or longer"),
        (["agent", "register", "t/a", "--refill", "1/day", "--decay", "10"], "percentage"),
        (["agent", "register", "t/a", "--refill", "1/day", "--decay", "101%"], "percentage"),
        (["agent", "register", "t/a", "--refill", "1/day", "--decay", "10%/hour"], "one period"),
        (["tenant", "register", "t", "--decay", "10%"], "10%/day"),
        (["tenant", "register", "T"], "tenant 'T'"),
        (["org", "register", "a/b", "--credits", "5"], "organisation 'a/b'"),
        (["grant", "org:A", "5"], "organisation 'A'"),
        (["market", "create", "m", "--entitle", "research"], "TENANT=UNITS"),
        (["market", "create", "m", "--entitle", "research=0"], "--entitle '0'"),
        (["balance", "org:acme"], "--ledger"),
        (["balance", "org:A", "--ledger", "--kafka", "127.0.0.1:1"], "organisation 'A'"),
        (["agent", "kubeconfig", "t/a"], "--cluster"),
        (["market", "create", "m", "--window", "2"], "--window '2'"),
        (["market", "create", "m", "--window", "0s"], "at least 50ms"),
        (["market", "create", "m", "--rule", "foo"], "greedy, uniform, pay-as-bid"),
        (["market", "create", "Ä"], "market 'Ä'"),
        (["market", "list", "--kafka", "127.0.0.1:99999"], "from 1 to 65535"),
        (["market", "pools", "--kafka", "127.0.0.1:0"], "from 1 to 65535"),
        (["audit", "--kafka", "127.0.0.1:99999"], "from 1 to 65535"),
        (["sink", "clusters", "--kafka", "127.0.0.1:99999"], "from 1 to 65535"),
        (["sink", "claims"], "give --kafka HOST:PORT or set BIDPLANE_KAFKA"),
        (["sink", "clusters"], "give --kafka HOST:PORT or set BIDPLANE_KAFKA"),
        (["sink", "nodes"], "give --kafka HOST:PORT or set BIDPLANE_KAFKA"),
        (["source", "inventory"], "give --kafka HOST:PORT or set BIDPLANE_KAFKA"),
        (["source", "inventory", "--kafka", "127.0.0.1:9", "--node-label", "=x"], "LABEL=VALUE"),
        (["clear", "none.json"], "none.json"),
        (["bid", "--market", "m", "--value", "1", "--shape", "1", "--minutes", "x"], "'x'"),
        (["bid", "--market", "Ä", "--value", "1", "--shape", "1", "--minutes", "1"], "'Ä'"),
        (["market", "create", "m", "--pool-scarcity", "h=x"], "--pool-scarcity"),
        (["market", "create", "m", "--scarcity-rate", "1001"], "--scarcity-rate '1001'"),
        (["market", "create", "m", "--reserve-rate", "20"], "name a --reserve-cap above"),
        (["market", "create", "m", "--reserve-cap", "1"], "without --reserve-rate"),
        (["balance", "t/a"], "--ledger"),
        (["contract", "verify"], "FILE"),
        (["contract", "verify", "none.jsonl"], "none.jsonl"),
        (["audit", "--receipt", "r.json"], "r.json"),
        (["receipt"], "name a BID"),
        (["receipt", "b", "--window", "1"], "name a BID"),
        (["grant", "t/a", "five", "--kafka", "127.0.0.1:1"], "'five'"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What, where and what to do; never a traceback."""
    code, line = failing(capsys, *arguments)
    assert code == 2
    assert said in line


@pytest.mark.parametrize(
    "arguments",
    [
        BID,
        ["cancel", "b"],
        ["release", "l"],
        ["offer", "l", "--to", "t/b", "--price", "2.50"],
        ["accept", offers.offer_id(offers.Terms("m", "l", "t/a", 5))],
        ["allocations"],
        ["allocations", "--follow"],
        ["balance"],
        ["balance", "t/a", "--ledger"],
        ["why", "b"],
        ["agent", "list"],
        ["agent", "register", "t/b"],
        ["grant", "t/a", "5"],
        ["grant", "org:acme", "5", "--wait"],
        ["org", "register", "acme", "--credits", "5", "--refill", "1/day", "--decay", "0.5%"],
        ["org", "list"],
        ["tenant", "register", "t", "--org", "acme"],
        ["tenant", "list"],
        ["market", "list"],
        ["market", "show", "m"],
        ["market", "create", "m"],
        ["market", "remove", "m"],
        ["market", "pools"],
        ["agent", "kubeconfig", "t/a"],
        ["topics", "apply"],
        ["contract", "verify", "--live"],
        ["audit"],
        ["receipt", "b"],
        ["receipt", "--window", "1"],
    ],
    ids=" ".join,
)
def test_an_unreachable_kafka_exits_4(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Every command that needs Kafka says that it is not there, and where it looked."""
    saved_profile()
    code, line = failing(capsys, *arguments, "--kafka", "127.0.0.1:1")
    assert code == 4
    assert "127.0.0.1:1 cannot be reached" in line


def test_print_shows_the_record_that_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """Exact bytes, headers and partition; the signature is good, and no server is needed."""
    saved_profile()
    assert cli.run([*BID, "--select", "productName=H100", "--alternative", "1:5m", "--print"]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    headers = [(name, text.encode()) for name, text in shown["headers"].items()]
    public = {KEY.key_id: KEY.public_key}
    value = shown["value"].encode()
    assert envelope.verify(registry.BIDS.name, value, headers, public) == KEY.key_id
    assert (shown["topic"], shown["partition"], shown["key"]) == (registry.BIDS.name, 2, "t/a")
    place = codec.decode(registry.BIDS, value).commands[0].place
    assert [one.shape for one in place.alternatives] == ["2", "1"]
    assert isinstance(place, bids.Place)
    assert KEY.to_text() not in str(shown)


def test_kubeconfig_prints_a_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """For export KUBECONFIG=$(…)."""
    path = tmp_path / ".bidplane" / "clusters" / "t" / "a" / "kubeconfig"
    path.parent.mkdir(parents=True)
    path.touch()
    assert cli.run(["agent", "kubeconfig", "t/a"]) == 0
    assert capsys.readouterr().out == f"{path}\n"


def test_verify_accepts_the_golden_records(capsys: pytest.CaptureFixture[str]) -> None:
    """And counts them by topic."""
    golden = ROOT / "tests" / "golden" / "contract-v1.jsonl"
    assert cli.run(["contract", "verify", str(golden), "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["records"][registry.BIDS.name] == 1


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Help works and names no secret as an argument."""
    for words in (
        [], ["bid"], ["agent"], ["agent", "register"], ["market", "create"], ["topics", "apply"],
        ["contract", "export"], ["contract", "verify"],
        ["org", "register"], ["tenant", "register"], ["grant"], ["balance"],
        ["audit"], ["allocations"], ["why"],
    ):  # fmt: skip
        assert cli.run([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Usage: bidplane" in text
        assert "password" not in text.lower()


@pytest.mark.parametrize(
    "group", [[], ["agent"], ["market"], ["topics"], ["contract"], ["sink"], ["source"]]
)
def test_a_group_without_a_command_prints_its_help(
    capsys: pytest.CaptureFixture[str], group: list[str]
) -> None:
    """Line by line, as --help does, with the exit code of wrong usage."""
    assert cli.run(group) == 2
    told = capsys.readouterr()
    assert cli.run([*group, "--help"]) == 0
    assert told.err == capsys.readouterr().out
    assert "\nCommands:\n" in told.err


def test_a_selector_holds_for_every_alternative(capsys: pytest.CaptureFixture[str]) -> None:
    """In the very record that would be sent."""
    saved_profile()
    more = ["--select", "architecture=Hopper", "--alternative", "1g:5m"]
    assert cli.run([*BID, *more, "--alternative", "1:5m:architecture=Ampere", "--print"]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    place = codec.decode(registry.BIDS, shown["value"].encode()).commands[0].place
    found = [way.selector["architecture"] for way in place.alternatives]
    assert found == ["Hopper", "Hopper", "Ampere"]


@pytest.mark.parametrize("example", ["first_agent.py", "elastic_agent.py", "lease_server.py"])
def test_an_example_without_arguments_says_its_usage(example: str) -> None:
    """Exit code 2 and one line instead of a traceback."""
    script = ROOT / "agents" / "examples" / example
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"usage: {example} MARKET")
    assert ran.stderr.count("\n") == 1


def test_ctrl_c_while_loading_ends_quietly() -> None:
    """Exit code 130 and no traceback, even before the command line is there."""
    code = (
        "import sys, importlib.abc\n"
        "class Pressed(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "from bidplane_agents import cli\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (130, "")


@pytest.mark.parametrize("more", [[], ["--detach"]])
def test_a_second_up_is_refused_before_a_word_of_starting(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str]
) -> None:
    """One line that says where the first one runs and how to stop it."""
    with directory.Directory(tmp_path).held():
        code, line = failing(capsys, "up", "--dir", str(tmp_path), *more)
    assert code == 2
    assert f"already runs in {tmp_path}" in line
    assert "bidplane down" in line


WITHOUT_SERVERS = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"faust", "mode", "kubernetes_asyncio", "prometheus_client",
                                  "cryptography", "psutil"}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import bidplane_agents
assert bidplane_agents.__file__.startswith(sys.argv[1]), bidplane_agents.__file__
from bidplane_agents import bidder, cli, client, strategies, testing
sys.exit(cli.run(["--help"]))
"""


def test_the_wheel_needs_only_the_base(tmp_path: Path) -> None:
    """An agent author's environment holds no Faust and no Kubernetes client, and all works."""
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVERS, str(site)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for command in ("bid", "allocations", "agent", "contract", "audit"):
        assert command in ran.stdout
