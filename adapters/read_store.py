"""The views in Postgres: rows and the position they stand at, written in one transaction.

Rows go in and out as JSON documents, many at a time. A row is only ever replaced by one of a newer version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool

from adapters.view_generations import ViewGenerations
from projections.view import Recorded, Row, View

R = TypeVar("R", bound=Row)

# What readers listen to; the payload is `view context shard position` a line.
CHANNEL: Final = "kontor_views"


def upsert(view: View[Any]) -> Composed:
    """Many rows in one statement; a row that is there already stays unless the new one is newer."""
    columns = [name for name in view.row.__dataclass_fields__ if name != "id"]
    return SQL(
        "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"
        " ON CONFLICT (id) DO UPDATE SET {assignments} WHERE {table}.version < excluded.version"
    ).format(
        table=Identifier(view.table),
        assignments=SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in columns),
    )


_upsert: Final = cache(upsert)


async def write(connection: AsyncConnection[Any], view: View[R], events: Iterable[Recorded]) -> list[R]:
    """Fold events into the view's rows and store them, in the caller's transaction; returns the changed rows.

    Events must come in order per aggregate. One that a row has seen already changes nothing; one that is not
    the next of its row is a programming error of the caller, who keeps the chain."""
    by_aggregate: dict[UUID, list[Recorded]] = {}
    for recorded in events:
        by_aggregate.setdefault(recorded.aggregate_id, []).append(recorded)
    if not by_aggregate:
        return []
    rows: dict[UUID, R | None] = dict(await rows_by_id(connection, view, list(by_aggregate)))
    changed = []
    for aggregate_id, its_events in by_aggregate.items():
        row = before = rows.get(aggregate_id)
        for recorded in its_events:
            seen = row.version if row is not None else 0
            if recorded.version <= seen:
                continue
            if recorded.version != seen + 1:
                raise OutOfOrder(view.name, recorded, seen)
            row = view.fold(row, recorded)
        if row is not None and row is not before:
            changed.append(row)
    if changed:
        await connection.execute(_upsert(view), [msgspec.json.encode(changed).decode()])
    return changed


class OutOfOrder(Exception):
    """An event reached a view before its predecessor: the chain of its partition is broken."""

    def __init__(self, view: str, recorded: Recorded, seen: int) -> None:
        super().__init__(
            f"{view} has seen version {seen} of {recorded.aggregate_id} and was given version {recorded.version} "
            f"({recorded.event_type}, position {recorded.position})"
        )


@cache
def _decoder(row: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]  # a type made at run time


async def select(
    connection: AsyncConnection[Any], view: View[R], condition: SQL | Composed, parameters: Sequence[Any]
) -> list[R]:
    """Rows of a view that meet a condition (which may end in ORDER BY and LIMIT), in its order."""
    query = SQL("SELECT coalesce(json_agg(to_json(t)), '[]')::text FROM (SELECT * FROM {} WHERE {}) t").format(
        Identifier(view.table), condition
    )
    found = await (await connection.execute(query, parameters)).fetchone()
    assert found is not None
    rows: list[R] = _decoder(view.row).decode(found[0])
    return rows


async def rows_by_id(connection: AsyncConnection[Any], view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
    return {row.id: row for row in await select(connection, view, SQL("id = ANY(%s)"), [list(ids)])}


class ReadStore:
    """The views, for those who read."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.pool = pool
        self.generations = ViewGenerations(pool)

    async def by_id(self, view: View[R], ids: Sequence[UUID]) -> dict[UUID, R]:
        """The rows of the live generation that exist, in one query."""
        async with self.pool.connection() as connection:
            return await rows_by_id(connection, self.generations.live(view), ids)

    async def where(self, view: View[R], condition: SQL | Composed, parameters: Sequence[Any]) -> list[R]:
        """Rows of the live generation that meet a condition; see `select`."""
        async with self.pool.connection() as connection:
            return await select(connection, self.generations.live(view), condition, parameters)

    def table(self, view: View[Any]) -> Identifier:
        """The table of the live generation, for queries of one's own."""
        return Identifier(self.generations.live(view).table)

    async def count(
        self, view: View[Any], condition: SQL | Composed, parameters: Sequence[Any], *, at_most: int
    ) -> int | None:
        """How many rows of the live generation meet a condition; None for more than `at_most`."""
        query = SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT %s) t").format(self.table(view), condition)
        ((found,),) = await self.fetch(query, [*parameters, at_most + 1])
        return int(found) if found <= at_most else None

    async def fetch(self, query: SQL | Composed, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
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
