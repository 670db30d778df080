"""The database schema: numbered migrations, applied once each, in order, under a lock; and the views' tables.

A migration that was applied may not change: its checksum is kept and compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import psycopg

from domain import CONTEXTS
from domain.identity import SHARDS
from projections import VIEWS
from projections.view import View

FOLLOWERS_BESIDE_VIEWS = {"checkout": ("orders",), "effects": ("orders", "payments", "users"), "erasure": ("users",)}
# What happened before there was such a follower is not to be done in the world now.
FROM_NOW_ON = frozenset({"effects"})

_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
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


async def migrate(conninfo: str) -> list[str]:
    """Bring the database to the present schema; returns the names applied now. Safe to run twice at once.

    Raises MigrationChanged; then nothing was applied."""
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7310110114112)")
        await connection.execute(_LEDGER)
        applied = await _apply_migrations(connection)
        for file in sorted(files("projections").iterdir(), key=lambda each: each.name):
            if file.name.endswith(".sql"):
                await connection.execute(file.read_bytes())
        for follower, contexts in followers(VIEWS.values()).items():
            for context in contexts:
                statement = _POSITIONS_FROM_NOW_ON if follower in FROM_NOW_ON else _POSITIONS
                await connection.execute(statement, [follower, context, SHARDS - 1])
        return applied


def followers(views: Iterable[View[Any]]) -> dict[str, tuple[str, ...]]:
    """Everything that keeps positions when these generations of views do: name to the contexts it follows."""
    named = {view.table: tuple(sorted(view.contexts)) for view in views}
    assert all(context in CONTEXTS for contexts in named.values() for context in contexts)
    return named | FOLLOWERS_BESIDE_VIEWS


async def _apply_migrations(connection: psycopg.AsyncConnection[Any]) -> list[str]:
    known = dict(await (await connection.execute("SELECT name, checksum FROM migrations")).fetchall())
    applied = []
    for file in sorted((files("adapters") / "migrations").iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".sql"):
            continue
        body = file.read_bytes()
        checksum = hashlib.sha256(body).hexdigest()
        if file.name in known:
            if known[file.name] != checksum:
                raise MigrationChanged(
                    f"The migration {file.name} was applied to this database with other content; put the old "
                    "content back and write a new migration for the change."
                )
            continue
        await connection.execute(body)
        await connection.execute("INSERT INTO migrations (name, checksum) VALUES (%s, %s)", [file.name, checksum])
        applied.append(file.name)
    return applied
