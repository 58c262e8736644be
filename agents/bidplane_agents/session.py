"""An agent's voice: signs envelopes and puts them on its tenant's partition.

Decides sequence, expiry and order of sending. Refuses to read anything: answers are the inbox's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from collections.abc import Sequence as Series
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from bidplane_agents.clock import Clock
from bidplane_agents.connection import REACH_TIMEOUT_S, Connection
from bidplane_agents.errors import BadInput, Unreachable
from bidplane_agents.profiles import Profile
from bidplane_agents.sequence import Sequence
from bidplane_topics import bids, codec, envelope, ids, registry
from bidplane_topics.telemetry import DeviceSampled

# Long enough for a broker's restart; an envelope that arrives later is refused as expired.
EXPIRY_MS: Final = 60_000
TOPIC_TIMEOUT_S: Final = 5.0


class Sent(NamedTuple):
    """An acknowledged envelope: where it stands, and an id for each of its commands."""

    sequence: int
    partition: int
    offset: int
    command_ids: tuple[str, ...]

    def place(self) -> str:
        """The record's own id, by which an outcome about the whole record names it."""
        return ids.joined(registry.BIDS.name, self.partition, self.offset)


class SealedRecord(NamedTuple):
    """A record ready to send, byte for byte."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    sequence: int
    command_ids: tuple[str, ...]


class Session:
    """A producer that speaks for one agent."""

    def __init__(
        self, profile: Profile, connection: Connection, sequence: Sequence, clock: Clock
    ) -> None:
        self.profile = profile
        self.sequence = sequence
        self._connection = connection
        self._clock = clock
        self._key = profile.signing_key()
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()
        self._closing = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Connect.

        Raises:
            Unreachable: no broker answers.
            BadInput: the broker has no bidplane topics.
        """
        opened = self._connection.opened(self._connection.producer())
        producer = await self._closing.enter_async_context(opened)
        self._producer = producer
        try:
            async with asyncio.timeout(TOPIC_TIMEOUT_S):
                await producer.partitions_for(registry.BIDS.name)
        except TimeoutError as error:
            await self.close()
            raise BadInput(
                f"Kafka at {self._connection.bootstrap} has no topic {registry.BIDS.name}: "
                "run `bidplane topics apply`"
            ) from error

    async def close(self) -> None:
        """Send what is buffered, then disconnect."""
        self._producer = None
        await self._closing.aclose()

    def seal(self, commands: Series[bids.Command]) -> SealedRecord:
        """Sign ``commands`` with the next sequence.

        Raises:
            BadInput: more commands or bytes than one record may carry.
        """
        if not 1 <= len(commands) <= bids.COMMANDS_MAX:
            raise BadInput(f"{len(commands)} commands: one record carries 1 to {bids.COMMANDS_MAX}")
        now_ms, profile = self._clock(), self.profile
        sealed = bids.Envelope(
            v=1, tenant=profile.tenant, agent=profile.agent, sequence=self.sequence.next(now_ms),
            expires_at_ms=now_ms + EXPIRY_MS, commands=tuple(commands),
        )  # fmt: skip
        value, headers = envelope.seal(sealed, self._key)
        if len(value) > bids.RECORD_BYTES_MAX:
            raise BadInput(f"{len(value)} bytes: one record carries {bids.RECORD_BYTES_MAX}")
        names = tuple(
            ids.bid_id(profile.tenant, profile.agent, self._key.key_id, sealed.sequence, index)
            for index in range(len(commands))
        )
        return SealedRecord(
            registry.BIDS.name, profile.partition, profile.id.encode(), value, headers,
            sealed.sequence, names,
        )  # fmt: skip

    async def submit(self, commands: Series[bids.Command]) -> Sent:
        """Sign, send, and wait for the broker's acknowledgement.

        Raises:
            BadInput: more than one record may carry.
            Unreachable: not acknowledged in ten seconds; it may still arrive.
        """
        with self._connection.reaching():
            # Numbers must reach the partition in the order in which they were given out.
            async with self._turn, asyncio.timeout(REACH_TIMEOUT_S):
                record = self.seal(commands)
                future = await self._opened().send(
                    record.topic, record.value, record.key, record.partition,
                    headers=record.headers,
                )  # fmt: skip
            async with asyncio.timeout(REACH_TIMEOUT_S):
                written = await asyncio.shield(future)
        return Sent(record.sequence, written.partition, written.offset, record.command_ids)

    async def publish(self, samples: Iterable[DeviceSampled]) -> None:
        """Hand telemetry to the producer and go on: a lost sample harms nobody."""
        for sample in samples:
            key = ids.agent_id(sample.tenant, sample.agent).encode()
            future = await self._opened().send(registry.TELEMETRY.name, codec.encode(sample), key)
            future.add_done_callback(_forget)

    def _opened(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise Unreachable("the client is closed: use it inside `async with`")
        return self._producer


def _forget(future: asyncio.Future[Any]) -> None:
    """Take the result, so that asyncio does not warn of an error that nobody waits for."""
    if not future.cancelled():
        future.exception()
