"""The relay: the log, in order, to Kafka. One leader at a time; it resumes exactly where the last one stopped.

Guarantees: every event reaches its partition, in log order; a crash repeats some, never skips or reorders.
- The leader holds an advisory lock for as long as its connection lives, and counts up an epoch. A checkpoint
  of an older epoch is refused, so a leader that was frozen and comes back cannot move it.
- The checkpoint moves only after all records of a batch are acknowledged.
- After any error of the producer a new one starts from the checkpoint.
- A partition that ends before what was published to it was emptied or made again: it is published anew.
Kafka away: nothing piles up here, the log is the queue; commands go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from psycopg.sql import SQL

from adapters import kafka
from adapters.away import AWAY, pause
from adapters.log import EventLog, LogRecord
from adapters.settings import Settings
from adapters.wiring import Kontor
from streams.publishing import LOST, EmptiedAgain, ends_before, marked_lost, republish, send

log = structlog.get_logger()

LEADER_LOCK: Final = 7310110114113
BATCH_EVENTS: Final = 1_000
POLL_S: Final = 0.5
LINGER_S: Final = 0.01  # what arrives meanwhile goes in the same batch: fewer checkpoints and larger writes
RETRY_PAUSE_S: Final = 1.0
LOOK_AT_ENDS_S: Final = 10.0

_CHECKPOINT = SQL(
    "WITH moved AS (UPDATE relay_checkpoint SET position = %s, updated_at = clock_timestamp() WHERE epoch = %s"
    " RETURNING 1)"
    " INSERT INTO relay_partitions (context, shard, position, kafka_offset)"
    " SELECT u.* FROM moved, unnest(%s::text[], %s::smallint[], %s::bigint[], %s::bigint[]) AS u"
    " ON CONFLICT (context, shard) DO UPDATE SET position = excluded.position,"
    # The mark of a partition that is to be published again stays until that is done.
    " kafka_offset = CASE relay_partitions.kafka_offset WHEN %s THEN %s ELSE excluded.kafka_offset END"
    " RETURNING 1"
)


class Deposed(Exception):
    """Another leader has taken over; what this one published since is repeated by it."""


@dataclass(slots=True)
class Published:
    """How far the log is on Kafka: as a whole, and per partition position and offset."""

    epoch: int
    position: int
    partitions: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)


class Relay:
    """Runs until cancelled; waits while another process leads."""

    def __init__(self, kontor: Kontor, *, on_leading: Callable[[], None] = lambda: None) -> None:
        self._settings: Settings = kontor.settings
        self._log: EventLog = kontor.log
        self._on_leading = on_leading
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Lead, again and again: every error ends in a new connection, a new producer and the stored checkpoint."""
        while True:
            try:
                await self._lead()
            except (*AWAY, KafkaError, TimeoutError, Deposed, EmptiedAgain, ConnectionError) as error:
                log.warning("relay_starts_again", error=repr(error))
            await pause(RETRY_PAUSE_S)

    async def _lead(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._settings.postgres_url,
            autocommit=True,
            application_name="kontor.relay-leader",
            connect_timeout=5,
            keepalives_idle=5,
        ) as connection:
            await connection.execute("SELECT pg_advisory_lock(%s)", [LEADER_LOCK])
            published = await _take_over(connection)
            await connection.execute("LISTEN kontor_events")
            listener = asyncio.create_task(self._listen(connection))
            try:
                await self._publish(published, listener)
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _publish(self, published: Published, listener: asyncio.Task[None]) -> None:
        await kafka.ensure_topics(
            self._settings.kafka_url,
            prefix=self._settings.topic_prefix,
            replication_factor=self._settings.topic_replication_factor,
            min_insync_replicas=self._settings.topic_min_insync_replicas,
        )
        # A new connection: the listener's is busy reading notifications.
        async with (
            await psycopg.AsyncConnection.connect(
                self._settings.postgres_url,
                autocommit=True,
                application_name="kontor.relay",
                # A checkpoint lost with the server repeats some records, which every reader drops.
                options="-c synchronous_commit=off",
            ) as connection,
            kafka.producer(self._settings.kafka_url) as producer,
        ):
            log.info("relay_leads", epoch=published.epoch, position=published.position)
            loop = asyncio.get_running_loop()
            look_at = 0.0
            while True:
                await pause(0)
                if listener.done():
                    raise psycopg.OperationalError("the leader's connection is gone, and its lock with it")
                if loop.time() >= look_at:
                    await self._restore_lost_partitions(connection, producer, published)
                    look_at = loop.time() + LOOK_AT_ENDS_S
                    self._on_leading()
                if self._wake.is_set():
                    await pause(LINGER_S)
                self._wake.clear()
                records = await self._log.after(published.position, limit=BATCH_EVENTS)
                if records:
                    await self._publish_batch(connection, producer, published, records)
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_S)

    async def _publish_batch(
        self,
        connection: psycopg.AsyncConnection[Any],
        producer: AIOKafkaProducer,
        published: Published,
        records: Sequence[LogRecord],
    ) -> None:
        sent, emptied = await send(producer, self._settings.topic_prefix, records, published.partitions)
        await _checkpoint(connection, published, records[-1].position, sent)
        if emptied:
            await republish(connection, producer, self._log, self._settings, published.partitions, emptied)

    async def _restore_lost_partitions(
        self, connection: psycopg.AsyncConnection[Any], producer: AIOKafkaProducer, published: Published
    ) -> None:
        for context, shard, position in await marked_lost(connection):
            published.partitions[context, shard] = (position, LOST)
        emptied = await ends_before(self._settings, published.partitions)
        if emptied:
            await republish(connection, producer, self._log, self._settings, published.partitions, emptied)

    async def _listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        async for _ in connection.notifies():
            self._wake.set()


async def _take_over(connection: psycopg.AsyncConnection[Any]) -> Published:
    found = await connection.execute("UPDATE relay_checkpoint SET epoch = epoch + 1 RETURNING epoch, position")
    row = await found.fetchone()
    assert row is not None
    partitions = await connection.execute("SELECT context, shard, position, kafka_offset FROM relay_partitions")
    return Published(
        row[0],
        row[1],
        {(context, shard): (position, offset) for context, shard, position, offset in await partitions.fetchall()},
    )


async def _checkpoint(
    connection: psycopg.AsyncConnection[Any],
    published: Published,
    position: int,
    sent: dict[tuple[str, int], tuple[int, int]],
) -> None:
    columns = zip(*[(context, shard, *ends) for (context, shard), ends in sent.items()], strict=True)
    moved = await connection.execute(
        _CHECKPOINT, [position, published.epoch, *[list(column) for column in columns], LOST, LOST]
    )
    if moved.rowcount == 0:
        raise Deposed(f"epoch {published.epoch} is over")
    published.position = position
    published.partitions.update(sent)
