"""Real servers for tests of sinks: Kafka with its topics, a host cluster, simulated nodes.

Run as a script it starts them in a directory, writes ``world.json`` when they are ready, and stops
them on SIGTERM. Imported, it gives tests the world's addresses, kubectl, and records to write and
read.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

import confluent_kafka
import msgspec
from confluent_kafka import admin

import patience
from bidplane_streams.embedded import assets, system
from bidplane_topics import codec, ids, leases, markets, registry, reports
from bidplane_topics.event import Event

MARKET = "main"
PARTITION = 1
PARTITIONS = registry.Partitions(tenant=2, market=2, agent=1, lease=1)
READY_S = 240.0
T = TypeVar("T")
_NUMBERS = itertools.count()


class World:
    """Addresses of what runs, and the shortest way to talk to it."""

    def __init__(self, state: dict[str, str]) -> None:
        """``state`` is what ``world.json`` holds."""
        self.kafka = state["kafka"]
        self.admin = state["admin"]
        self.sink = state["sink"]
        self.directory = pathlib.Path(state["directory"])
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.kafka, "log_level": 0}  # it outlives its broker by a moment
        )

    def kubectl(self, *words: str, config: str = "", stdin: str = "") -> str:
        """What kubectl prints; raises Refused where it refuses."""
        return kubectl(config or self.admin, *words, stdin=stdin)

    def objects(self, *words: str, config: str = "") -> list[dict[str, Any]]:
        """The items of ``kubectl get WORDS -o json``."""
        found = json.loads(self.kubectl("get", *words, "-o", "json", config=config))
        return list(found["items"]) if "items" in found else [found]

    def write(self, topic: registry.Topic, key: str, event: Event, partition: int = -1) -> None:
        """Put a record on a topic and wait until it is there."""
        failures: list[Any] = []
        self._producer.produce(
            topic.name,
            codec.encode(event),
            key=key.encode(),
            partition=PARTITION if partition < 0 else partition,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        assert self._producer.flush(20) == 0
        assert not failures, failures

    def lease(self, lease: leases.LeaseChanged) -> None:
        """Publish a lease's state, as the markets lane would."""
        self.write(registry.LEASES, lease.lease_id, lease)

    def device(self, node: str, name: str) -> leases.LeasedDevice:
        """A device as its ResourceSlice names it."""
        for one in self._slices():
            for device in one["spec"].get("devices") or ():
                if one["spec"]["nodeName"] == node and device["name"] == name:
                    facts = device.get("attributes") or {}
                    return leases.LeasedDevice(
                        node=node,
                        name=name,
                        driver=one["spec"]["driver"],
                        pool=one["spec"]["pool"]["name"],
                        uuid=facts.get("uuid", {}).get("string", ""),
                        device_class=_class(one["spec"]["driver"], device),
                        profile=facts.get("profile", {}).get("string", ""),
                    )
        raise AssertionError(f"no {name} on {node}")

    @functools.cache  # noqa: B019 - one world a process
    def _slices(self) -> list[dict[str, Any]]:
        return self.objects("resourceslices")

    def award(self, *places: tuple[str, str], agent: str = "tuner") -> leases.LeaseChanged:
        """A fresh lease of devices given as (node, name), not yet published."""
        devices = tuple(self.device(*place) for place in places)
        number = f"{os.getpid()}-{next(_NUMBERS)}-{time.time_ns()}"
        now_ms = time.time_ns() // 1_000_000
        nodes = sorted({node for node, _ in places})
        return leases.LeaseChanged(
            market=MARKET,
            lease_id=ids.lease_id(MARKET, number),
            bid_id=f"research/{agent}/k/{number}/0",
            tenant="research",
            agent=agent,
            state="awarded",
            epoch=3,
            window=1,
            market_pool="h100",
            shape=str(len(devices)),
            level=1,
            devices=devices,
            nodes=tuple(
                leases.LeasedNode(
                    node=node, cpu_millis=16_000, memory_mib=65_536, ephemeral_mib=65_536
                )
                for node in nodes
            ),
            price_micros=7,
            duration_ms=600_000,
            awarded_at_ms=now_ms,
            bind_by_ms=now_ms + 30_000,
        )

    def reported(self, lease: leases.LeaseChanged, kind: type[Event]) -> list[Any]:
        """The reports of one kind about a lease so far."""
        found = self.read(registry.REPORTS, 0.3)
        return [one for one in found if isinstance(one, kind) and one.lease_id == lease.lease_id]  # type: ignore[attr-defined]

    def bound(self, lease: leases.LeaseChanged) -> leases.LeaseChanged:
        """Publish an award, wait until it is reported bound, publish that as the market would."""
        self.lease(lease)
        until("bound", lambda: self.reported(lease, reports.LeaseBound))
        return self.move(lease, "bound")

    def move(self, lease: leases.LeaseChanged, state: leases.LeaseState) -> leases.LeaseChanged:
        """Publish the lease in another state, with the epoch and dates the market would give."""
        now_ms = time.time_ns() // 1_000_000
        epoch = lease.epoch + (state == "ending" and lease.state != "ending")
        begun = lease.bound_at_ms or (now_ms if state == "bound" else 0)
        moved = msgspec.structs.replace(
            lease,
            state=state,
            epoch=epoch,
            bound_at_ms=begun,
            ends_at_ms=begun + lease.duration_ms if begun else 0,
            cause="expired" if state in {"ending", "ended"} else "",
        )
        self.lease(moved)
        return moved

    def ended(self, lease: leases.LeaseChanged) -> leases.LeaseChanged:
        """Publish the ending, wait for the release of its epoch, publish the end."""
        ending = lease if lease.state == "ending" else self.move(lease, "ending")
        until("released", lambda: self.reported(ending, reports.LeaseReleased), 60)
        return self.move(ending, "ended")

    def read(self, topic: registry.Topic, wait_s: float = 1.0) -> list[Any]:
        """Every event of a topic so far."""
        return [event for _, event in self.records(topic, wait_s)]

    def records(self, topic: registry.Topic, wait_s: float = 1.0) -> list[tuple[int, Any]]:
        """Every (partition, event) of a topic so far."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.kafka, "group.id": "tests", "enable.auto.commit": False}
        )
        count = PARTITIONS.of(topic)
        consumer.assign(
            [confluent_kafka.TopicPartition(topic.name, number, 0) for number in range(count)]
        )
        found = []
        try:
            while record := consumer.poll(wait_s):
                assert not record.error(), record.error()
                found.append((record.partition(), codec.decode(topic, record.value())))
        finally:
            consumer.close()
        return found


def _class(driver: str, device: dict[str, Any]) -> str:
    """The class that it is sold by."""
    static = "mig" in device["name"] and not device.get("consumesCounters")
    name = "mig.nvidia.com" if static else driver
    return f"shared.{name}" if device.get("allowMultipleAllocations") else name


class Refused(AssertionError):
    """kubectl said no."""


class Process:
    """A child process running one function of ``commands_sinks``; its log is a file."""

    def __init__(self, log: pathlib.Path, call: str) -> None:
        """``call`` is Python, e.g. ``sink_claims('…', '…', 'main')``."""
        self.log = log
        code = (
            "import logging; logging.basicConfig(level=logging.INFO);"
            f"from bidplane_streams import commands_sinks; commands_sinks.{call}"
        )
        with log.open("a") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-c", code], stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._child.poll()

    def end(self) -> None:
        """Whatever happened to it, it is gone afterwards."""
        if self.code is None:
            self._child.kill()
            self._child.wait(20)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and wait."""
        self._child.send_signal(number)
        return self._child.wait(20)


def kubectl(config: str, *words: str, stdin: str = "") -> str:
    """What kubectl prints with a kubeconfig; raises Refused where it refuses."""
    argv = [str(assets.program("kubectl")), "--kubeconfig", config, *words]
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Refused(done.stderr.strip())
    return done.stdout


def until(what: str, ask: Callable[[], T], timeout_s: float = 30.0) -> T:
    """The first true answer; an AssertionError names what never came."""
    end = patience.deadline(timeout_s)
    answer = ask()
    while not answer:
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)
        answer = ask()
    return answer


@functools.cache
def shared() -> World:
    """One world for all tests of this process; it ends with the process."""
    given = os.environ.get("BIDPLANE_TEST_WORLD")  # a world that a developer keeps running
    if given:
        return World(json.loads((pathlib.Path(given) / "world.json").read_text()))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bidplane-world-"))
    with (directory / "world.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, __file__, str(directory), "4"], stdout=log, stderr=subprocess.STDOUT
        )
    atexit.register(_stop, child, directory)
    place = directory / "world.json"

    def ready() -> bool:
        assert child.poll() is None, (directory / "world.log").read_text()[-2000:]
        return place.exists()

    until("the world is ready", ready, READY_S)
    return World(json.loads(place.read_text()))


def _stop(child: subprocess.Popen[bytes], directory: pathlib.Path) -> None:
    child.terminate()
    child.wait(60)
    shutil.rmtree(directory, ignore_errors=True)


def create_topics(bootstrap: str) -> None:
    """Every topic of the registry, and the market."""
    client = admin.AdminClient({"bootstrap.servers": bootstrap})
    new = [
        admin.NewTopic(topic.name, PARTITIONS.of(topic), 1, config=topic.config())
        for topic in registry.all_topics()
    ]
    for made in client.create_topics(new).values():
        try:
            made.result(30)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise


async def _main(directory: pathlib.Path, nodes: int) -> None:
    """So many plain nodes, and a mixed one behind them."""
    async with system.System(directory, nodes=nodes + 1, mixed=1) as up:
        await asyncio.to_thread(create_topics, up.kafka)
        state = {
            "kafka": up.kafka,
            "admin": str(up.kubeconfig),
            "sink": str(up.host.kubeconfig("bidplane:claims")),
            "directory": str(directory),
        }
        World(state).write(
            registry.MARKETS,
            MARKET,
            markets.MarketDeclared(market=MARKET, partition=PARTITION),
            partition=0,
        )
        place = directory / "world.json.new"
        place.write_text(json.dumps(state))
        os.replace(place, directory / "world.json")  # noqa: PTH105 - atomic
        await up.until_stopped()


if __name__ == "__main__":
    asyncio.run(_main(pathlib.Path(sys.argv[1]).absolute(), int(sys.argv[2])))
