"""One batch that cannot be read stops nobody: it is left out, and what comes behind it is read."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record._crecords.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from adapters.kafka_reading import ReadableRecords
from adapters.settings import Settings
from tests.forging import made_unreadable, send_unreadable

GZIP = 1


def batch(offset: int, value: bytes, *, compression: int = 0, name: str = "x") -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 0, b"key", value, [(name, b"")])
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, offset)
    return bytes(built)


def read(kind: type[Any], *batches: bytes) -> tuple[list[bytes], int]:
    """The values, and the offset that is fetched next."""
    records = kind(TopicPartition("t", 0), MemoryRecords(b"".join(batches)), [], 0, None, None, True, READ_UNCOMMITTED)
    return [each.value for each in records], records.next_fetch_offset


UNREADABLE = made_unreadable(batch(1, b"", name="QQQQ"))


def test_what_cannot_be_decoded_is_left_out() -> None:
    with pytest.raises(UnicodeDecodeError):
        read(ReadableRecords.__base__, batch(0, b"a"), UNREADABLE, batch(2, b"b"))
    assert read(ReadableRecords, batch(0, b"a"), UNREADABLE, batch(2, b"b")) == ([b"a", b"b"], 3)
    assert read(ReadableRecords, UNREADABLE) == ([], 2)


def test_what_is_compressed_is_left_out_without_a_look_into_it() -> None:
    """Two megabytes can hold two gigabytes."""
    large = batch(1, b"\0" * 500_000, compression=GZIP)
    assert len(large) < 5_000
    assert read(ReadableRecords, batch(0, b"a"), large, batch(2, b"b")) == ([b"a", b"b"], 3)


def test_what_was_damaged_on_the_way_is_fetched_again() -> None:
    damaged = bytearray(batch(1, b"value"))
    damaged[-4] ^= 1
    with pytest.raises(CorruptRecordException):
        read(ReadableRecords, batch(0, b"a"), bytes(damaged))


@pytest.mark.servers
async def test_a_consumer_gets_past_a_strangers_record(settings: Settings, topics: None) -> None:
    assert fetcher.PartitionRecords is ReadableRecords
    topic = f"{settings.topic_prefix}orders"
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.kafka_url) as producer,
        AIOKafkaProducer(bootstrap_servers=settings.kafka_url, compression_type="gzip") as compressing,
    ):
        await producer.send_and_wait(topic, b"a", partition=0)
        await send_unreadable(producer, topic, 0)
        await compressing.send_and_wait(topic, b"\0" * 200_000, partition=0)
        await producer.send_and_wait(topic, b"b", partition=0)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=settings.kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found = [(await consumer.getone()).value for _ in range(3)]
    finally:
        await consumer.stop()
    assert found == [b"a", b"\0" * 200_000, b"b"]  # the broker has unpacked the compressed one
