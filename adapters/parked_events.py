"""The table `parked_events`: events that a follower could not apply, and all later ones of their aggregates.

Everything here works in the caller's transaction, which holds the follower's position of the shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from adapters.log import LogRecord

# With as many parked aggregates a follower stops altogether: then it is not a few events that are wrong.
PARKED_AGGREGATES_MAX: Final = 100
REASON_LENGTH_MAX: Final = 1_000

# Every aggregate of which something is parked for a follower; not many more than PARKED_AGGREGATES_MAX.
PARKED_AGGREGATES: Final = "SELECT DISTINCT follower, aggregate_id FROM parked_events WHERE follower = ANY(%b::text[])"

Wish = Literal["retry", "discard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEvent:
    """One row. `reason` is empty for an event that only waits behind another of its aggregate."""

    follower: str
    aggregate_id: UUID
    version: int
    position: int
    context: str
    shard: int
    event_type: str
    reason: str
    attempts: int
    wish: Wish | None
    parked_at: datetime


async def park(connection: AsyncConnection[Any], follower: str, records: Sequence[LogRecord], reason: str) -> None:
    """Park these for this follower. Safe to repeat."""
    await connection.execute(
        "INSERT INTO parked_events (follower, aggregate_id, version, position, context, shard, event_type, reason,"
        " attempts)"
        " SELECT %s, u.*, %s, %s FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::smallint[],"
        " %s::text[]) AS u ON CONFLICT DO NOTHING",
        [
            follower,
            reason[:REASON_LENGTH_MAX],
            1 if reason else 0,
            [record.aggregate_id for record in records],
            [record.version for record in records],
            [record.position for record in records],
            [record.context for record in records],
            [record.shard for record in records],
            [record.event_type for record in records],
        ],
    )


async def parked_of(
    connection: AsyncConnection[Any], follower: str, aggregate_id: UUID, *, limit: int
) -> list[ParkedEvent]:
    """The first `limit` parked events of an aggregate, in order."""
    async with connection.cursor(row_factory=class_row(ParkedEvent)) as cursor:
        await cursor.execute(
            "SELECT * FROM parked_events WHERE follower = %s AND aggregate_id = %s ORDER BY version LIMIT %s",
            [follower, aggregate_id, limit],
        )
        return await cursor.fetchall()


async def release(connection: AsyncConnection[Any], event: ParkedEvent) -> None:
    """It is parked no more."""
    await connection.execute(
        "DELETE FROM parked_events WHERE follower = %s AND aggregate_id = %s AND version = %s",
        [event.follower, event.aggregate_id, event.version],
    )


async def failed_again(connection: AsyncConnection[Any], event: ParkedEvent, reason: str) -> None:
    """It stays, for this reason, and nothing more is tried for its aggregate until somebody wishes it."""
    await connection.execute(
        "UPDATE parked_events SET wish = NULL, reason = CASE version WHEN %s THEN %s ELSE reason END,"
        " attempts = attempts + CASE version WHEN %s THEN 1 ELSE 0 END WHERE follower = %s AND aggregate_id = %s",
        [event.version, reason[:REASON_LENGTH_MAX], event.version, event.follower, event.aggregate_id],
    )


class ParkedEvents:
    """The table, for operators."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def all(self, *, follower: str | None = None, aggregate_id: UUID | None = None) -> list[ParkedEvent]:
        """What is parked, by follower and aggregate, in order."""
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=class_row(ParkedEvent)) as cursor,
        ):
            await cursor.execute(
                "SELECT * FROM parked_events WHERE (%(follower)s::text IS NULL OR follower = %(follower)s)"
                " AND (%(aggregate)s::uuid IS NULL OR aggregate_id = %(aggregate)s)"
                " ORDER BY follower, aggregate_id, version",
                {"follower": follower, "aggregate": aggregate_id},
            )
            found: list[ParkedEvent] = await cursor.fetchall()
        return found

    async def wish(self, wish: Wish, *, follower: str | None, aggregate_id: UUID | None) -> list[tuple[str, UUID]]:
        """Have the workers try again; with `discard` the first event of each aggregate is given up before.

        Returns (follower, aggregate) of those it is about."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "WITH chosen AS (SELECT follower, aggregate_id, min(version) AS first FROM parked_events"
                " WHERE (%(follower)s::text IS NULL OR follower = %(follower)s)"
                " AND (%(aggregate)s::uuid IS NULL OR aggregate_id = %(aggregate)s) GROUP BY 1, 2)"
                " UPDATE parked_events p SET wish = CASE p.version WHEN c.first THEN %(wish)s ELSE 'retry' END"
                " FROM chosen c WHERE p.follower = c.follower AND p.aggregate_id = c.aggregate_id"
                " RETURNING p.follower, p.aggregate_id",
                {"follower": follower, "aggregate": aggregate_id, "wish": wish},
            )
            return sorted({(name, each) for name, each in await rows.fetchall()})

    async def wished(self) -> list[tuple[str, UUID, str, int]]:
        """The aggregates that somebody wishes tried again: follower, aggregate, context, shard."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT DISTINCT follower, aggregate_id, context, shard FROM parked_events WHERE wish IS NOT NULL"
            )
            return [(name, each, context, shard) for name, each, context, shard in await rows.fetchall()]
