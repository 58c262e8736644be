"""The chart's audit, run as it is rendered, at a Kafka that asks who is there."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

import guarded_broker
import pod_contents
from bidplane_agents import connection, errors, operator, topology
from bidplane_agents.audit import reading
from bidplane_topics import registry, rights
from guarded_broker import GuardedKafka
from helm import rendered
from lane_broker import Broker

NAME: Final = "bidplane-auditor"
STRIMZI: Final = rendered.ROOT / "helm" / "examples" / "strimzi.yaml"
TIMEOUT_S: Final = 120
Object = dict[str, Any]


class Auditor:
    """What the chart renders of it, and a place that stands for its pod's volumes."""

    def __init__(self, broker: GuardedKafka, folder: pathlib.Path) -> None:
        """Its Kafka user has the rights of its KafkaUser; there are topics, a market, an agent."""
        self.broker, self.folder = broker, folder
        self.operator = connection.from_environment(
            environ=broker.admit("operator", rights.operator())
        )
        (user,) = _named(rendered.objects(STRIMZI), "KafkaUser")
        acls = user["spec"]["authorization"]["acls"]
        self.rights = [_right(one) for one in acls]
        self.user = broker.admit(NAME, self.rights)
        asyncio.run(self._registered())

    async def _registered(self) -> None:
        await topology.apply(self.operator, registry.Partitions())
        async with operator.Operator(self.operator) as hand:
            await hand.create_market({"market": "pool-a"})
            await hand.register_agent("research/tuner")
            await hand.grant("research/tuner", 5_000_000)

    def run(self) -> subprocess.CompletedProcess[str]:
        """The container of its pod: command and environment as rendered, and nothing else."""
        template = _template(self.broker.bootstrap)
        (container,) = rendered.containers(template)
        (secrets,) = (one["projected"] for one in template["spec"]["volumes"] if "projected" in one)
        self._mount([item for one in secrets["sources"] for item in one["secret"]["items"]])
        places = {"/etc/bidplane/kafka": str(self.folder), "/tmp": str(self.folder)}
        env = {
            one["name"]: pod_contents.relocated(one["value"], places) for one in container["env"]
        }
        argv = [sys.executable, "-m", "bidplane_agents.cli", *container["args"]]
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=self.folder,
            env={"PYTHONPATH": os.pathsep.join(sys.path), **env},
        )  # fmt: skip

    def _mount(self, items: list[Object]) -> None:
        """Its Secrets' files, where the pod would find them."""
        files = {
            "password": self.user["BIDPLANE_KAFKA_SASL_PASSWORD_FILE"],
            "ca.crt": self.user["BIDPLANE_KAFKA_CA_FILE"],
        }
        for item in items:
            content = pathlib.Path(files[item["path"]]).read_bytes()
            (self.folder / item["path"]).write_bytes(content)


def _template(bootstrap: str) -> Object:
    """The auditor's pod for this Kafka, which knows another mechanism than Strimzi."""
    settings = (
        "auditor.enabled=true", f"kafka.bootstrap={bootstrap}", "kafka.protocol=SASL_SSL",
        f"kafka.sasl.mechanism={guarded_broker.MECHANISM}", "kafka.sasl.username=all",
        "kafka.sasl.existingSecret=all", "kafka.tls.caSecret=ca",
        f"auditor.kafka.username={NAME}", "auditor.kafka.existingSecret=own",
    )  # fmt: skip
    words = [word for one in settings for word in ("--set", one)]
    found = rendered.objects(rendered.CHART / "values.yaml", *words)
    pods = dict(rendered.pods(found))
    return pods[f"CronJob/{NAME}"]


def _named(found: tuple[Object, ...], kind: str) -> list[Object]:
    return [one for one in found if (one["kind"], one["metadata"]["name"]) == (kind, NAME)]


def _right(acl: Object) -> rights.Right:
    resource = acl["resource"]
    return rights.Right(
        resource["type"], resource["name"], tuple(acl["operations"]), resource["patternType"]
    )


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auditor]:
    """The auditor and its Kafka."""
    with Broker(tmp_path_factory.mktemp("guarded"), GuardedKafka) as broker:
        assert isinstance(broker.kafka, GuardedKafka)
        yield Auditor(broker.kafka, tmp_path_factory.mktemp("pod"))


def test_the_audit_comes_to_its_verdict_with_its_own_rights(auditor: Auditor) -> None:
    """As a Kafka user with the rights of the chart's KafkaUser it reads all that it needs."""
    done = auditor.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all promises kept\n")
    assert "AuthorizationFailed" not in done.stderr


async def test_an_auditor_that_may_not_read_all_comes_to_no_verdict(auditor: Auditor) -> None:
    """Without the right to one topic it says so, instead of judging the rest."""
    own = [one for one in auditor.rights if one.name != registry.LEASES.name]
    user = auditor.broker.admit("short-sighted", own)
    with pytest.raises(errors.BadInput, match=f"holds no {registry.LEASES.name}, or this user"):
        await reading.read_log(connection.from_environment(environ=user), print)


async def _write(reached: connection.Connection) -> None:
    """An entry of the ledger that nobody can read."""
    async with reached.opened(reached.producer()) as producer:
        await producer.send_and_wait(registry.LEDGER.name, b"{", partition=0)


async def test_the_auditor_may_not_write(auditor: Auditor) -> None:
    """Kafka refuses its records, so it cannot change what it judges."""
    with pytest.raises(errors.Unreachable, match="AuthorizationFailed"):
        await _write(connection.from_environment(environ=auditor.user))


async def test_a_broken_promise_is_the_exit_code_that_fails_its_job(auditor: Auditor) -> None:
    """After an entry that no lane wrote it ends with the code of the Job's podFailurePolicy."""
    root = auditor.broker.environment(guarded_broker.ROOT, auditor.broker.password)
    await _write(connection.from_environment(environ=root))
    done = auditor.run()
    (cron,) = _named(rendered.objects(STRIMZI), "CronJob")
    policy = cron["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]
    assert policy["action"] == "FailJob"
    assert [done.returncode] == policy["onExitCodes"]["values"], done.stderr
    assert registry.LEDGER.name in done.stdout
