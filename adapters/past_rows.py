"""Rows of views as they were at some versions, kept where a fold came past: the next one begins at the nearest.

Like snapshots they are never trusted further than the code that made them: `shape` is a digest of the source that
folds, and a row of another shape is not read.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from psycopg_pool import AsyncConnectionPool

from adapters.away import AWAY
from projections.view import Row, View

log = structlog.get_logger()
R = TypeVar("R", bound=Row)

# What is kept of an earlier shape goes with the first row of the present one.
_FORGET: Final = "DELETE FROM past_rows WHERE view = %s AND aggregate_id = %s AND shape <> %s"
_KEEP: Final = """
INSERT INTO past_rows (view, aggregate_id, version, shape, state) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_NEAREST: Final = """
SELECT state::text FROM past_rows WHERE view = %s AND aggregate_id = %s AND version <= %s AND shape = %s
ORDER BY version DESC LIMIT 1
"""


@cache
def shape() -> str:
    """The digest of the source that folds: what an event means to a row may change wherever that is written."""
    digest = hashlib.sha256()
    for package in ("domain", "projections"):
        for file in sorted(files(package).iterdir(), key=lambda each: each.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


class PastRows:
    """Kept rows of all views. Losing one costs the next fold time, and nothing else."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def nearest(self, view: View[R], aggregate_id: UUID, version: int) -> R | None:
        """The latest kept row of the aggregate up to that version; None without one that can be read."""
        async with self._pool.connection() as connection:
            kept = await connection.execute(_NEAREST, [view.base, aggregate_id, version, shape()])
            found = await kept.fetchone()
        if found is None:
            return None
        try:
            row: R = msgspec.json.decode(found[0], type=view.row)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            log.warning("past_row_not_read", view=view.base, aggregate_id=str(aggregate_id), error=repr(error))
            return None
        return row

    async def keep(self, view: View[R], row: R) -> None:
        """Keep the row for whoever folds past it; a database that cannot does not matter. Safe to repeat."""
        try:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_FORGET, [view.base, row.id, shape()])
                state = msgspec.json.encode(row).decode()
                await connection.execute(_KEEP, [view.base, row.id, row.version, shape(), state])
        except AWAY as error:
            log.warning("past_row_not_kept", view=view.base, aggregate_id=str(row.id), error=repr(error))
