"""Reading the event log: as a whole, by what is asked of it, one shard of one context, or aggregates.

Positions are in the order of commits, so a reader that goes on from the last one it was given misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.event_codec import EventMapper
from commands.ports import StreamHead
from domain.identity import SHARDS
from projections.view import Recorded

_COLUMNS: Final = (
    "notification_id AS position, topic AS event_type, schema_version, originator_id AS aggregate_id,"
    " originator_version AS version, recorded_at, actor, command_id, correlation_id, causation_id, context, shard,"
    " state"
)
_MAPPER: Final = EventMapper()
LOG_END: Final = "SELECT coalesce(max(notification_id), 0) FROM events"
# Halves what is left until one place is: the first whose event, or the one after it, is later than the moment.
_LAST_CORRELATION: Final = """
SELECT correlation_id FROM events WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1
"""
_LAST_VERSION: Final = """
SELECT originator_version FROM events WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1
"""
_LATER: Final = """
WITH RECURSIVE sought (low, high) AS (
    SELECT 1::bigint, (SELECT coalesce(max(notification_id), 0) + 1 FROM events)
    UNION ALL
    SELECT CASE WHEN later THEN low ELSE middle + 1 END, CASE WHEN later THEN middle ELSE high END FROM (
        SELECT low, high, middle,
            (SELECT recorded_at FROM events WHERE notification_id >= middle ORDER BY notification_id LIMIT 1) > %s
                AS later
        FROM sought, LATERAL (SELECT (low + high) / 2 AS middle) halved WHERE low < high
    ) looked
) SELECT low FROM sought WHERE low >= high
"""
# The same among the versions of one aggregate, which have no holes.
_NEXT_VERSION: Final = """
WITH RECURSIVE sought (low, high) AS (
    SELECT min(originator_version), max(originator_version) + 1 FROM events WHERE originator_id = %(id)s
    UNION ALL
    SELECT CASE WHEN later THEN low ELSE middle + 1 END, CASE WHEN later THEN middle ELSE high END FROM (
        SELECT low, high, middle, (SELECT notification_id FROM events
            WHERE originator_id = %(id)s AND originator_version = middle) > %(position)s AS later
        FROM sought, LATERAL (SELECT (low + high) / 2 AS middle) halved WHERE low < high
    ) looked
) SELECT low FROM sought WHERE low >= high
"""
# Each type's own next ones; of all these the first. Compared as rows, as is one actor or request, so that only the
# index of types can give the order: the planner would rather walk the index of positions and filter, which for what is
# rare is most of the log.
_OF_TYPES: Final = (
    "notification_id = ANY(ARRAY(SELECT next.notification_id FROM unnest(%s::text[]) AS asked (topic)"
    " CROSS JOIN LATERAL (SELECT e.notification_id FROM events e"
    " WHERE (e.topic, e.notification_id) > (asked.topic, %s) AND (e.topic, e.notification_id) <= (asked.topic, %s)"
    " ORDER BY e.topic, e.notification_id LIMIT %s) next ORDER BY 1 LIMIT %s)) ORDER BY notification_id"
)
_OF_ONE: Final = "({0}, notification_id) > (%s, %s) AND ({0}, notification_id) <= (%s, %s)"
_POSITION_MAX: Final = 2**63 - 1
_ENDS: Final = """
SELECT e.* FROM generate_series(0, %s) AS s (shard) CROSS JOIN LATERAL (
    SELECT originator_id, context, originator_version, notification_id FROM events
    WHERE (context, shard, notification_id) > (%s, s.shard, 0)
        AND (context, shard, notification_id) <= (%s, s.shard, %s)
    ORDER BY context DESC, shard DESC, notification_id DESC LIMIT 1
) e
"""


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
            correlation_id=self.correlation_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Which events somebody wants: those that meet every condition that is not None."""

    aggregate_ids: frozenset[UUID] | None = None
    context: str | None = None
    event_types: frozenset[str] | None = None

    def wants(self, record: LogRecord) -> bool:
        """Does the record meet every condition?"""
        return (
            (self.aggregate_ids is None or record.aggregate_id in self.aggregate_ids)
            and (self.context is None or record.context == self.context)
            and (self.event_types is None or record.event_type in self.event_types)
        )


class EventLog:
    """Reads of the log; never locks, never waits for writers."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def after(self, position: int, *, limit: int) -> list[LogRecord]:
        """The next events after a position, of all contexts."""
        return await self._read("notification_id > %s ORDER BY notification_id LIMIT %s", [position, limit])

    async def matching(
        self,
        position: int,
        *,
        limit: int,
        types: Sequence[str] | None = None,
        aggregate_id: UUID | None = None,
        correlation_id: UUID | None = None,
        actor: str | None = None,
        readable: Set[str] | None = None,
    ) -> list[LogRecord]:
        """The next events after a position that meet every condition given. `readable` are the types that the reader
        may read, None for all; `types`, when given, are among them.

        What there is few of leads: an aggregate, a request, types or an actor; the other conditions filter."""
        span = (position, _POSITION_MAX)
        shown = sorted(readable) if types is None and readable is not None else types
        if aggregate_id is None and correlation_id is None and actor is None and shown is not None:
            return await self._read(_OF_TYPES, [list(shown), *span, limit, limit])
        conditions: list[str] = []
        parameters: list[Any] = []
        order = "notification_id"
        if aggregate_id is not None:
            conditions, order = ["originator_id = %s AND originator_version >= %s"], "originator_version"
            parameters = [aggregate_id, await self.version_after(aggregate_id, position)]
        elif correlation_id is not None:
            conditions, order = [_OF_ONE.format("correlation_id")], "correlation_id, notification_id"
            parameters = [correlation_id, span[0], correlation_id, span[1]]
        elif actor is not None and types is None:
            conditions, order = [_OF_ONE.format("actor")], "actor, notification_id"
            parameters = [actor, span[0], actor, span[1]]
        else:
            conditions, parameters = ["notification_id > %s"], [position]
        for condition, value in (
            ("correlation_id = %s", correlation_id),
            ("actor = %s", actor),
            ("topic = ANY(%s)", None if shown is None else list(shown)),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        return await self._read(f"{' AND '.join(conditions)} ORDER BY {order} LIMIT %s", [*parameters, limit])

    async def of_types(
        self, position: int, types: Sequence[str], *, limit: int, connection: AsyncConnection[Any]
    ) -> list[LogRecord]:
        """The next events of these types after a position, read on that connection."""
        return await _fetch(connection, _OF_TYPES, [list(types), position, _POSITION_MAX, limit, limit])

    async def version_after(self, aggregate_id: UUID, position: int) -> int:
        """The first version of the aggregate past that position, also when it is not there yet; 0 without any."""
        async with self._pool.connection() as connection:
            found = await connection.execute(_NEXT_VERSION.encode(), {"id": aggregate_id, "position": position})
            row = await found.fetchone()
        return 0 if row is None else int(row[0])

    async def last_version(self, aggregate_id: UUID) -> int:
        """The version of the aggregate's latest event; 0 where there is no such aggregate."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_LAST_VERSION.encode(), [aggregate_id])).fetchone()
        return 0 if row is None else int(row[0])

    async def last_correlation(self, aggregate_id: UUID) -> UUID | None:
        """The correlation of the aggregate's latest event; None where there is no such aggregate."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_LAST_CORRELATION.encode(), [aggregate_id])).fetchone()
        return None if row is None else row[0]

    async def position_at(self, moment: datetime) -> int:
        """How far the log was at a moment: everything up to this position had been recorded, and nothing after it."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_LATER.encode(), [moment])).fetchone()
        assert row is not None
        return int(row[0]) - 1

    async def ends(self, context: str, position: int) -> tuple[StreamHead, ...]:
        """The last event up to a position in each shard of the context that has one."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(_ENDS.encode(), [SHARDS - 1, context, context, position])
            return tuple([StreamHead(*row) async for row in rows])

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

    async def of_aggregate(self, aggregate_id: UUID, *, limit: int, after_version: int = -1) -> list[LogRecord]:
        """The first `limit` events of one aggregate past a version."""
        condition = "originator_id = %s AND originator_version > %s ORDER BY originator_version LIMIT %s"
        return await self._read(condition, [aggregate_id, after_version, limit])

    async def of_versions(
        self, aggregate_id: UUID, versions: Sequence[int], connection: AsyncConnection[Any]
    ) -> list[LogRecord]:
        """These versions of one aggregate, in order, read on that connection."""
        condition = "originator_id = %s AND originator_version = ANY(%s) ORDER BY originator_version"
        return await _fetch(connection, condition, [aggregate_id, list(versions)])

    async def of_aggregates(self, aggregate_ids: Sequence[UUID], *, until: int = 2**63 - 1) -> list[LogRecord]:
        """All events of these aggregates up to a position, each one's in order."""
        condition = "originator_id = ANY(%s) AND notification_id <= %s ORDER BY originator_id, originator_version"
        return await self._read(condition, [list(aggregate_ids), until])

    async def wanted(self, position: int, until: int, interest: Interest, *, limit: int) -> list[LogRecord]:
        """The next events after a position, up to and with `until`, that somebody wants."""
        condition, parameters = "notification_id > %s AND notification_id <= %s", list[Any]([position, until])
        for column, values in (
            ("originator_id = ANY(%s)", interest.aggregate_ids),
            ("topic = ANY(%s)", interest.event_types),
        ):
            if values is not None:
                condition += f" AND {column}"
                parameters.append(list(values))
        if interest.context is not None:
            condition += " AND context = %s"
            parameters.append(interest.context)
        return await self._read(f"{condition} ORDER BY notification_id LIMIT %s", [*parameters, limit])

    async def end(self) -> int:
        """The position of the newest event; 0 for an empty log."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(LOG_END)).fetchone()
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
