"""The embedded Kafka is a real broker whose data outlives its process."""

import pathlib

import aiokafka
import pytest
from aiokafka import admin
from aiokafka import errors as kafka_errors

from bidplane_streams.embedded import kafka

TOPIC = "kept"


async def _create(bootstrap: str) -> None:
    client = admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        await client.create_topics([admin.NewTopic(TOPIC, 1, 1)])
    finally:
        await client.close()


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, request_timeout_ms=4000
    ) as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def _read(bootstrap: str, count: int) -> list[bytes]:
    place = aiokafka.TopicPartition(TOPIC, 0)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([place])
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def test_records_survive_a_kill_and_a_restart(tmp_path: pathlib.Path) -> None:
    """What was acknowledged before kill -9 is there after it, at the same address."""
    broker = kafka.Kafka(tmp_path)
    await broker.start()
    try:
        address = broker.bootstrap
        await _create(address)
        await _send(address, TOPIC, b"before")
        await broker.kill9()
        assert broker.pid is None
        await broker.start()
        assert broker.bootstrap == address
        await _send(address, TOPIC, b"after")
        assert await _read(address, 2) == [b"before", b"after"]
    finally:
        await broker.stop()
    again = kafka.Kafka(tmp_path)
    await again.start()
    try:
        assert await _read(again.bootstrap, 2) == [b"before", b"after"]
    finally:
        await again.stop()


async def test_an_unknown_topic_is_not_created(tmp_path: pathlib.Path) -> None:
    """A misspelt topic is an error: only the registry's owner makes topics."""
    broker = kafka.Kafka(tmp_path)
    await broker.start()
    try:
        with pytest.raises(kafka_errors.KafkaError):
            await _send(broker.bootstrap, "misspelt", b"x")
    finally:
        await broker.stop()
