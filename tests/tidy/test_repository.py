"""The laws of the house that no linter knows: sizes, names, words, and who may import what.

Decides by reading the files that git tracks or would track. Refuses exceptions beyond those listed
here.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
COLUMNS = 100
STREAMS = "streams/bidplane_streams/"
CORE = ("topics/bidplane_topics/", STREAMS + "market/")
SOURCES = ("topics/", "agents/", "streams/", "loadtest/")
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
# Put together here, so that this file does not hold what it refuses.
MARKERS = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("proxy", "golang", "org"),
        ("sum", "golang", "org"), ("maven", "apache", "org"), ("maven", "org"),
        ("npmjs", "org"), ("crates", "io"), ("docker", "io"), ("ghcr", "io"),
    )
)  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w./}$-])/(?:work|root|home|Users)/[\w.]")
TOPIC_NAME = re.compile(r"bidplane\.[a-z-]+\.v\d")
SECOND_SENTENCE = re.compile(r"[.!?]\s+[A-Z]")


@functools.cache
def files() -> tuple[str, ...]:
    """Every file that is in the repository, or would be after `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return tuple(sorted(name for name in set(listed.stdout.splitlines()) if _is_file(name)))


def _is_file(name: str) -> bool:
    return (ROOT / name).is_file()


@functools.cache
def text(name: str) -> str:
    """A file's text; empty for one that is no text."""
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@functools.cache
def tree(name: str) -> ast.Module:
    """A Python file, parsed."""
    return ast.parse(text(name))


def python(*under: str) -> list[str]:
    """The Python files, or those of some folders."""
    return [one for one in files() if one.endswith(".py") and one.startswith(under or ("",))]


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(name: str) -> Iterator[str]:
    """The top-level packages that a file imports, late imports too."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def lines(pattern: re.Pattern[str], names: list[str]) -> list[str]:
    """Where a pattern stands, as file:line."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name in names
        for number, line in enumerate(text(name).splitlines(), 1)
        if pattern.search(line)
    ]


def test_files_are_short() -> None:
    """No Python file is longer than 400 lines."""
    long = {name: len(text(name).splitlines()) for name in python()}
    assert {name: count for name, count in long.items() if count > FILE_LINES} == {}


def test_functions_are_short() -> None:
    """No function is longer than 70 lines."""
    long = [
        f"{name}:{one.lineno} {one.name}"
        for name in python()
        for one in functions(name)
        if (one.end_lineno or 0) - one.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_lines_are_narrow() -> None:
    """No line of Python is wider than 100 columns, remarks to the checkers aside."""
    wide = re.compile(f"(?=.{{{COLUMNS + 1},}})(?!.{{0,{COLUMNS}}}  # (type: ignore|noqa))")
    assert [line for line in lines(wide, python()) if "://" not in line] == []


def test_names_say_what_a_file_is() -> None:
    """No file or folder has a name that could hold anything."""
    parts = {part for name in files() for part in pathlib.PurePath(name).with_suffix("").parts}
    assert parts & VAGUE == set()


def test_nothing_is_left_for_later() -> None:
    """No file holds a marker for work that somebody meant to do later."""
    marker = re.compile(r"\b(" + "|".join(MARKERS) + r")\b")
    assert lines(marker, [name for name in files() if not name.endswith(".sum")]) == []


def test_modules_say_what_they_decide() -> None:
    """Every module that holds code opens with a docstring."""
    silent = [name for name in python() if tree(name).body and not ast.get_docstring(tree(name))]
    assert silent == []


def test_tests_state_a_truth() -> None:
    """Every test function has a docstring of one sentence."""
    problems = []
    for name in python("tests/"):
        for one in functions(name):
            said = (ast.get_docstring(one) or "").strip()
            whole = said.endswith(".") and not SECOND_SENTENCE.search(said)
            if one.name.startswith("test_") and not whole:
                problems.append(f"{name}:{one.lineno} {one.name}")
    assert problems == []


def test_no_test_is_skipped() -> None:
    """No test is skipped or expected to fail."""
    skips = re.compile(r"pytest\.(skip|xfail|importorskip|mark\.(skip|skipif|xfail))\b")
    assert lines(skips, python("tests/")) == []


def test_the_core_counts_in_integers() -> None:
    """The contract and the market hold no float, no decimal and no true division."""
    found = []
    for name in python(*CORE):
        for node in ast.walk(tree(name)):
            if not isinstance(node, ast.expr | ast.stmt):
                continue
            floating = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
            named = isinstance(node, ast.Name) and node.id in {"float", "Decimal", "Fraction"}
            divides = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            if floating or named or divides:
                found.append(f"{name}:{node.lineno}")
    assert found == []


def test_the_core_refuses_optimised_mode() -> None:
    """Under -O, which drops the asserts that guard the money, the core does not load."""
    code = "import bidplane_streams.market"
    command = [sys.executable, "-O", "-c", code]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "refuses to load under -O" in ran.stderr


def test_topics_are_named_in_the_registry_alone() -> None:
    """No source but the registry spells a topic's name."""
    registry = "topics/bidplane_topics/registry.py"
    found = []
    for name in python(*SOURCES):
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                spelled = TOPIC_NAME.search(node.value) and "\n" not in node.value
                if spelled and name != registry:
                    found.append(f"{name}:{node.lineno}: {node.value}")
    assert found == []


def test_faust_stays_where_it_is_good() -> None:
    """Only the application, the processors and the lanes' services import Faust or mode."""
    faust = {name for name in python(*SOURCES) if "faust" in imports(name)}
    mode = {name for name in python(*SOURCES) if "mode" in imports(name)}
    home = (STREAMS + "app.py", STREAMS + "commands_worker.py", STREAMS + "processors/")
    assert {name for name in faust if not name.startswith(home)} == set()
    assert {name for name in mode if not name.startswith((*home, STREAMS + "lanes/"))} == set()


def test_the_cluster_client_has_few_homes() -> None:
    """Only the sinks' client and the simulated nodes import the Kubernetes client."""
    simulated = ("nodes", "kubelet", "watching")
    homes = {STREAMS + "sinks/kube.py", *(f"{STREAMS}embedded/{one}.py" for one in simulated)}
    found = {name for name in python(*SOURCES) if "kubernetes_asyncio" in imports(name)}
    assert found <= homes


def test_nothing_names_a_package_host_or_a_machine() -> None:
    """No file names a registry's host or a path of one machine."""
    hosts = re.compile("|".join(re.escape(host) for host in HOSTS))
    assert lines(hosts, list(files())) == []
    assert lines(MACHINE_PATH, [name for name in files() if not name.endswith(".sum")]) == []


def test_a_cancellation_is_never_swallowed() -> None:
    """No `asyncio.wait_for`: before Python 3.12 it loses a cancellation that meets a result."""
    assert not lines(re.compile(r"asyncio\.wait_for\("), python(*SOURCES))


def test_requirements_are_pinned_by_hash() -> None:
    """Every requirement has one version and hashes, and none says where to get it."""
    logical = text("requirements.txt").replace("\\\n", " ").splitlines()
    rows = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
    assert rows
    for row in rows:
        assert re.match(r"[A-Za-z0-9._\[\]-]+==[^\s;]+", row), row
        assert "--hash=sha256:" in row, row
        assert "://" not in row, row
        assert "index" not in row.split("--hash")[0].partition(";")[2], row
