"""Views as followers: rows in the transaction of the position, Redis copies after it.

A copy can be lost (the process dies after the commit; Redis is away). `view_positions.copied` says how far
copies are known to be there, and what lies between it and the position is copied again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from adapters.away import AWAY, pause
from adapters.read_store import ReadStore, select, write
from adapters.redis_views import RedisViews
from domain.identity import shard_of
from projections import VIEWS
from projections.view import Recorded, Row, View
from streams.following import Follower

log = structlog.get_logger()

COPY_ROWS: Final = 500
RECOPY_S: Final = 2.0

_BEHIND = SQL("SELECT min(copied) FROM view_positions WHERE view = %s AND copied < position")
_POSITIONS = SQL("SELECT context, shard, position FROM view_positions WHERE view = %s")
_COPIED = SQL(
    "UPDATE view_positions SET copied = greatest(copied, m.position)"
    " FROM unnest(%s::text[], %s::smallint[], %s::bigint[]) AS m (context, shard, position)"
    " WHERE view = %s AND view_positions.context = m.context AND view_positions.shard = m.shard"
)


class Copier:
    """Brings rows to Redis, and knows what is not there yet."""

    def __init__(self, reads: ReadStore, copies: RedisViews) -> None:
        self._reads = reads
        self._copies = copies
        # After a start nothing is known of what the last process still copied.
        self._certain: set[str] = set()
        self._copied: dict[str, dict[tuple[str, int], int]] = {}

    async def copy(self, view: View[Any], rows: Sequence[Row], reached: dict[tuple[str, int], int]) -> None:
        """Copy what a commit has changed; what fails is left to `recopy`."""
        for start in range(0, len(rows), COPY_ROWS):
            if not await self._copies.copy(view, rows[start : start + COPY_ROWS]):
                self._certain.discard(view.table)
                return
        self._copied.setdefault(view.table, {}).update(reached)

    async def run(self) -> None:
        """Every RECOPY_S: copy again what may be missing, and note what is there."""
        while True:
            for view in VIEWS.values():
                for followed in self._reads.generations.followed(view):
                    with contextlib.suppress(*AWAY):
                        await self._recopy(followed)
            await pause(RECOPY_S)

    async def _recopy(self, view: View[Any]) -> None:
        if view.table not in self._certain:
            reached = {
                (context, shard): position
                for context, shard, position in await self._reads.fetch(_POSITIONS, [view.table])
            }
            if not await self._copy_after(view):
                return
            self._certain.add(view.table)
            self._copied.setdefault(view.table, {}).update(reached)
        if copied := self._copied.pop(view.table, None):
            contexts, shards = zip(*copied, strict=True)
            await self._reads.fetch(
                SQL("{} RETURNING 1").format(_COPIED), [list(contexts), list(shards), list(copied.values()), view.table]
            )

    async def _copy_after(self, view: View[Any]) -> bool:
        """Copy all rows changed after the least certain position; True when all went well."""
        ((position,),) = await self._reads.fetch(_BEHIND, [view.table])
        while position is not None:
            async with self._reads.pool.connection() as connection:
                rows = await select(
                    connection, view, SQL("position > %s ORDER BY position LIMIT %s"), [position, COPY_ROWS]
                )
            if not rows:
                break
            if not await self._copies.copy(view, rows):
                return False
            position = rows[-1].position
        return True


def view_follower(view: View[Any], copier: Copier) -> Follower:
    """The view as something that follows its contexts."""

    async def apply(
        connection: AsyncConnection[Any], events: Sequence[Recorded]
    ) -> Callable[[], Awaitable[None]] | None:
        rows = await write(connection, view, events)
        context = next(iter(view.contexts))
        reached = {(context, shard_of(recorded.aggregate_id)): recorded.position for recorded in events}
        return partial(copier.copy, view, rows, reached)

    async def skip(connection: AsyncConnection[Any], aggregate_id: UUID, version: int, position: int) -> None:
        # The row has seen the event, so that it takes the next one.
        await connection.execute(
            SQL("UPDATE {} SET version = %s, position = %s WHERE id = %s AND version = %s").format(
                Identifier(view.table)
            ),
            [version, position, aggregate_id, version - 1],
        )

    assert len(view.contexts) == 1, view.name
    return Follower(name=view.table, follows=view.follows, apply=apply, skip=skip)
