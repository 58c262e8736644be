"""One Apache Kafka broker (KRaft, combined) as a child process.

Decides its storage, ports, heap and broker-wide settings. Refuses to know any topic: the registry
does. The data and the ports survive a restart in the same directory.
"""

from __future__ import annotations

import pathlib
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import admin
from aiokafka import errors as kafka_errors

from bidplane_streams.embedded import (
    assets,
    builds,
    errors,
    ports,
    prerequisites,
    probes,
    processes,
)

READY_TIMEOUT_S = 60.0
FORMAT_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0
RECORD_LIMIT_BYTES = 8 * 1024 * 1024
QUESTION_TIMEOUT_MS = 2000
LOG4J = pathlib.Path(__file__).parent / "kafka" / "log4j2.properties"
MEMORY = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
offsets.retention.minutes=525600
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After a kill -9 the broker waits for its own old session; a shorter one fences a busy broker.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
message.max.bytes={record_limit}
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""


class Kafka:
    """The broker of one directory: ``start``, ``bootstrap``, ``stop``, ``kill9``.

    Its files are DIR/kafka, its log DIR/logs/kafka.log. With ``restart`` a broker that dies is
    started again on the same ports; without, a test decides.
    """

    def __init__(self, directory: pathlib.Path, *, restart: bool = False) -> None:
        self.directory = directory.absolute()
        self.home = self.directory / "kafka"
        self._restart = restart
        self.child: processes.Child | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients; known once ``start`` was called."""
        assert self._bootstrap, "start the broker first"
        return self._bootstrap

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self.child.pid if self.child else None

    # A guarded broker (tests have one: TLS, users, rights) is this one with other answers here.

    def properties(self, chosen: Mapping[str, int]) -> str:
        """The broker's settings on these ports."""
        return PROPERTIES.format(**chosen, data=self.home / "data", record_limit=RECORD_LIMIT_BYTES)

    def format_words(self) -> Sequence[str]:
        """What else the storage is formatted with."""
        return ()

    def client_options(self) -> dict[str, Any]:
        """How we ask whether it is ready."""
        return {"bootstrap_servers": self.bootstrap}

    async def start(self) -> None:
        """Start the broker and wait until it serves metadata (about 4 s; 6 s the first time).

        Raises:
            PrerequisiteMissing: no Java or no jars, and no tool to fetch them.
            ServerFailed: it did not come up.
        """
        assert self.pid is None, "it runs already"
        jars = await builds.aside(assets.kafka_jars)
        chosen = ports.remembered(self.home / "ports.json", "broker", "controller")
        self._bootstrap = f"127.0.0.1:{chosen['broker']}"
        properties = self.home / "server.properties"
        properties.write_text(self.properties(chosen))
        await self._format(jars, properties)
        self.child = processes.Child(
            processes.Recipe(
                "kafka",
                [*_java(jars, *MEMORY), "kafka.Kafka", str(properties)],
                self.directory / "logs",
                stop_grace_s=STOP_GRACE_S,
            ),
            restart=self._restart,
        )
        await self.child.start()
        await self.child.ready(self.is_ready, READY_TIMEOUT_S)

    async def _format(self, jars: pathlib.Path, properties: pathlib.Path) -> None:
        """Format the storage once; a format that was interrupted is done again by Kafka itself."""
        if (self.home / "data" / "meta.properties").exists():
            return
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        argv = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            "-c",
            str(properties),
            *self.format_words(),
        ]
        recipe = processes.Recipe(
            "kafka-format", [*_java(jars, "-Xmx128m"), *argv], self.directory / "logs"
        )
        child = processes.Child(recipe)
        await child.start()
        try:
            code = await child.ended(FORMAT_TIMEOUT_S)
        except TimeoutError:
            told = f"formatting Kafka's storage took too long ({recipe.log})"
            raise errors.ServerFailed(told) from None
        finally:
            await child.stop()
        if code != 0:
            said = processes.last_line(recipe.log)
            raise errors.ServerFailed(f"formatting Kafka's storage failed: {said} ({recipe.log})")

    async def is_ready(self) -> bool:
        """Whether the broker answers a metadata request with itself."""
        if not await probes.listens(int(self.bootstrap.rpartition(":")[2])):
            return False  # aiokafka would write a line for each attempt
        client = admin.AIOKafkaAdminClient(
            **self.client_options(), request_timeout_ms=QUESTION_TIMEOUT_MS
        )
        try:
            await client.start()
            return bool((await client.describe_cluster())["brokers"])
        except (kafka_errors.KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()

    async def stop(self) -> None:
        """Stop the broker in order; it flushes its logs."""
        if self.child is not None:
            await self.child.stop()

    async def kill9(self) -> None:
        """Kill the broker as a crash would; ``start`` brings it back with its data."""
        if self.child is not None:
            await self.child.kill9()


def _java(jars: pathlib.Path, *options: str) -> list[str]:
    log = f"-Dlog4j2.configurationFile={LOG4J}"
    path = f"{jars}/*"
    return [prerequisites.java_program(), *options, "-Djava.awt.headless=true", log, "-cp", path]
