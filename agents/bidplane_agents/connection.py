"""Where Kafka is and how to speak to it.

Decides the options that every client of this package shares, and that an unreachable broker is one
sentence within ten seconds. Refuses to know topics.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from bidplane_agents.errors import BadInput, Unreachable

REACH_TIMEOUT_S: Final = 10.0
DEFAULT_DIR: Final = ".bidplane"
# The first one counts where none is named.
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")
# aiokafka's default of 100 ms makes every first attempt that meets a moving coordinator slow.
RETRY_BACKOFF_MS: Final = 20
_PORT_MAX: Final = 65_535
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")

Client = TypeVar("Client", AIOKafkaProducer, AIOKafkaConsumer)


class Connection(msgspec.Struct, frozen=True):
    """A bootstrap address, and options that go to every aiokafka client as they are (TLS, SASL)."""

    bootstrap: str
    options: dict[str, Any] = {}

    def producer(self, **more: Any) -> AIOKafkaProducer:
        """An idempotent producer: retries neither repeat nor reorder records."""
        given = {"acks": "all", "enable_idempotence": True, **self._shared(), **more}
        return AIOKafkaProducer(**given)

    def consumer(self, **more: Any) -> AIOKafkaConsumer:
        """A consumer without a group: this package only ever assigns and seeks."""
        given = {"enable_auto_commit": False, "auto_offset_reset": "earliest", **self._shared()}
        return AIOKafkaConsumer(**{**given, **more})

    def admin(self) -> AIOKafkaAdminClient:
        """An admin client."""
        return AIOKafkaAdminClient(**self._shared())

    def _shared(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": "bidplane",
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            **self.options,
        }

    @contextlib.asynccontextmanager
    async def opened(self, client: Client) -> AsyncIterator[Client]:
        """Start ``client`` and stop it at the end.

        Raises:
            Unreachable: no broker answered within ten seconds.
        """
        with self.reaching():
            try:
                async with asyncio.timeout(REACH_TIMEOUT_S):
                    await client.start()
            except BaseException:
                await client.stop()
                raise
        try:
            yield client
        finally:
            await client.stop()

    @contextlib.asynccontextmanager
    async def administered(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client, started and closed.

        Raises:
            Unreachable: no broker answered within ten seconds.
        """
        admin = self.admin()
        with self.reaching():
            try:
                async with asyncio.timeout(REACH_TIMEOUT_S):
                    await admin.start()
            except BaseException:
                await admin.close()
                raise
        try:
            yield admin
        finally:
            await admin.close()

    @contextlib.contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what aiokafka raises while nobody answers into one sentence.

        Raises:
            Unreachable: instead of time-outs, socket errors and Kafka errors.
        """
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            # A client's own words for "nobody listens there" are a list of internals.
            silent = isinstance(error, KafkaConnectionError) or not str(error)
            # Its clients tell a refusal of credentials from silence in their log alone.
            doubt = ", or it refuses these credentials" if self.options else ""
            detail = f"nobody answers{doubt}" if silent else str(error)
            raise Unreachable(
                f"Kafka at {self.bootstrap} cannot be reached ({detail}): start it, or name "
                "another with --kafka or BIDPLANE_KAFKA"
            ) from error


def from_environment(
    kafka: str = "", directory: str = "", environ: Mapping[str, str] = os.environ
) -> Connection:
    """``kafka``, else BIDPLANE_KAFKA, else what ``bidplane up`` wrote to DIR/state.json.

    Raises:
        BadInput: none of them names a broker, or a security setting cannot be used.
    """
    bootstrap = kafka or environ.get("BIDPLANE_KAFKA", "")
    if not bootstrap:
        bootstrap = _from_state(Path(working_directory(directory, environ)) / "state.json")
    return Connection(addresses("Kafka address ", bootstrap), security(environ))


def addresses(what: str, text: str) -> str:
    """``HOST:PORT`` or several with commas, without spaces; an IPv6 address stands in brackets.

    Raises:
        BadInput: one of them is none; ``what`` opens the sentence, as in ``--kafka ``.
    """
    given = [address.strip() for address in text.split(",")]
    for address in given:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise BadInput(f"{what}{address!r}: write HOST:PORT, several with commas between them")
        if not 0 < int(match.group(1)) <= _PORT_MAX:
            raise BadInput(f"{what}{address!r}: a port is a number from 1 to {_PORT_MAX}")
    return ",".join(given)


def working_directory(directory: str = "", environ: Mapping[str, str] = os.environ) -> str:
    """``directory``, else BIDPLANE_DIR, else ``.bidplane``."""
    return directory or environ.get("BIDPLANE_DIR", "") or DEFAULT_DIR


def _from_state(path: Path) -> str:
    try:
        address = orjson.loads(path.read_bytes()).get("kafka", "")
    except (OSError, orjson.JSONDecodeError, AttributeError):
        address = ""
    if not isinstance(address, str) or not address:
        raise BadInput(
            f"no Kafka address: give --kafka HOST:PORT, set BIDPLANE_KAFKA, or run `bidplane up` "
            f"({path} names none)"
        )
    return address


def security(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """TLS and SASL by environment and files, for every client of every process.

    Secrets are never arguments. Files are read anew at each call, so that what a rotation wrote
    counts for the next client.

    Raises:
        BadInput: a setting cannot be used.
    """
    protocol = _one_of(environ, "BIDPLANE_KAFKA_SECURITY_PROTOCOL", PROTOCOLS)
    if protocol == "PLAINTEXT":
        return {}
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = _tls(environ)
    if protocol.startswith("SASL"):
        user = environ.get("BIDPLANE_KAFKA_SASL_USERNAME", "")
        if not user:
            raise BadInput(f"BIDPLANE_KAFKA_SASL_USERNAME is empty: {protocol} wants a user")
        options["sasl_mechanism"] = _one_of(environ, "BIDPLANE_KAFKA_SASL_MECHANISM", MECHANISMS)
        options["sasl_plain_username"] = user
        options["sasl_plain_password"] = _secret(environ, "BIDPLANE_KAFKA_SASL_PASSWORD_FILE")
    return options


def client_options(bootstrap: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What every aiokafka client of a process takes: where Kafka is, and how to speak to it.

    Raises:
        BadInput: a security setting cannot be used.
    """
    return {"bootstrap_servers": bootstrap, **security(environ)}


def _one_of(environ: Mapping[str, str], name: str, words: Sequence[str]) -> str:
    word = environ.get(name) or words[0]
    if word not in words:
        raise BadInput(f"{name}={word!r}: write one of {', '.join(words)}")
    return word


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    authority = environ.get("BIDPLANE_KAFKA_CA_FILE") or None
    certificate = environ.get("BIDPLANE_KAFKA_CERT_FILE", "")
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, environ.get("BIDPLANE_KAFKA_KEY_FILE") or None)
    except OSError as error:  # broken certificates are OSErrors too
        raise BadInput(f"TLS for Kafka: {error}: check the BIDPLANE_KAFKA_*_FILE paths") from error
    return context


def _secret(environ: Mapping[str, str], name: str) -> str:
    try:
        return Path(environ.get(name, "")).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInput(f"{name}: {error}: name a file that holds the password") from error
