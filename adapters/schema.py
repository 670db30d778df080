"""The database schema: numbered migrations, applied once each, in order, under a lock; and the views' tables.

A migration that was applied may not change: its checksum is kept and compared.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable

from domain import CONTEXTS
from domain.identity import SHARDS
from projections import VIEWS
from projections.view import View

ATTEMPTS_MAX: Final = 30
PAUSE_S: Final = 0.5
FOLLOWERS_BESIDE_VIEWS = {"checkout": ("orders",), "effects": ("orders", "payments", "users"), "erasure": ("users",)}
# What happened before there was such a follower is not to be done in the world now.
FROM_NOW_ON = frozenset({"effects"})

_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_LOCK_BRIEFLY: Final = "SET LOCAL lock_timeout = '1s'"
_APPLIED: Final = """
INSERT INTO migrations (name, checksum) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = clock_timestamp()
"""
_POSITIONS = """
INSERT INTO view_positions (view, context, shard)
SELECT %s, %s, shard FROM generate_series(0, %s) AS shard ON CONFLICT DO NOTHING
"""
_POSITIONS_FROM_NOW_ON = """
INSERT INTO view_positions (view, context, shard, position)
SELECT %s, c.context, shard,
    coalesce((SELECT max(notification_id) FROM events e WHERE e.context = c.context AND e.shard = s.shard), 0)
FROM (SELECT %s AS context) c, generate_series(0, %s) AS s (shard) ON CONFLICT DO NOTHING
"""


class MigrationChanged(Exception):
    """A migration that this database has applied reads differently now."""


class SchemaLocked(Exception):
    """Others hold what a change of the schema needs, and do not let it go."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A file of statements; a view's may be applied again and again."""

    name: str
    body: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


async def migrate(conninfo: str) -> list[str]:
    """Bring the database to the present schema; returns the names applied now. Safe to run twice at once, and beside a
    working system, whose tables it only touches where something changes.

    Raises MigrationChanged, when nothing was applied, and SchemaLocked, when what was applied so far stays."""
    migrations = _changes(files("adapters") / "migrations")
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(7310110114112)")
        await connection.execute(_LEDGER)
        rows = await connection.execute("SELECT name, checksum FROM migrations")
        known: dict[str, str] = dict(await rows.fetchall())
        for change in migrations:
            if known.get(change.name, change.checksum) != change.checksum:
                raise MigrationChanged(
                    f"The migration {change.name} was applied to this database with other content; put the old "
                    "content back and write a new migration for the change."
                )
        pending = [change for change in migrations if change.name not in known]
        # A migration may have taken away what a view's file makes.
        files_of_views = _changes(files("projections"), prefix="projections/")
        views = [each for each in files_of_views if pending or known.get(each.name) != each.checksum]
        for change in (*pending, *views):
            await _apply(connection, change)
        async with connection.transaction():
            for follower, contexts in followers(VIEWS.values()).items():
                for context in contexts:
                    statement = _POSITIONS_FROM_NOW_ON if follower in FROM_NOW_ON else _POSITIONS
                    await connection.execute(statement, [follower, context, SHARDS - 1])
        return [change.name for change in pending]


def followers(views: Iterable[View[Any]]) -> dict[str, tuple[str, ...]]:
    """Everything that keeps positions when these generations of views do: name to the contexts it follows."""
    named = {view.table: tuple(sorted(view.contexts)) for view in views}
    assert all(context in CONTEXTS for contexts in named.values() for context in contexts)
    return named | FOLLOWERS_BESIDE_VIEWS


def _changes(folder: Traversable, *, prefix: str = "") -> list[_Change]:
    """The folder's files of SQL, in order."""
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda each: each.name)
    return [_Change(prefix + file.name, file.read_bytes()) for file in found]


async def _apply(connection: psycopg.AsyncConnection[Any], change: _Change) -> None:
    """Once, in a transaction that waits only briefly for a lock: whoever comes after a waiting change waits with it,
    and a transaction of the system that holds one table and wants another must come to its end first."""
    for _ in range(ATTEMPTS_MAX):
        try:
            async with connection.transaction():
                await connection.execute(_LOCK_BRIEFLY)
                await connection.execute(change.body)
                await connection.execute(_APPLIED, [change.name, change.checksum])
            return
        except (LockNotAvailable, DeadlockDetected) as error:
            refused = error
            await asyncio.sleep(PAUSE_S)
    raise SchemaLocked(
        f"{change.name} was tried {ATTEMPTS_MAX} times, and others held a table that it changes: "
        f"{str(refused).splitlines()[0]}. Look for long transactions in pg_stat_activity, end them, and run "
        "`kontor migrate` again; what was applied before stays."
    )
