"""A whole system for tests, started and stopped by the very commands that a user types."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import confluent_kafka
import psutil

import patience
from bidplane_streams.embedded import assets
from bidplane_topics import codec, registry

COMMAND_TIMEOUT_S = 240
T = TypeVar("T")


class Live:
    """A running system: the command line, kubectl, and all records of a topic."""

    def __init__(self, directory: pathlib.Path) -> None:
        """``directory`` is that of ``bidplane up``."""
        self.directory = directory

    def state(self) -> dict[str, Any]:
        """What state.json says."""
        read: dict[str, Any] = json.loads((self.directory / "state.json").read_text())
        return read

    def run(self, *words: str, code: int = 0, stdin: bytes | None = None) -> str:
        """Run ``bidplane WORDS``; its output. Asserts the exit code, and no traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "bidplane_agents.cli", *words],
            capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False, input=stdin,
            env={**os.environ, "BIDPLANE_DIR": str(self.directory), "COLUMNS": "200"},
        )  # fmt: skip
        told = done.stderr.decode()
        assert done.returncode == code, (words, done.returncode, done.stdout, told)
        assert "Traceback" not in told, told
        return done.stdout.decode() if code == 0 else told

    def json(self, *words: str) -> Any:
        """Run a command with --json and read what it prints."""
        return json.loads(self.run(*words, "--json"))

    def kubectl(self, config: str, *words: str, stdin: str = "") -> str:
        """What kubectl prints with a kubeconfig; raises CalledProcessError where it refuses."""
        done = subprocess.run(
            [str(assets.program("kubectl")), "--kubeconfig", config, *words],
            input=stdin, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    def records(self, topic: registry.Topic) -> list[tuple[int, int, Any]]:
        """Every committed (partition, append time in ms, event) of a topic, by partition."""
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.state()["kafka"], "group.id": "live-test",
                "isolation.level": "read_committed", "enable.auto.commit": False,
                "enable.partition.eof": True, "auto.offset.reset": "earliest",
            }
        )  # fmt: skip
        found: list[tuple[int, int, Any]] = []
        try:
            listed = consumer.list_topics(topic.name, timeout=10).topics[topic.name].partitions
            begin = confluent_kafka.OFFSET_BEGINNING
            consumer.assign(
                [confluent_kafka.TopicPartition(topic.name, number, begin) for number in listed]
            )
            at_end: set[int] = set()
            deadline = patience.deadline(60)
            while len(at_end) < len(listed):
                assert time.monotonic() < deadline, f"{topic.name} has no end"
                for message in consumer.consume(5000, timeout=0.5):
                    if message.error():
                        at_end.add(message.partition())
                    else:
                        event = codec.decode(topic, message.value())
                        found.append((message.partition(), message.timestamp()[1], event))
        finally:
            consumer.close()
        return found

    def last_errors(self, each: int = 4) -> str:
        """The last lines of each process's log that tell of an error."""
        said = []
        for log in sorted((self.directory / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            errors = [line for line in lines if "CRITICAL" in line or "ERROR" in line]
            said += [f"{log.name}: {line[:300]}" for line in errors[-each:]]
        return "\n".join(said)

    def pid(self, name: str) -> int:
        """The process id of one of the system's processes."""
        return int(self.state()["processes"][name]["pid"])

    def children(self, name: str) -> list[psutil.Process]:
        """The processes below one of the system's processes."""
        return psutil.Process(self.pid(name)).children(recursive=True)


def until(what: str, ask: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """Ask until there is an answer; fails by saying what did not come."""
    deadline = patience.deadline(timeout_s)
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.2)


@contextlib.contextmanager
def up(directory: pathlib.Path, *words: str) -> Iterator[Live]:
    """`bidplane up --detach`, and `bidplane down` at the end."""
    live = Live(directory)
    live.run("up", "--detach", "--dir", str(directory), *words)
    try:
        yield live
    finally:
        live.run("down", "--dir", str(directory))
