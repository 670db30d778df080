"""How far the log is published, in Postgres, and who may say so: see `streams.ports.RelayStore`.

The leader holds an advisory lock for as long as its connection lives, and counts up an epoch. A checkpoint of an older
epoch is refused, so a leader that was frozen and comes back cannot move it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.sql import SQL

from adapters.away import NOTICES_LOSS
from adapters.log import EventLog, LogRecord

LEADER_LOCK: Final = 7310110114113
LOST: Final = 2**62  # an offset no partition reaches, so that it counts as emptied until it is published again

# Context and shard; and per partition the last position published, and the offset it got.
Partition = tuple[str, int]
Partitions = dict[Partition, tuple[int, int]]

_CHECKPOINT: Final = SQL(
    "WITH moved AS (UPDATE relay_checkpoint SET position = %s, updated_at = clock_timestamp() WHERE epoch = %s"
    " RETURNING 1)"
    " INSERT INTO relay_partitions (context, shard, position, kafka_offset)"
    " SELECT u.* FROM moved, unnest(%s::text[], %s::smallint[], %s::bigint[], %s::bigint[]) AS u"
    " ON CONFLICT (context, shard) DO UPDATE SET position = excluded.position,"
    # The mark of a partition that is to be published again stays until that is done.
    " kafka_offset = CASE relay_partitions.kafka_offset WHEN %s THEN %s ELSE excluded.kafka_offset END"
    " RETURNING 1"
)
# One to which nothing was published has no row yet; whatever is in it is not ours.
_MARK_LOST: Final = (
    "INSERT INTO relay_partitions (context, shard, position, kafka_offset)"
    " SELECT l.context, l.shard, 0, %s FROM unnest(%s::text[], %s::smallint[]) AS l (context, shard)"
    " ON CONFLICT (context, shard) DO UPDATE SET kafka_offset = excluded.kafka_offset"
)


@dataclass(slots=True)
class Published:
    """How far the log is on Kafka: as a whole, and per partition position and offset."""

    epoch: int
    position: int
    partitions: Partitions = field(default_factory=dict)


async def mark_lost(connection: psycopg.AsyncConnection[Any], lost: Sequence[Partition]) -> None:
    """Have the leader publish these partitions again, within its next look at their ends."""
    contexts, shards = [context for context, _ in lost], [shard for _, shard in lost]
    await connection.execute(_MARK_LOST, [LOST, contexts, shards])


async def marked_lost(connection: psycopg.AsyncConnection[Any]) -> dict[Partition, int]:
    """The partitions that are to be published again, with the position they had."""
    rows = await connection.execute(
        "SELECT context, shard, position FROM relay_partitions WHERE kafka_offset = %s", [LOST]
    )
    return {(context, shard): position for context, shard, position in await rows.fetchall()}


class PostgresLeadership:
    """See `streams.ports.Leadership`."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        event_log: EventLog,
        published: Published,
        news: asyncio.Event,
        listener: asyncio.Task[None],
    ) -> None:
        self._connection = connection
        self._log = event_log
        self._listener = listener
        self.published = published
        self.news = news

    def require(self) -> None:
        if self._listener.done():
            raise psycopg.OperationalError("the leader's connection is gone, and its lock with it")

    async def after(self, position: int, *, limit: int) -> list[LogRecord]:
        return await self._log.after(position, limit=limit)

    async def shard_after(self, context: str, shard: int, position: int, *, limit: int, until: int) -> list[LogRecord]:
        return await self._log.shard_after(context, shard, position, limit=limit, until=until)

    async def checkpoint(self, epoch: int, position: int, sent: Partitions) -> bool:
        columns = zip(*[(context, shard, *ends) for (context, shard), ends in sent.items()], strict=True)
        moved = await self._connection.execute(
            _CHECKPOINT, [position, epoch, *[list(column) for column in columns], LOST, LOST]
        )
        return moved.rowcount > 0

    async def mark_lost(self, partitions: Sequence[Partition]) -> None:
        await mark_lost(self._connection, partitions)

    async def marked_lost(self) -> dict[Partition, int]:
        return await marked_lost(self._connection)

    async def published_again(self, partition: Partition, offset: int) -> bool:
        moved = await self._connection.execute(
            "UPDATE relay_partitions p SET kafka_offset = %s FROM relay_checkpoint c"
            " WHERE p.context = %s AND p.shard = %s AND c.epoch = %s",
            [offset, *partition, self.published.epoch],
        )
        return moved.rowcount > 0


class PostgresRelayStore:
    """See `streams.ports.RelayStore`."""

    def __init__(self, conninfo: str, event_log: EventLog) -> None:
        self._conninfo = conninfo
        self._log = event_log

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[PostgresLeadership]:
        """See `streams.ports.RelayStore.lead`. Raises psycopg.OperationalError."""
        async with await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            application_name="kontor.relay-leader",
            connect_timeout=5,
            **NOTICES_LOSS,
        ) as lock:
            await lock.execute("SELECT pg_advisory_lock(%s)", [LEADER_LOCK])
            published = await _take_over(lock)
            await lock.execute("LISTEN kontor_events")
            # Another connection: the one with the lock is busy reading notifications.
            async with await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                application_name="kontor.relay",
                # A checkpoint lost with the server repeats some records, which every reader drops.
                options="-c synchronous_commit=off",
                **NOTICES_LOSS,
            ) as connection:
                news = asyncio.Event()
                listener = asyncio.create_task(_listen(lock, news))
                try:
                    yield PostgresLeadership(connection, self._log, published, news, listener)
                finally:
                    listener.cancel()
                    await asyncio.gather(listener, return_exceptions=True)


async def _listen(connection: psycopg.AsyncConnection[Any], news: asyncio.Event) -> None:
    async for _ in connection.notifies():
        news.set()


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
