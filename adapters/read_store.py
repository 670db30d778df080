"""The views in Postgres: rows and the position they stand at, written in one transaction.

Rows go in and out as JSON documents, many at a time. A row is only ever replaced by one of a newer version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool

from adapters.response_cache import MadeOf
from adapters.view_generations import ViewGenerations
from adapters.view_notices import CHANNEL
from adapters.view_notices import changed as change_notice
from projections.view import Recorded, Row, View, folded

R = TypeVar("R", bound=Row)

# A server that died may have lost the commit that moved there: then the rows change again, and are to be copied again.
_COPIED: Final = SQL(
    "UPDATE view_positions SET copied = m.until"
    " FROM unnest(%s::text[], %s::smallint[], %s::bigint[], %s::bigint[]) AS m (context, shard, since, until)"
    " WHERE view = %s AND view_positions.context = m.context AND view_positions.shard = m.shard"
    " AND copied >= m.since AND copied < m.until AND m.until <= position RETURNING 1"
)


def upsert(view: View[Any]) -> Composed:
    """Many rows in one statement; a row that is there already stays unless the new one is newer."""
    columns = [name for name in view.row.__struct_fields__ if name != "id"]
    return SQL(
        "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"
        " ON CONFLICT (id) DO UPDATE SET {assignments} WHERE {table}.version < excluded.version"
    ).format(
        table=Identifier(view.table),
        assignments=SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in columns),
    )


_upsert: Final = cache(upsert)


async def write(connection: AsyncConnection[Any], view: View[R], events: Sequence[Recorded]) -> list[R]:
    """Fold events into the view's rows (see `projections.view.folded`) and store them, in the caller's transaction;
    returns the changed rows."""
    ids = list(dict.fromkeys(recorded.aggregate_id for recorded in events))
    if not ids:
        return []
    changed = folded(view, await rows_by_id(connection, view, ids), events)
    if changed:
        await connection.execute(_upsert(view), [msgspec.json.encode(changed).decode()])
        await tell_changed(connection, view, [row.id for row in changed])
    return changed


async def tell_changed(connection: AsyncConnection[Any], view: View[Any], ids: Sequence[UUID]) -> None:
    """Tell readers, once the caller's transaction has committed, that these rows are not what they were."""
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, change_notice([view.table], ids)])


@cache
def _decoder(row: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]  # a type made at run time


async def select(
    connection: AsyncConnection[Any], view: View[R], condition: SQL | Composed, parameters: Sequence[Any]
) -> list[R]:
    """Rows of a view that meet a condition (which may end in ORDER BY and LIMIT), in its order."""
    return decoded(view, await _document(await connection.execute(_select(view, condition), parameters)))


def _select(view: View[Any], condition: SQL | Composed) -> Composed:
    return SQL("SELECT coalesce(json_agg(to_json(t)), '[]')::text FROM (SELECT * FROM {} WHERE {}) t").format(
        Identifier(view.table), condition
    )


@cache
def select_by_id(view: View[Any]) -> Composed:
    """The rows with these ids, as one JSON document (see `decoded`)."""
    return _select(view, SQL("id = ANY(%s)"))


def decoded(view: View[R], document: str | bytes) -> list[R]:
    """The rows of a document of the database."""
    rows: list[R] = _decoder(view.row).decode(document)
    return rows


async def rows_by_id(connection: AsyncConnection[Any], view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
    document = await _document(await connection.execute(select_by_id(view), [list(ids)]))
    return {row.id: row for row in decoded(view, document)}


async def _document(cursor: AsyncCursor[Any]) -> str:
    found = await cursor.fetchone()
    assert found is not None
    return str(found[0])


class ReadStore:
    """The views, for those who read and for those who copy (see `streams.ports.CopiedRows`)."""

    def __init__(self, pool: AsyncConnectionPool[Any], generations: ViewGenerations | None = None) -> None:
        self.pool = pool
        self.generations = generations or ViewGenerations(pool)
        self._made_of: MadeOf | None = None

    def noting(self, made_of: MadeOf) -> ReadStore:
        """The same, noting what is read; a query of one's own reads the tables that `table` was asked for."""
        noting = ReadStore(self.pool, self.generations)
        noting._made_of = made_of
        return noting

    async def by_id(self, view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
        """The rows of the live generation that exist, in one query."""
        live = self.generations.live(view)
        if self._made_of is not None:
            self._made_of.rows(live.table, ids)
        async with self.pool.connection() as connection:
            return await rows_by_id(connection, live, ids)

    async def where(self, view: View[R], condition: SQL | Composed, parameters: Sequence[Any]) -> list[R]:
        """Rows of the live generation that meet a condition; see `select`."""
        live = self._whole(view)
        async with self.pool.connection() as connection:
            return await select(connection, live, condition, parameters)

    def table(self, view: View[Any]) -> Identifier:
        """The table of the live generation, for queries of one's own."""
        return Identifier(self._whole(view).table)

    def _whole(self, view: View[R]) -> View[R]:
        """The live generation, any row of which may be read."""
        live = self.generations.live(view)
        if self._made_of is not None:
            self._made_of.whole(live.table)
        return live

    async def count(
        self, view: View[Any], condition: SQL | Composed, parameters: Sequence[Any], *, at_most: int
    ) -> int | None:
        """How many rows of the live generation meet a condition; None for more than `at_most`."""
        query = SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT %s) t").format(self.table(view), condition)
        ((found,),) = await self.fetch(query, [*parameters, at_most + 1])
        return int(found) if found <= at_most else None

    async def fetch(
        self, query: SQL | Composed, parameters: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Plain rows of a query."""
        async with self.pool.connection() as connection:
            rows: list[tuple[Any, ...]] = await (await connection.execute(query, parameters)).fetchall()
        return rows

    async def standing(self, view: View[Any]) -> tuple[int, int]:
        """How many events this generation has not applied, and how many aggregates are parked for it."""
        query = SQL(
            "SELECT (SELECT count(*) FROM view_positions p JOIN events e ON e.context = p.context AND e.shard = p.shard"
            " AND e.notification_id > p.position WHERE p.view = %s),"
            " (SELECT count(DISTINCT aggregate_id) FROM parked_events WHERE follower = %s)"
        )
        ((behind, parked),) = await self.fetch(query, [view.table, view.table])
        return behind, parked

    async def positions(self) -> Mapping[tuple[str, str, int], int]:
        """How far each view has applied each shard of each context."""
        rows = await self.fetch(SQL("SELECT view, context, shard, position FROM view_positions"), [])
        return {(view, context, shard): position for view, context, shard, position in rows}

    def followed(self, view: View[R]) -> list[View[R]]:
        return self.generations.followed(view)

    async def uncopied(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        query = SQL("SELECT view, context, shard, copied, position FROM view_positions WHERE copied < position")
        rows = await self.fetch(query, [])
        return {(view, context, shard): (copied, position) for view, context, shard, copied, position in rows}

    async def changed_after(self, view: View[R], position: int, *, limit: int) -> list[R]:
        async with self.pool.connection() as connection:
            return await select(connection, view, SQL("position > %s ORDER BY position LIMIT %s"), [position, limit])

    async def note_copied(self, view: View[Any], spans: Mapping[tuple[str, int], tuple[int, int]]) -> None:
        columns = zip(*[(*place, *span) for place, span in spans.items()], strict=True)
        await self.fetch(_COPIED, [*[list(column) for column in columns], view.table])
