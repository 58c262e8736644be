"""What this machine must have before anything can be built: Python, a JDK with Maven, Go.

Decides which tools are missing or too old, and names the setting that replaces each. Refuses to
install anything. Runs before the virtual environment exists, by path, on any Python 3.8 or later,
so it uses the standard library alone and old syntax; ``make`` calls it first.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys

EXIT_BAD_INPUT = 2
ANSWER_TIMEOUT_S = 30


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program we run, how it tells its version, the oldest that does, what replaces it."""

    name: str
    program: str
    argv: tuple[str, ...]
    pattern: str
    at_least: tuple[int, ...]
    why: str
    instead: str


JAVA = Tool(
    "JDK",
    "java",
    ("-version",),
    r'version "(\d+)',
    (17,),
    "runs Kafka",
    "set JAVA_HOME to such a JDK",
)
MAVEN = Tool(
    "Maven",
    "mvn",
    ("-version",),
    r"Apache Maven (\d+)\.(\d+)",
    (3, 6),
    "fetches Kafka's jars",
    "set BIDPLANE_KAFKA_JARS to a folder with the jars of Kafka 4.3.1",
)
GO = Tool(
    "Go",
    "go",
    ("version",),
    r"go version go(\d+)\.(\d+)",
    (1, 26),
    "builds the Kubernetes control plane, and Prometheus and helm for the tests",
    "set KUBEBUILDER_ASSETS to a folder with kube-apiserver, kube-scheduler, "
    "kube-controller-manager and kubectl (1.36 or newer) and etcd",
)
PYTHON_AT_LEAST = (3, 11)


def java_program() -> str:
    """The ``java`` that runs Kafka: JAVA_HOME's, else the one on the path."""
    home = os.environ.get("JAVA_HOME", "")
    inside = os.path.join(home, "bin", "java")  # noqa: PTH118 - paths as the environment has them
    return inside if home and os.access(inside, os.X_OK) else "java"


def version_of(tool: Tool) -> tuple[int, ...] | None:
    """The version that a tool tells, as integers; None if it is not there or tells none."""
    program = java_program() if tool is JAVA else tool.program
    if shutil.which(program) is None:
        return None
    answer = subprocess.run(
        [program, *tool.argv],
        capture_output=True,
        text=True,
        timeout=ANSWER_TIMEOUT_S,
        check=False,
    )
    found = re.search(tool.pattern, answer.stdout + answer.stderr)
    return tuple(int(part) for part in found.groups()) if found else None


def complaint(tool: Tool) -> str | None:
    """One line that says what is needed and what replaces it; None if the tool will do."""
    version = version_of(tool)
    if version is not None and version >= tool.at_least:
        return None
    needed = ".".join(str(part) for part in tool.at_least)
    have = (
        "none that works found"
        if version is None
        else "found " + ".".join(str(part) for part in version)
    )
    what = f"{tool.name} {needed} or newer is needed ({tool.why})"
    return f"{what}, {have}: install it or {tool.instead}"


def python_complaint() -> str | None:
    """One line if the Python that runs this is too old."""
    if sys.version_info[:2] >= PYTHON_AT_LEAST:
        return None
    needed = ".".join(str(part) for part in PYTHON_AT_LEAST)
    have = ".".join(str(part) for part in sys.version_info[:2])
    return (
        f"Python {needed} or newer is needed, found {have}: "
        f"install it or set PYTHON to one (make PYTHON=python{needed})"
    )


def wanted_tools() -> list[Tool]:
    """The tools that this machine's settings do not already replace."""
    tools = [JAVA]
    if not os.environ.get("BIDPLANE_KAFKA_JARS"):
        tools.append(MAVEN)
    if not has_all_programs(os.environ.get("KUBEBUILDER_ASSETS", "")):
        tools.append(GO)
    return tools


def has_all_programs(folder: str) -> bool:
    """Whether a folder holds every program of a control plane (their versions are judged later)."""
    names = "kube-apiserver kube-scheduler kube-controller-manager kubectl etcd".split()  # noqa: SIM905
    return bool(folder) and all(shutil.which(name, path=folder) for name in names)


def main() -> int:
    """Print one line for each thing that is missing; 2 if there is any."""
    complaints = [python_complaint(), *(complaint(tool) for tool in wanted_tools())]
    lines = [line for line in complaints if line]
    for line in lines:
        sys.stderr.write(f"bidplane: {line}\n")
    return EXIT_BAD_INPUT if lines else 0


if __name__ == "__main__":
    sys.exit(main())
