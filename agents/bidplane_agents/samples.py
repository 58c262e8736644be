"""Checking records against the contract: samples from a file, or what a broker holds.

A sample is one JSON object a line: ``{"topic", "value", "key"?, "headers"?}``, where ``value`` is
the record's JSON, or its exact text as a string (which a signature needs).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bidplane_agents import log
from bidplane_agents.connection import Connection
from bidplane_agents.errors import BadInput
from bidplane_topics import codec, envelope, registry
from bidplane_topics import errors as contract


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a sample file. ``public_key`` (base64), where given, must have signed the value."""

    topic: str
    value: Any
    key: str = ""
    headers: dict[str, str] = {}
    public_key: str = ""

    def raw(self) -> bytes:
        """The record's value as bytes."""
        return self.value.encode() if isinstance(self.value, str) else orjson.dumps(self.value)


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How many records of each topic are as the contract says."""

    records: dict[str, int]


def check(sample: Sample) -> msgspec.Struct:
    """The event in a sample.

    Raises:
        ContractError: unknown topic, no event of it, or not signed by the key it names.
    """
    topic = registry.by_name(sample.topic)
    if not topic.events:
        raise contract.MalformedRecord(f"{topic.name} holds no events of the contract")
    if sample.public_key:
        public = base64.b64decode(sample.public_key)
        headers = [(name, text.encode()) for name, text in sample.headers.items()]
        envelope.verify(topic.name, sample.raw(), headers, {envelope.key_of(headers): public})
    decoded: msgspec.Struct = codec.decode(topic, sample.raw())
    return decoded


def verify_file(path: Path) -> Verified:
    """Check every line.

    Raises:
        BadInput: file, line and field of the first that is wrong.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: give a file of sample records") from error
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = msgspec.json.decode(line, type=Sample)
            check(sample)
        except (msgspec.DecodeError, contract.ContractError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}, line {number}: {error}") from error
        counts[sample.topic] = counts.get(sample.topic, 0) + 1
    if not counts:
        raise BadInput(f"{path}: holds no sample records: write one JSON object a line")
    return Verified(records=counts)


async def verify_live(connection: Connection, names: list[str]) -> Verified:
    """Check every record that the broker holds now.

    Raises:
        BadInput: topic, partition, offset and field of the first that is wrong.
        Unreachable: Kafka does not answer.
    """
    topics = [registry.by_name(name) for name in names] or list(registry.TOPICS)
    counts: dict[str, int] = {}
    for topic in topics:
        counts[topic.name] = 0
        async for record in log.read(connection, topic.name):
            if record.value is None:
                continue
            try:
                codec.decode(topic, record.value)
            except contract.MalformedRecord as error:
                where = f"partition {record.partition}, offset {record.offset}"
                raise BadInput(f"{where}: {error}") from error
            counts[topic.name] += 1
    return Verified(records=counts)
