"""Reading the event log: as a whole, one shard of one context, or one aggregate. Always in position order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.event_codec import EventMapper
from projections.view import Recorded

_COLUMNS: Final = (
    "notification_id AS position, topic AS event_type, schema_version, originator_id AS aggregate_id,"
    " originator_version AS version, recorded_at, actor, command_id, correlation_id, causation_id, context, shard,"
    " state"
)
_MAPPER: Final = EventMapper()


class LogRecord(NamedTuple):
    """One row of the log, its state still bytes. The same whether read from Postgres or from Kafka."""

    position: int
    event_type: str
    schema_version: int
    aggregate_id: UUID
    version: int
    recorded_at: datetime
    actor: str
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    context: str
    shard: int
    state: bytes

    def decoded(self) -> Recorded:
        """With the domain event, upcast to its present class. Raises MapperDeserialisationError."""
        return Recorded(
            event=_MAPPER.decode(self.event_type, self.schema_version, self.state, self.aggregate_id, self.version),
            event_type=self.event_type,
            aggregate_id=self.aggregate_id,
            version=self.version,
            position=self.position,
            recorded_at=self.recorded_at,
        )


class EventLog:
    """Reads of the log; never locks, never waits for writers."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def after(self, position: int, *, limit: int) -> list[LogRecord]:
        """The next events after a position, of all contexts."""
        return await self._read("notification_id > %s ORDER BY notification_id LIMIT %s", [position, limit])

    async def shard_after(
        self,
        context: str,
        shard: int,
        position: int,
        *,
        limit: int,
        until: int | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[LogRecord]:
        """The next events of one shard of one context, up to and with `until`; on that connection when one is given."""
        # Compared as rows, so that only the index of shards can give the order: the planner would rather walk the
        # index of positions and filter, which for a rare context is most of the log.
        condition = (
            "(context, shard, notification_id) > (%s, %s, %s) AND (context, shard, notification_id) <= (%s, %s, %s)"
            " ORDER BY context, shard, notification_id LIMIT %s"
        )
        parameters = [context, shard, position, context, shard, 2**63 - 1 if until is None else until, limit]
        if connection is not None:
            return await _fetch(connection, condition, parameters)
        return await self._read(condition, parameters)

    async def of_aggregate(self, aggregate_id: UUID, *, limit: int) -> list[LogRecord]:
        """The first `limit` events of one aggregate."""
        return await self._read("originator_id = %s ORDER BY originator_version LIMIT %s", [aggregate_id, limit])

    async def of_versions(
        self, aggregate_id: UUID, versions: Sequence[int], connection: AsyncConnection[Any]
    ) -> list[LogRecord]:
        """These versions of one aggregate, in order, read on that connection."""
        condition = "originator_id = %s AND originator_version = ANY(%s) ORDER BY originator_version"
        return await _fetch(connection, condition, [aggregate_id, list(versions)])

    async def of_aggregates(self, aggregate_ids: Sequence[UUID]) -> list[LogRecord]:
        """All events of these aggregates, each one's in order."""
        return await self._read(
            "originator_id = ANY(%s) ORDER BY originator_id, originator_version", [list(aggregate_ids)]
        )

    async def end(self) -> int:
        """The position of the newest event; 0 for an empty log."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT coalesce(max(notification_id), 0) FROM events")).fetchone()
        assert row is not None
        return int(row[0])

    async def _read(self, condition: str, parameters: Sequence[Any]) -> list[LogRecord]:
        async with self._pool.connection() as connection:
            return await _fetch(connection, condition, parameters)


async def _fetch(connection: AsyncConnection[Any], condition: str, parameters: Sequence[Any]) -> list[LogRecord]:
    async with connection.cursor(row_factory=args_row(LogRecord), binary=True) as cursor:
        # The condition is one of the literals above; values are always parameters.
        await cursor.execute(f"SELECT {_COLUMNS} FROM events WHERE {condition}".encode(), parameters)  # noqa: S608
        return await cursor.fetchall()
