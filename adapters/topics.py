"""The topics on Kafka, as the relay needs them: see `streams.ports.Topics`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from adapters import kafka
from adapters.brokers import Brokers
from adapters.record_signatures import RecordSignatures
from adapters.relay_store import Partition
from adapters.settings import Settings
from adapters.wire import Linked, NotOurs, key_of

# What tells that Kafka is away or busy; a new producer goes on.
TOPICS_AWAY: Final = (KafkaError, TimeoutError, ConnectionError)
SEND_S_MAX: Final = 60.0
READ_S_MAX: Final = 60.0
READ_WITHIN_MS: Final = 500


class OpenKafkaTopics:
    """See `streams.ports.OpenTopics`."""

    def __init__(self, producer: AIOKafkaProducer, brokers: Brokers, prefix: str, signatures: RecordSignatures) -> None:
        self._producer = producer
        self._brokers = brokers
        self._prefix = prefix
        self._signatures = signatures

    async def send(self, records: Sequence[Linked]) -> list[int]:
        by_partition: dict[Partition, list[int]] = {}
        for index, linked in enumerate(records):
            by_partition.setdefault((linked.record.context, linked.record.shard), []).append(index)
        waiting, batches = [], []
        for partition, indexes in by_partition.items():
            topic, number = self._named(partition)
            for batch, contained in self._batches(records, indexes):
                waiting.append(await self._producer.send_batch(batch, topic, partition=number))
                batches.append(contained)
        async with asyncio.timeout(SEND_S_MAX):
            stored = await asyncio.gather(*waiting)
        offsets = [-1] * len(records)
        for metadata, contained in zip(stored, batches, strict=True):
            for offset, index in enumerate(contained, metadata.offset):
                offsets[index] = offset
        return offsets

    def _batches(self, records: Sequence[Linked], indexes: Sequence[int]) -> Iterator[tuple[Any, list[int]]]:
        """One partition's records in batches of our own making: a future for each, not for every record."""
        batch, contained = self._producer.create_batch(), list[int]()
        for index in indexes:
            record = records[index].record
            message = {
                "key": key_of(record),
                "value": record.state,
                "headers": self._signatures.headers_of(records[index]),
                "timestamp": None,
            }
            if batch.append(**message) is None:  # it is full
                yield batch, contained
                batch, contained = self._producer.create_batch(), []
                if batch.append(**message) is None:
                    raise MessageSizeTooLargeError(f"{record.event_type} at position {record.position}")
            contained.append(index)
        batch.close()
        yield batch, contained

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        wanted = {self._named(partition): partition for partition in partitions}
        async with self._reading() as consumer:
            ends = await consumer.end_offsets(list(wanted))
        return {partition: ends[named] for named, partition in wanted.items()}

    async def outermost(self, offsets: Mapping[Partition, int]) -> dict[Partition, tuple[Linked, Linked]]:
        named = {self._named(partition): partition for partition in offsets}
        async with self._reading(max_partition_fetch_bytes=1) as consumer:
            starts, ends = await consumer.beginning_offsets(list(named)), await consumer.end_offsets(list(named))
            there = {each: offsets[named[each]] for each in named}
            there = {each: offset for each, offset in there.items() if starts[each] <= offset < ends[each]}
            first = await _read(consumer, {each: (starts[each], starts[each]) for each in there}, self._linked)
            last = await _read(consumer, {each: (offset, offset) for each, offset in there.items()}, self._linked)
        return {named[each]: (first[each][0], last[each][0]) for each in there if first[each] and last[each]}

    async def between(self, offsets: Mapping[Partition, tuple[int, int]]) -> dict[Partition, list[Linked]]:
        named = {self._named(partition): partition for partition in offsets}
        async with self._reading(auto_offset_reset="earliest") as consumer:
            found = await _read(consumer, {each: offsets[named[each]] for each in named}, self._linked)
        return {named[each]: its for each, its in found.items()}

    async def cut(self, before: Mapping[Partition, int]) -> None:
        admin = AIOKafkaAdminClient(**self._brokers.client_options())
        await admin.start()
        try:
            await admin.delete_records(
                {self._named(partition): RecordsToDelete(before_offset=offset) for partition, offset in before.items()}
            )
        finally:
            await admin.close()

    @asynccontextmanager
    async def _reading(self, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(**self._brokers.client_options(), enable_auto_commit=False, **options)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    def _linked(self, message: Any) -> Linked | None:
        try:
            return self._signatures.read(message)
        except NotOurs:
            return None

    def _named(self, partition: Partition) -> TopicPartition:
        context, shard = partition
        return TopicPartition(self._prefix + context, shard)


async def _read(
    consumer: AIOKafkaConsumer,
    offsets: Mapping[TopicPartition, tuple[int, int]],
    linked_of: Callable[[Any], Linked | None],
) -> dict[TopicPartition, list[Linked]]:
    """The records from the first offset up to and with the second, of those that are the relay's and still there.

    Raises TimeoutError."""
    found: dict[TopicPartition, list[Linked]] = {partition: [] for partition in offsets}
    if not offsets:
        return found
    consumer.assign(list(offsets))
    for partition, (first, _) in offsets.items():
        consumer.seek(partition, first)
    unread = set(offsets)
    async with asyncio.timeout(READ_S_MAX):
        while unread:
            batches = await consumer.getmany(*unread, timeout_ms=READ_WITHIN_MS)
            for partition, messages in batches.items():
                first, last = offsets[partition]
                read = (linked_of(message) for message in messages if first <= message.offset <= last)
                found[partition] += [linked for linked in read if linked is not None]
                if messages[-1].offset >= last:
                    unread.discard(partition)
            if not batches:
                # A topic that was made again meanwhile has no such record, and would be waited for.
                ends = await consumer.end_offsets(list(unread))
                unread = {partition for partition in unread if ends[partition] > offsets[partition][1]}
    return found


class KafkaTopics:
    """See `streams.ports.Topics`."""

    def __init__(self, settings: Settings, signatures: RecordSignatures) -> None:
        self._settings = settings
        self._signatures = signatures

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenKafkaTopics]:
        settings = self._settings
        await kafka.ensure_topics(
            settings.brokers,
            prefix=settings.topic_prefix,
            replication_factor=settings.topic_replication_factor,
            min_insync_replicas=settings.topic_min_insync_replicas,
        )
        async with kafka.producer(settings.brokers) as producer:
            yield OpenKafkaTopics(producer, settings.brokers, settings.topic_prefix, self._signatures)
