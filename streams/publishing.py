"""Sending records to their partitions, and publishing a partition that lost its records again from the log.

A lost partition is cut to nothing first, so that its records stand in log order from the start: a reader from
the beginning sees every event once and in order, and one that had read on drops what it knows by position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import psycopg
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from adapters.log import EventLog, LogRecord
from adapters.settings import Settings
from adapters.wire import headers_of

log = structlog.get_logger()

EVENTS_A_BATCH: Final = 1_000
SEND_S_MAX: Final = 60.0
LOST: Final = 2**62  # an offset no partition reaches, so that it counts as emptied until it is published again

# One to which nothing was published has no row yet; whatever is in it is not ours.
_MARK_LOST: Final = (
    "INSERT INTO relay_partitions (context, shard, position, kafka_offset)"
    " SELECT l.context, l.shard, 0, %s FROM unnest(%s::text[], %s::smallint[]) AS l (context, shard)"
    " ON CONFLICT (context, shard) DO UPDATE SET kafka_offset = excluded.kafka_offset"
)
# Per partition (context, shard): the last position published, and the offset it got.
Partitions = dict[tuple[str, int], tuple[int, int]]


class EmptiedAgain(Exception):
    """A partition lost its records while they were being published again; begin once more."""


async def send(
    producer: AIOKafkaProducer,
    prefix: str,
    records: Sequence[LogRecord],
    partitions: Partitions,
) -> tuple[Partitions, list[tuple[str, int]]]:
    """Send in order, wait for every acknowledgement; returns last position and offset of each partition touched,
    and the partitions whose offsets fell: they were emptied or made again meanwhile.

    Raises KafkaError or TimeoutError; then some may have been stored, and all are to be sent again."""
    last = {key: position for key, (position, _) in partitions.items()}
    waiting = []
    for record in records:
        key = (record.context, record.shard)
        waiting.append(
            await producer.send(
                prefix + record.context,
                value=record.state,
                key=str(record.aggregate_id).encode(),
                partition=record.shard,
                headers=headers_of(record, previous=last.get(key, 0)),
            )
        )
        last[key] = record.position
    async with asyncio.timeout(SEND_S_MAX):
        stored = await asyncio.gather(*waiting)
    ends: Partitions = {}
    emptied: list[tuple[str, int]] = []
    for record, metadata in zip(records, stored, strict=True):
        key = (record.context, record.shard)
        _, before = ends.get(key, partitions.get(key, (0, -1)))
        # Offsets only rise, for as long as the partition is the same one.
        if metadata.offset <= before and key not in emptied:
            emptied.append(key)
        ends[key] = (record.position, metadata.offset)
    # Whoever stores these ends and dies before publishing again leaves the mark that it has to be done.
    ends.update({key: (ends[key][0], LOST) for key in emptied})
    return ends, emptied


async def ends_before(settings: Settings, partitions: Partitions) -> list[tuple[str, int]]:
    """The partitions that hold fewer records than were published to them."""
    if not partitions:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_url, enable_auto_commit=False)
    await consumer.start()
    try:
        wanted = {
            TopicPartition(settings.topic_prefix + context, shard): (context, shard) for context, shard in partitions
        }
        ends = await consumer.end_offsets(list(wanted))
        return [key for partition, key in wanted.items() if ends[partition] <= partitions[key][1]]
    finally:
        await consumer.stop()


async def mark_lost(connection: psycopg.AsyncConnection[Any], lost: Sequence[tuple[str, int]]) -> None:
    """Have the leader publish these partitions again, within its next look at their ends."""
    contexts, shards = [context for context, _ in lost], [shard for _, shard in lost]
    await connection.execute(_MARK_LOST, [LOST, contexts, shards])


async def marked_lost(connection: psycopg.AsyncConnection[Any]) -> list[tuple[str, int, int]]:
    """The partitions that are to be published again: context, shard, and the position they had."""
    rows = await connection.execute(
        "SELECT context, shard, position FROM relay_partitions WHERE kafka_offset = %s", [LOST]
    )
    return [(context, shard, position) for context, shard, position in await rows.fetchall()]


async def republish(
    connection: psycopg.AsyncConnection[Any],
    producer: AIOKafkaProducer,
    event_log: EventLog,
    settings: Settings,
    partitions: Partitions,
    emptied: Sequence[tuple[str, int]],
) -> None:
    """Publish these partitions again, up to the position they had. May be interrupted anywhere: they are marked
    as lost until they are complete, so the next leader begins again."""
    await mark_lost(connection, emptied)
    await _cut(settings, emptied)
    for context, shard in emptied:
        until, _ = partitions[context, shard]
        done: Partitions = {(context, shard): (0, -1)}
        count = 0
        while records := await event_log.shard_after(
            context, shard, done[context, shard][0], limit=EVENTS_A_BATCH, until=until
        ):
            sent, again = await send(producer, settings.topic_prefix, records, done)
            if again:
                raise EmptiedAgain(f"{context}/{shard} lost its records while they were published again")
            done.update(sent)
            count += len(records)
        await connection.execute(
            "UPDATE relay_partitions SET kafka_offset = %s WHERE context = %s AND shard = %s",
            [done[context, shard][1], context, shard],
        )
        partitions.update(done)
        log.warning("partition_published_again", context=context, shard=shard, events=count)


async def _cut(settings: Settings, emptied: Sequence[tuple[str, int]]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_url)
    await admin.start()
    try:
        await admin.delete_records(
            {
                TopicPartition(settings.topic_prefix + context, shard): RecordsToDelete(before_offset=-1)
                for context, shard in emptied
            }
        )
    finally:
        await admin.close()
