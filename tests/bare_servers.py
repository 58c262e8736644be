"""A Kafka without topics and a host cluster with simulated nodes: servers to be given to `up`.

Run as a script it starts them in a directory, writes ``servers.json`` when they are ready, and
stops them on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import confluent_kafka
import msgspec
from confluent_kafka import admin

import patience
from bidplane_streams.embedded import assets, system

READY_S = 240


class Servers(msgspec.Struct, frozen=True):
    """Where they are: Kafka's address and an administrator's kubeconfig."""

    kafka: str
    kubeconfig: str
    directory: str

    def topics(self) -> set[str]:
        """The names of all topics but Kafka's own."""
        found = admin.AdminClient({"bootstrap.servers": self.kafka}).list_topics(timeout=20).topics
        return {name for name in found if not name.startswith("__")}

    def set_retention(self, topic: str, retention_ms: int) -> None:
        """Change a topic's setting as an operator's hand would."""
        entry = admin.ConfigEntry(
            "retention.ms", str(retention_ms),
            incremental_operation=admin.AlterConfigOpType.SET,
        )  # fmt: skip
        resource = admin.ConfigResource(
            admin.ConfigResource.Type.TOPIC, topic, incremental_configs=[entry]
        )
        hand = admin.AdminClient({"bootstrap.servers": self.kafka})
        for done in hand.incremental_alter_configs([resource]).values():
            done.result(timeout=20)

    def write(self, topic: str, value: bytes) -> None:
        """Put a record on a topic."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka})
        producer.produce(topic, value)
        assert producer.flush(20) == 0

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What kubectl prints as an administrator."""
        argv = [str(assets.program("kubectl")), "--kubeconfig", self.kubeconfig, *words]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def kubeconfig_of(self, account: str, folder: pathlib.Path) -> pathlib.Path:
        """A kubeconfig of a ServiceAccount of the default namespace, which is made."""
        self.kubectl("create", "serviceaccount", account)
        token = self.kubectl("create", "token", account).strip()
        config = json.loads(self.kubectl("config", "view", "--raw", "-o", "json"))
        config["users"] = [{"name": account, "user": {"token": token}}]
        config["contexts"][0]["context"]["user"] = account
        place = folder / f"{account}.kubeconfig"
        place.write_text(json.dumps(config))
        return place


@contextlib.contextmanager
def running(directory: pathlib.Path, nodes: int) -> Iterator[Servers]:
    """Start them, and stop them at the end."""
    with (directory / "servers.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, __file__, str(directory), str(nodes)],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    place, until = directory / "servers.json", patience.deadline(READY_S)
    try:
        while not place.exists():
            assert child.poll() is None, (directory / "servers.log").read_text()[-2000:]
            assert time.monotonic() < until, "the servers are not ready"
            time.sleep(0.1)
        yield msgspec.json.decode(place.read_bytes(), type=Servers)
    finally:
        child.terminate()
        child.wait(60)


async def _main(directory: pathlib.Path, nodes: int) -> None:
    async with system.System(directory, nodes=nodes) as up:
        found = Servers(up.kafka, str(up.kubeconfig), str(directory))
        fresh = directory / "servers.json.new"
        fresh.write_bytes(msgspec.json.encode(found))
        os.replace(fresh, directory / "servers.json")  # noqa: PTH105 - atomic
        await up.until_stopped()


if __name__ == "__main__":
    asyncio.run(_main(pathlib.Path(sys.argv[1]).absolute(), int(sys.argv[2])))
