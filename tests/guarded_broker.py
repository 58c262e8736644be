"""An embedded Kafka that asks who is there: TLS, SCRAM users, and rights by access control lists.

Decides the broker's settings and how a test gives users their rights. The broker's own user is a
super user; only the controller's loopback listener takes people without a name.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import admin

from bidplane_streams.embedded import certs
from bidplane_streams.embedded.kafka import Kafka
from bidplane_topics import rights

ROOT = "root"
MECHANISM = "SCRAM-SHA-256"
_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"
_KINDS = {
    "topic": admin.ResourceType.TOPIC,
    "group": admin.ResourceType.GROUP,
    "transactionalId": admin.ResourceType.TRANSACTIONAL_ID,
}
_PATTERNS = {
    "literal": admin.ResourcePatternType.LITERAL,
    "prefix": admin.ResourcePatternType.PREFIXED,
}
_OPERATIONS = {
    "Read": admin.AclOperation.READ,
    "Write": admin.AclOperation.WRITE,
    "Create": admin.AclOperation.CREATE,
    "Describe": admin.AclOperation.DESCRIBE,
    "DescribeConfigs": admin.AclOperation.DESCRIBE_CONFIGS,
}


def _settings(pki: pathlib.Path, password: str) -> str:
    login = f'{_LOGIN} username="{ROOT}" password="{password}";'
    return f"""
ssl.keystore.type=PEM
ssl.keystore.location={pki / "broker.pem"}
ssl.truststore.type=PEM
ssl.truststore.location={pki / "ca.crt"}
sasl.enabled.mechanisms={MECHANISM}
sasl.mechanism.inter.broker.protocol={MECHANISM}
listener.name.client.{MECHANISM.lower()}.sasl.jaas.config={login}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{ROOT};User:ANONYMOUS
"""


class GuardedKafka(Kafka):
    """One broker; ``password`` is its own user's."""

    password = "root-of-a-test"

    def __init__(self, directory: pathlib.Path) -> None:
        """Makes its authority and certificate."""
        super().__init__(directory)
        authority = certs.Authority(self.directory / "pki", "kafka")
        authority.server("broker")
        both = authority.path("broker.key").read_bytes() + authority.path("broker.crt").read_bytes()
        certs.write_secret(authority.path("broker.pem"), both)
        self.pki = authority.directory

    def properties(self, chosen: Mapping[str, int]) -> str:
        """As ever, but its clients' listener is guarded."""
        plain = super().properties(chosen)
        guarded = plain.replace("PLAINTEXT:PLAINTEXT", "CLIENT:SASL_SSL")
        guarded = guarded.replace("PLAINTEXT://", "CLIENT://")
        guarded = guarded.replace("listener.name=PLAINTEXT", "listener.name=CLIENT")
        return guarded + _settings(self.pki, self.password)

    def format_words(self) -> Sequence[str]:
        """Its own user must be there before it starts."""
        return ("--add-scram", f"{MECHANISM}=[name={ROOT},password={self.password}]")

    def client_options(self) -> dict[str, Any]:
        """Asked as its own user."""
        from bidplane_agents import connection

        return connection.client_options(self.bootstrap, self.environment(ROOT, self.password))

    def environment(self, user: str, password: str) -> dict[str, str]:
        """BIDPLANE_KAFKA_* with which a process speaks as ``user``."""
        with tempfile.NamedTemporaryFile(
            "w", dir=self.pki, prefix=f"{user}.", suffix=".password", delete=False
        ) as secret:
            secret.write(password + "\n")
        return {
            "BIDPLANE_KAFKA": self.bootstrap,
            "BIDPLANE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "BIDPLANE_KAFKA_SASL_MECHANISM": MECHANISM,
            "BIDPLANE_KAFKA_SASL_USERNAME": user,
            "BIDPLANE_KAFKA_SASL_PASSWORD_FILE": secret.name,
            "BIDPLANE_KAFKA_CA_FILE": str(self.pki / "ca.crt"),
        }

    def admit(self, user: str, allowed: Iterable[rights.Right]) -> dict[str, str]:
        """Make a user with these rights; the environment with which it speaks."""
        hand = admin.AdminClient(
            {
                "bootstrap.servers": self.bootstrap, "security.protocol": "SASL_SSL",
                "sasl.mechanism": MECHANISM, "sasl.username": ROOT, "sasl.password": self.password,
                "ssl.ca.location": str(self.pki / "ca.crt"),
            }
        )  # fmt: skip
        info = admin.ScramCredentialInfo(admin.ScramMechanism.SCRAM_SHA_256, 4096)
        made = admin.UserScramCredentialUpsertion(user, info, f"{user}-secret".encode())
        acls = [
            admin.AclBinding(
                _KINDS[right.kind], right.name, _PATTERNS[right.pattern], f"User:{user}", "*",
                _OPERATIONS[operation], admin.AclPermissionType.ALLOW,
            )
            for right in allowed
            for operation in right.operations
        ]  # fmt: skip
        for done in (
            *hand.alter_user_scram_credentials([made]).values(), *hand.create_acls(acls).values(),
        ):  # fmt: skip
            done.result(timeout=30)
        return self.environment(user, f"{user}-secret")
